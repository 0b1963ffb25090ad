import { AnnalsError, type Recovery } from "../lib/annals_error.ts";
import type { ExpectedVersion } from "./port.ts";

/** An append named a version that the stream does not have. Nothing of the commit was written. */
export class WrongExpectedVersionError extends AnnalsError {
  /** Always `WrongExpectedVersionError`. */
  override readonly name = "WrongExpectedVersionError";

  /**
   * Makes the error.
   *
   * @param stream The stream.
   * @param expected What the append expected.
   * @param actual The version of the stream's last message; -1 when it has none.
   */
  constructor(readonly stream: string, readonly expected: ExpectedVersion, readonly actual: number) {
    super(
      `Cannot append to stream "${stream}": expected ${
        typeof expected === "number" ? `version ${expected}` : expected
      }, found ${actual < 0 ? "no such stream" : `version ${actual}`}`,
    );
  }
}

/** A writer lost its lease to another: what it wanted to write was refused, whole. */
export class FencedError extends AnnalsError {
  /** Always `FencedError`. */
  override readonly name = "FencedError";

  /**
   * Makes the error.
   *
   * @param lease The lease's name.
   * @param token The token that is no longer the newest.
   */
  constructor(readonly lease: string, readonly token: number) {
    super(`Cannot write under lease "${lease}": token ${token} was replaced, another owner has taken over`);
  }
}

/** The store cannot be used right now, or not at all; the message says which and what to do. */
export class StoreUnavailableError extends AnnalsError {
  /** Always `StoreUnavailableError`. */
  override readonly name = "StoreUnavailableError";

  /**
   * Makes the error.
   *
   * @param message What was being done, what was found, what to do.
   * @param reason What is wrong. `unsure`: the connection broke before the answer came; what was to be written may be
   *   written, or be written later.
   * @param retryable Whether waiting can help.
   */
  constructor(
    message: string,
    readonly reason:
      | "locked"
      | "full"
      | "foreign"
      | "newer"
      | "damaged"
      | "missing"
      | "read-only"
      | "closed"
      | "unreachable"
      | "unsure"
      | "busy"
      | "denied"
      | "failed",
    readonly retryable: boolean,
  ) {
    super(message);
  }

  /** Whether waiting can help, and whether anybody knows what was written. */
  override get recovery(): Recovery {
    return !this.retryable ? "none" : this.reason === "unsure" ? "unsure" : "wait";
  }
}

/** A statement that a handler recorded cannot be run. Nothing of its commit was written. */
export class StatementError extends AnnalsError {
  /** Always `StatementError`. */
  override readonly name = "StatementError";

  /**
   * Makes the error.
   *
   * @param statement The statement.
   * @param reason What the database says.
   */
  constructor(readonly statement: string, readonly reason: string) {
    super(`Cannot run the handler's statement "${statement}": ${reason}`);
  }
}

/** A message with the same id is in the log already: the append that stored it was repeated. Nothing was written. */
export class DuplicateMessageError extends AnnalsError {
  /** Always `DuplicateMessageError`. */
  override readonly name = "DuplicateMessageError";
}

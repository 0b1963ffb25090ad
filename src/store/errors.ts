import { AnnalsError, type Recovery } from "../lib/annals_error.ts";
import type { ExpectedVersion } from "./port.ts";

/** Thrown when a stream is not at the version that an append expected. Nothing of the commit was written. */
export class WrongExpectedVersionError extends AnnalsError {
  /** Always `WrongExpectedVersionError`. */
  override readonly name = "WrongExpectedVersionError";

  /**
   * Creates the error.
   *
   * @param stream The stream.
   * @param expected The expected version.
   * @param actual The version of the stream's last message; -1 if it has none.
   */
  constructor(readonly stream: string, readonly expected: ExpectedVersion, readonly actual: number) {
    super(
      `Cannot append to stream "${stream}": expected ${
        typeof expected === "number" ? `version ${expected}` : expected
      }, found ${actual < 0 ? "no such stream" : `version ${actual}`}`,
    );
  }
}

/** Thrown when a message came in between that the condition of an append excludes. Nothing of the commit was written. */
export class AppendConditionError extends AnnalsError {
  /** Always `AppendConditionError`. */
  override readonly name = "AppendConditionError";

  /**
   * Creates the error.
   *
   * @param tags The tags of the conditions.
   */
  constructor(readonly tags: readonly string[]) {
    super(
      `Cannot append: what was decided on has changed; a new message has one of the tags ${
        tags.slice(0, 10).map((tag) => JSON.stringify(tag)).join(", ")
      }${tags.length > 10 ? ", …" : ""}`,
    );
  }
}

/**
 * Whether a commit was refused because others have written meanwhile what it was decided on: decided again on what there
 * is now, it may succeed.
 *
 * @param error The error of the commit.
 */
export function isConflict(
  error: unknown,
): error is WrongExpectedVersionError | AppendConditionError | RowConflictError {
  return error instanceof WrongExpectedVersionError || error instanceof AppendConditionError ||
    error instanceof RowConflictError;
}

/** Thrown when another worker has changed a row since it was read. Nothing of the commit was written. */
export class RowConflictError extends AnnalsError {
  /** Always `RowConflictError`. */
  override readonly name = "RowConflictError";

  /**
   * Creates the error.
   *
   * @param message What was found.
   */
  constructor(message = "Another worker has changed a row since it was read") {
    super(message);
  }
}

/** Thrown when a writer has lost its lease to another owner. Nothing of its commit was written. */
export class FencedError extends AnnalsError {
  /** Always `FencedError`. */
  override readonly name = "FencedError";

  /**
   * Creates the error.
   *
   * @param lease The lease's name.
   * @param token The fencing token that was superseded.
   */
  constructor(readonly lease: string, readonly token: number) {
    super(`Cannot write under lease "${lease}": token ${token} was replaced, another owner has taken over`);
  }
}

/** Thrown when a scheduled message was moved, replaced, cancelled or released meanwhile. Nothing was written. */
export class ScheduleChangedError extends AnnalsError {
  /** Always `ScheduleChangedError`. */
  override readonly name = "ScheduleChangedError";

  /**
   * Creates the error.
   *
   * @param keys The messages that the commit was to release.
   */
  constructor(readonly keys: readonly string[]) {
    super(`Cannot release ${keys.length} scheduled messages: at least one was changed or released meanwhile`);
  }
}

/** Thrown when the store cannot be used; the message says why and what to do. */
export class StoreUnavailableError extends AnnalsError {
  /** Always `StoreUnavailableError`. */
  override readonly name = "StoreUnavailableError";

  /**
   * Creates the error.
   *
   * @param message What was being done, what was found, and what to do.
   * @param reason The cause; `unsure`: the connection broke before the response arrived, so the write may have been
   *   made or may still be made; `diverged`: the log is not the one that the writer has read.
   * @param retryable Whether retrying can help.
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
      | "diverged"
      | "failed",
    readonly retryable: boolean,
  ) {
    super(message);
  }

  /** Whether retrying can help, and whether the outcome of the write is known. */
  override get recovery(): Recovery {
    return !this.retryable ? "none" : this.reason === "unsure" ? "unsure" : "wait";
  }
}

/** Thrown when a handler's SQL statement fails. Nothing of its commit was written. */
export class StatementError extends AnnalsError {
  /** Always `StatementError`. */
  override readonly name = "StatementError";

  /**
   * Creates the error.
   *
   * @param statement The statement.
   * @param reason The database's error.
   */
  constructor(readonly statement: string, readonly reason: string) {
    super(`Cannot run the handler's statement "${statement}": ${reason}`);
  }
}

/**
 * Thrown when a message with the same id is already in the log, because an append was repeated. Nothing was written.
 */
export class DuplicateMessageError extends AnnalsError {
  /** Always `DuplicateMessageError`. */
  override readonly name = "DuplicateMessageError";
}

import { AnnalsError, type Recovery } from "../lib/annals_error.ts";
/** The broker has no such group: it was never made, or the broker was wiped. */
export class GroupMissingError extends AnnalsError {
  /** Always `GroupMissingError`. */
  override readonly name = "GroupMissingError";

  /**
   * Makes the error.
   *
   * @param stream The broker stream.
   * @param group The consumer group.
   */
  constructor(readonly stream: string, readonly group: string) {
    super(`Cannot read broker stream "${stream}": it has no consumer group "${group}"`);
  }
}

/** A broker stream has lost its end: the broker was wiped, or fell back to an older copy. */
export class BrokerBehindError extends AnnalsError {
  /** Always `BrokerBehindError`. */
  override readonly name = "BrokerBehindError";

  /**
   * Makes the error.
   *
   * @param stream The broker stream.
   * @param expected The last position that was published to it.
   * @param actual The last position that it knows of.
   */
  constructor(readonly stream: string, readonly expected: number, readonly actual: number) {
    super(`Cannot publish to broker stream "${stream}": it ends at ${actual}, but ${expected} was published to it`);
  }
}

/** The broker cannot be used right now; the message says why, and what to do. */
export class BrokerUnavailableError extends AnnalsError {
  /** Always `BrokerUnavailableError`. */
  override readonly name = "BrokerUnavailableError";

  /**
   * Makes the error.
   *
   * @param message What was found, what to do.
   * @param retryable Whether waiting can help.
   */
  constructor(message: string, readonly retryable: boolean = true) {
    super(message);
  }

  /** Whether waiting can help. */
  override get recovery(): Recovery {
    return this.retryable ? "wait" : "none";
  }
}

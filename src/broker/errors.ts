import { AnnalsError, type Recovery } from "../lib/annals_error.ts";
/** Thrown when the broker has no such group, because it was never created or the broker was wiped. */
export class GroupMissingError extends AnnalsError {
  /** Always `GroupMissingError`. */
  override readonly name = "GroupMissingError";

  /**
   * Creates the error.
   *
   * @param stream The broker stream.
   * @param group The consumer group.
   */
  constructor(readonly stream: string, readonly group: string) {
    super(`Cannot read broker stream "${stream}": it has no consumer group "${group}"`);
  }
}

/** Thrown when a broker stream has lost its latest messages: the broker was wiped or reverted to an older copy. */
export class BrokerBehindError extends AnnalsError {
  /** Always `BrokerBehindError`. */
  override readonly name = "BrokerBehindError";

  /**
   * Creates the error.
   *
   * @param stream The broker stream.
   * @param expected The last position that was published to it.
   * @param actual The last position it has.
   */
  constructor(readonly stream: string, readonly expected: number, readonly actual: number) {
    super(`Cannot publish to broker stream "${stream}": it ends at ${actual}, but ${expected} was published to it`);
  }
}

/** Thrown when the broker cannot be used; the message says why and what to do. */
export class BrokerUnavailableError extends AnnalsError {
  /** Always `BrokerUnavailableError`. */
  override readonly name = "BrokerUnavailableError";

  /**
   * Creates the error.
   *
   * @param message What was found, and what to do.
   * @param retryable Whether retrying can help.
   */
  constructor(message: string, readonly retryable: boolean = true) {
    super(message);
  }

  /** Whether retrying can help. */
  override get recovery(): Recovery {
    return this.retryable ? "wait" : "none";
  }
}

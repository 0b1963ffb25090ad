/** The broker has no such group: it was never made, or the broker was wiped. */
export class GroupMissingError extends Error {
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

/** The broker cannot be used right now; waiting can help. */
export class BrokerUnavailableError extends Error {
  /** Always `BrokerUnavailableError`. */
  override readonly name = "BrokerUnavailableError";
}

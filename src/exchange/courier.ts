/** A CloudEvent to deliver. */
export interface Delivery {
  /** The position of the event that it is of. */
  readonly position: number;
  /** The stream of that; its events are delivered in order. */
  readonly stream: string;
  /** The CloudEvent's id. */
  readonly id: string;
  /** JSON text. */
  readonly event: string;
}

/** What became of deliveries. */
export interface Delivered {
  /** The positions of those that arrived. */
  readonly arrived: ReadonlySet<number>;
  /** Why others did not, by position; what follows in the same stream was not tried. */
  readonly failed: ReadonlyMap<number, string>;
}

/** Delivers CloudEvents to one place. */
export interface Courier {
  /** Where they go, without secrets. */
  readonly place: string;
  /**
   * Delivers events, those of one stream in order.
   *
   * @param events The events, in the order of the log.
   * @param signal Aborts what has not begun.
   * @returns What became of them; what is in neither was not begun, or is under way: it is to be passed in again.
   * @throws {BrokerUnavailableError} If nothing can be delivered at the moment.
   */
  deliver(events: readonly Delivery[], signal: AbortSignal): Promise<Delivered>;
  /** Releases its connections. */
  close(): void;
}

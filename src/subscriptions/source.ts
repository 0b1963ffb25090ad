import type { MessageRecord } from "../messages/envelope.ts";

/** A source of messages for a subscription. */
export interface Source {
  /** Its kind, for display. */
  readonly kind: "StreamSubscription" | "EventStoreSubscription";
  /** Starts after a position. */
  open(after: number): Promise<void>;
  /** Returns the next messages, in order of position; none after `wait` milliseconds. */
  next(count: number, wait: number, signal: AbortSignal): Promise<MessageRecord[]>;
  /** Called when messages are handled or deferred and that is committed. */
  done(messages: readonly MessageRecord[]): Promise<void>;
  /** Called at the end of a run. */
  close(): Promise<void>;
}

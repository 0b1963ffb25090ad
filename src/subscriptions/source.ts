import type { MessageRecord } from "../messages/envelope.ts";

/** Where a subscription gets its messages from. */
export interface Source {
  /** What it is, as shown to people. */
  readonly kind: "StreamSubscription" | "EventStoreSubscription";
  /** Starts behind a position. */
  open(after: number): Promise<void>;
  /** The next messages, in order of position; none when `wait` milliseconds have passed without. */
  next(count: number, wait: number, signal: AbortSignal): Promise<MessageRecord[]>;
  /** Called when messages are done, or deferred: committed, never to be delivered again. */
  done(messages: readonly MessageRecord[]): Promise<void>;
  /** Called at the end of a run. */
  close(): Promise<void>;
}

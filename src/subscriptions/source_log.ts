import type { Clock } from "../lib/clock.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { readBatch } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";
import type { Source } from "./source.ts";

/** Without a reason, `abort()` creates an exception with a stack each time. */
const DONE = "done";

/** Reads the log by position. */
export class LogSource implements Source {
  /** Its kind, for display. */
  readonly kind = "EventStoreSubscription";
  #store: EventStore;
  #category: string;
  #clock: Clock;
  #cursor = 0;

  /**
   * Creates a source; `open()` starts it.
   *
   * @param store The store.
   * @param category The category to read.
   * @param clock The source of time.
   */
  constructor(store: EventStore, category: string, clock: Clock) {
    this.#store = store;
    this.#category = category;
    this.#clock = clock;
  }

  /** The position of the last message that was read. */
  get cursor(): number {
    return this.#cursor;
  }

  open(after: number): Promise<void> {
    this.#cursor = after;
    return Promise.resolve();
  }

  async next(count: number, wait: number, signal: AbortSignal): Promise<MessageRecord[]> {
    const read = () => readBatch(this.#store, { category: this.#category, after: this.#cursor, limit: count });
    let found: MessageRecord[] = [];
    const until = this.#clock.elapsed() + wait;
    while (!signal.aborted) {
      // Subscribe before reading, so that a write in between is not missed.
      const stop = new AbortController();
      const changed = this.#store.changed(
        Math.max(0, until - this.#clock.elapsed()),
        AbortSignal.any([signal, stop.signal]),
        "messages",
      );
      // The promise may never be awaited.
      changed.catch(() => {});
      found = await read().catch((error) => {
        stop.abort(DONE);
        throw error;
      });
      if (found.length > 0 || this.#clock.elapsed() >= until) {
        stop.abort(DONE);
        break;
      }
      await changed;
    }
    if (found.length > 0) this.#cursor = found[found.length - 1].position;
    return found;
  }

  done(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

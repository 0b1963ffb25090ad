import { GroupMissingError } from "../broker/errors.ts";
import type { Broker, Delivered } from "../broker/port.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import type { EventStore } from "../store/port.ts";
import { brokerFloor, type Lane, RELAY_GROUP } from "./lane.ts";

/** Where a subscription gets its messages from. */
export interface Source {
  /** What it is, as shown to people. */
  readonly kind: "StreamSubscription" | "EventStoreSubscription";
  /** Starts behind a position. */
  open(after: number): Promise<void>;
  /** The next messages, in order of position; none when `wait` milliseconds have passed without. */
  next(count: number, wait: number, signal: AbortSignal): Promise<MessageRecord[]>;
  /** Called when messages are done, or parked: committed, never to be delivered again. */
  done(messages: readonly MessageRecord[]): Promise<void>;
  /** Called at the end of a run. */
  close(): Promise<void>;
}

/** Acknowledging is a write of its own: it waits for so many messages, or so many milliseconds. The checkpoint counts. */
const ACKNOWLEDGE_EVERY = 1_000;
const ACKNOWLEDGE_INTERVAL = 200;

/** Without a reason `abort()` makes an exception with a stack each time. */
const DONE = "done";

/** Reads the log itself, by position. */
export class LogSource implements Source {
  /** What it is, as shown to people. */
  readonly kind = "EventStoreSubscription";
  #store: EventStore;
  #category: string;
  #cursor = 0;

  /**
   * Makes a source that is not open yet.
   *
   * @param store The store.
   * @param category The category to read.
   */
  constructor(store: EventStore, category: string) {
    this.#store = store;
    this.#category = category;
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
    const read = () => this.#store.readLog({ category: this.#category, after: this.#cursor, limit: count });
    let found: MessageRecord[] = [];
    const until = performance.now() + wait;
    while (!signal.aborted) {
      // Asked for before reading, so that what is written in between is not slept over.
      const stop = new AbortController();
      const changed = this.#store.changed(
        Math.max(0, until - performance.now()),
        AbortSignal.any([signal, stop.signal]),
        "messages",
      );
      // Whether anybody comes to wait for it is not known yet.
      changed.catch(() => {});
      found = await read().catch((error) => {
        stop.abort(DONE);
        throw error;
      });
      if (found.length > 0 || performance.now() >= until) {
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

/**
 * Reads the broker's copy of a category as a consumer group. What the broker no longer has, or never had, comes from
 * the log first.
 */
export class StreamSource implements Source {
  /** What it is, as shown to people. */
  readonly kind = "StreamSubscription";
  #store: EventStore;
  #broker: Broker;
  #category: string;
  #group: string;
  #consumer: string;
  #cursor = 0;
  #catchUp: LogSource | undefined;
  #floor = 0;
  #handled: number[] = [];
  #acknowledgeAt = 0;
  #ahead: Promise<Delivered> | undefined;

  /**
   * Makes a source that is not open yet.
   *
   * @param store The store, for what the broker does not have.
   * @param broker The broker.
   * @param lane Which group and category.
   * @param consumer The consumer's name.
   */
  constructor(store: EventStore, broker: Broker, lane: Lane, consumer: string) {
    this.#store = store;
    this.#broker = broker;
    this.#category = lane.category;
    this.#group = lane.partitions === 1 ? lane.group : `${lane.group}/${lane.partition}of${lane.partitions}`;
    this.#consumer = consumer;
  }

  async open(after: number): Promise<void> {
    await this.#forgetAhead();
    this.#cursor = after;
    this.#handled = [];
    if (await this.#belowFloor()) {
      this.#catchUp = new LogSource(this.#store, this.#category);
      await this.#catchUp.open(after);
      return;
    }
    this.#catchUp = undefined;
    // The checkpoint is the truth: whatever a consumer that vanished had pending is delivered again from there.
    await this.#broker.seek(this.#category, this.#group, after);
    // The floor may have risen while nobody knew of this group.
    if (await this.#belowFloor()) await this.open(after);
  }

  async #belowFloor(): Promise<boolean> {
    this.#floor = brokerFloor(await this.#store.checkpoints(RELAY_GROUP), this.#category);
    return this.#cursor < this.#floor;
  }

  async next(count: number, wait: number, signal: AbortSignal): Promise<MessageRecord[]> {
    if (this.#catchUp) {
      const found = await this.#catchUp.next(count, 0, signal);
      if (found.length > 0) {
        this.#cursor = this.#catchUp.cursor;
        return found;
      }
      // Everything there was is read; what was trimmed in the meantime would be below the new floor.
      await this.open(Math.max(this.#cursor, this.#floor));
      return await this.next(count, wait, signal);
    }
    try {
      if (this.#handled.length > 0 && performance.now() >= this.#acknowledgeAt) await this.#acknowledge();
      const { messages, previous } = await this.#read(count, wait, signal);
      const whole = await this.#withoutHoles(messages, previous);
      return this.#catchUp && whole.length === 0 ? await this.next(count, wait, signal) : whole;
    } catch (error) {
      if (!(error instanceof GroupMissingError)) throw error;
      // The broker was wiped: the relay fills it again, and the group goes on where it was.
      await this.open(this.#cursor);
      return [];
    }
  }

  /** Reads; while there is a lot to read, the next messages are asked for before these are handled. */
  async #read(count: number, block: number, signal: AbortSignal): Promise<Delivered> {
    const options = { stream: this.#category, group: this.#group, consumer: this.#consumer, count, signal };
    const ahead = this.#ahead;
    this.#ahead = undefined;
    let found = await ahead;
    if (!found || found.messages.length === 0) found = await this.#broker.read({ ...options, block });
    if (found.messages.length >= count) {
      this.#ahead = this.#broker.read({ ...options, block: 0 });
      // Whoever waits for it hears of it.
      this.#ahead.catch(() => {});
    }
    return found;
  }

  /** What was asked for ahead is asked for again, from where the group is put. */
  async #forgetAhead(): Promise<void> {
    await this.#ahead?.catch(() => {});
    this.#ahead = undefined;
  }

  /**
   * Each message tells which one was published before it. One that was not seen here went to somebody else (a consumer
   * that was given up for dead and woke up), or the broker lost it: from there on the log is read.
   */
  async #withoutHoles(messages: readonly MessageRecord[], previous: readonly number[]): Promise<MessageRecord[]> {
    const whole: MessageRecord[] = [];
    for (const [i, message] of messages.entries()) {
      if (previous[i] > this.#cursor) {
        this.#catchUp = new LogSource(this.#store, this.#category);
        await this.#catchUp.open(this.#cursor);
        break;
      }
      this.#cursor = Math.max(this.#cursor, message.position);
      whole.push(message);
    }
    return whole;
  }

  async done(messages: readonly MessageRecord[]): Promise<void> {
    if (this.#catchUp || messages.length === 0) return;
    if (this.#handled.length === 0) this.#acknowledgeAt = performance.now() + ACKNOWLEDGE_INTERVAL;
    for (const { position } of messages) this.#handled.push(position);
    if (this.#handled.length >= ACKNOWLEDGE_EVERY) await this.#acknowledge();
  }

  async #acknowledge(): Promise<void> {
    const handled = this.#handled;
    this.#handled = [];
    await this.#broker.acknowledge(this.#category, this.#group, handled);
  }

  async close(): Promise<void> {
    await this.#forgetAhead();
    if (this.#handled.length > 0) await this.#acknowledge();
  }
}

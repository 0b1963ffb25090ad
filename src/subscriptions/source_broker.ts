import { BrokerUnavailableError, GroupMissingError } from "../broker/errors.ts";
import type { Broker } from "../broker/port.ts";
import type { GroupPartition } from "../groups/partition.ts";
import { RELAY_GROUP, watermarkOf } from "../groups/watermark.ts";
import type { Clock } from "../lib/clock.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { isLeftOut } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";
import type { Report } from "../telemetry/events.ts";
import type { Source } from "./source.ts";
import { LogSource } from "./source_log.ts";

/**
 * Acknowledgements are batched by count and time in milliseconds, since each is a write. The checkpoint is
 * authoritative.
 */
const ACKNOWLEDGE_EVERY = 1_000;
const ACKNOWLEDGE_INTERVAL = 200;

/** The longest delay between attempts to reach an unavailable broker, in milliseconds. */
const LONGEST_AWAY = 2_000;

/** How long a broker may deliver nothing before its reader looks into the log, in milliseconds. */
const QUIET = 2_000;

/** How long a reader waits for an answer of a broker that was unavailable, in milliseconds, before it reads on. */
const LOOK = 50;

/** Dependencies of a {@linkcode StreamSource}. */
export interface StreamSourceOptions {
  /** The store, for messages the broker does not have. */
  readonly store: EventStore;
  /** The broker. */
  readonly broker: Broker;
  /** The group and category. */
  readonly groupPartition: GroupPartition;
  /** The consumer's name. */
  readonly consumer: string;
  /** Returns the last position of the log; it may be a little old. @default {asks the store} */
  readonly last?: () => Promise<number>;
  /** The source of time. */
  readonly clock: Clock;
  /** Called when the broker becomes unreachable, and when it is reachable again. */
  readonly report: Report;
}

/**
 * Reads the broker's copy of a category as a consumer group. Messages that the broker lacks are read from the log
 * first.
 */
export class StreamSource implements Source {
  /** Its kind, for display. */
  readonly kind = "StreamSubscription";
  #store: EventStore;
  #last: () => Promise<number>;
  #broker: Broker;
  #category: string;
  #group: string;
  #consumer: string;
  #cursor = 0;
  #catchUp: LogSource | undefined;
  #watermark = 0;
  #handled: number[] = [];
  #acknowledgeAt = 0;
  /** While the broker is unreachable: when to try again, and the number of failed attempts. */
  #lookAgainAt = 0;
  #inVain = 0;
  #looking: Promise<"back" | "behind" | { readonly error: unknown }> | undefined;
  /** While the broker is quiet: when to look into the log, up to where it has nothing, and what it has. */
  #compareAt = 0;
  #nothingUpTo = 0;
  #undelivered: number | undefined;
  #clock: Clock;
  #report: (
    event: { readonly type: "broker.left"; readonly error: string } | { readonly type: "broker.rejoined" },
  ) => void;

  /**
   * Creates a source; `open()` starts it.
   *
   * @param options What it reads, and for which group.
   */
  constructor({ store, broker, groupPartition, consumer, last, clock, report }: StreamSourceOptions) {
    const { group, category, partition, partitions } = groupPartition;
    this.#store = store;
    this.#last = last ?? (() => store.lastPosition());
    this.#compareAt = clock.elapsed() + QUIET;
    this.#broker = broker;
    this.#category = category;
    this.#group = partitions === 1 ? group : `${group}/${partition}of${partitions}`;
    this.#consumer = consumer;
    this.#clock = clock;
    this.#report = (event) => report({ ...event, group });
  }

  async open(after: number): Promise<void> {
    this.#cursor = after;
    this.#handled = [];
    if (this.#inVain > 0 || await this.#belowWatermark()) return await this.#readLog(after);
    try {
      await this.#openBroker(after);
    } catch (error) {
      if (!(error instanceof BrokerUnavailableError)) throw error;
      await this.#leaveBroker(error);
    }
  }

  /** Switches to reading the log. */
  async #readLog(after: number): Promise<void> {
    this.#catchUp = new LogSource(this.#store, this.#category, this.#clock);
    await this.#catchUp.open(after);
  }

  /** Falls back to the log if the broker is unreachable. */
  async #leaveBroker(error: BrokerUnavailableError): Promise<void> {
    if (this.#inVain++ === 0) this.#report({ type: "broker.left", error: error.message });
    this.#lookAgainAt = this.#clock.elapsed() + Math.min(LONGEST_AWAY, 50 * 2 ** Math.min(this.#inVain, 10));
    this.#handled = [];
    await this.#readLog(this.#cursor);
  }

  /** While the broker is unavailable: reads the log, and looks now and then whether it is back, without waiting for it. */
  async #readAway(count: number, wait: number, signal: AbortSignal): Promise<MessageRecord[]> {
    if (this.#clock.elapsed() >= this.#lookAgainAt) {
      const from = this.#cursor;
      this.#looking ??= this.#broker.describe(this.#category).then(
        // One that has not come as far as the log was when it was asked would only keep its readers waiting.
        ({ last }) => last >= from ? "back" as const : "behind" as const,
        (error) => ({ error }),
      );
      const found = await Promise.race([this.#looking, this.#clock.sleep(LOOK)]);
      if (found) this.#looking = undefined;
      if (typeof found === "object") {
        if (!(found.error instanceof BrokerUnavailableError)) throw found.error;
        await this.#leaveBroker(found.error);
      } else if (found === "behind") {
        this.#lookAgainAt = this.#clock.elapsed() + LONGEST_AWAY;
      } else if (found === "back") {
        try {
          await this.#openBroker(this.#cursor);
          this.#inVain = 0;
          this.#report({ type: "broker.rejoined" });
          return await this.next(count, wait, signal);
        } catch (error) {
          if (!(error instanceof BrokerUnavailableError)) throw error;
          await this.#leaveBroker(error);
        }
      }
    }
    const until = this.#looking ? LOOK : this.#lookAgainAt - this.#clock.elapsed();
    const found = await this.#catchUp!.next(count, Math.max(0, Math.min(wait, until)), signal);
    if (found.length > 0) this.#cursor = this.#catchUp!.cursor;
    return found;
  }

  async #openBroker(after: number): Promise<void> {
    this.#catchUp = undefined;
    // The checkpoint is authoritative: pending messages of a crashed consumer are redelivered from there.
    await this.#broker.seek(this.#category, this.#group, after);
    // The watermark may have risen before this group was known.
    if (await this.#belowWatermark()) await this.#readLog(after);
  }

  async #belowWatermark(): Promise<boolean> {
    this.#watermark = watermarkOf(await this.#store.checkpoints(RELAY_GROUP, this.#category), this.#category);
    return this.#cursor < this.#watermark;
  }

  async next(count: number, wait: number, signal: AbortSignal): Promise<MessageRecord[]> {
    if (this.#inVain > 0) return await this.#readAway(count, wait, signal);
    if (this.#catchUp) {
      const found = await this.#catchUp.next(count, 0, signal);
      if (found.length > 0) {
        this.#cursor = this.#catchUp.cursor;
        return found;
      }
      // The log is read up to its end; anything trimmed since then would be below the new watermark.
      await this.open(Math.max(this.#cursor, this.#watermark));
      return await this.next(count, wait, signal);
    }
    try {
      if (this.#handled.length > 0 && this.#clock.elapsed() >= this.#acknowledgeAt) await this.#acknowledge();
      const { messages, previous, last = 0 } = await this.#broker.read({
        stream: this.#category,
        group: this.#group,
        consumer: this.#consumer,
        count,
        block: wait,
        signal,
      });
      // Another reader of the group took the last messages of the stream: no entry follows that would tell.
      if (messages.length === 0 && last > this.#cursor) await this.#readLog(this.#cursor);
      if (messages.length > 0) this.#compareAt = this.#clock.elapsed() + QUIET;
      else if (this.#clock.elapsed() >= this.#compareAt) await this.#compare();
      const whole = await this.#withoutHoles(messages, previous);
      return this.#catchUp && whole.length === 0 ? await this.next(count, wait, signal) : whole;
    } catch (error) {
      if (error instanceof BrokerUnavailableError) {
        await this.#leaveBroker(error);
        return [];
      }
      if (!(error instanceof GroupMissingError)) throw error;
      // The broker was wiped: the relay refills it, and the group continues from its checkpoint.
      await this.open(this.#cursor);
      return [];
    }
  }

  /**
   * A broker that delivers nothing may be another one than the relay's, or refuse what the relay publishes. What the log
   * has had for some time, and the broker has not delivered, is read from the log.
   */
  async #compare(): Promise<void> {
    this.#compareAt = this.#clock.elapsed() + QUIET;
    const last = await this.#last();
    if (last <= this.#nothingUpTo) return;
    const after = Math.max(this.#cursor, this.#nothingUpTo);
    const [record] = await this.#store.readLog({ category: this.#category, after, upTo: last, limit: 1, largest: 0 });
    if (!record) this.#nothingUpTo = last;
    else if (this.#undelivered !== record.position) this.#undelivered = record.position;
    else {
      this.#undelivered = undefined;
      throw new BrokerUnavailableError(
        `${this.#broker.location} has not delivered message ${record.position} of ${this.#category} for ${
          QUIET / 1000
        } s (is it the broker that the relay publishes to?)`,
        true,
      );
    }
  }

  /**
   * Each message names its predecessor in the stream. If that was not seen here, it went to another consumer (one that
   * was presumed dead and resumed), or the broker lost it: read from the log from there on. Likewise from a message whose
   * payload is only there.
   */
  async #withoutHoles(messages: readonly MessageRecord[], previous: readonly number[]): Promise<MessageRecord[]> {
    const whole: MessageRecord[] = [];
    for (const [i, message] of messages.entries()) {
      if (previous[i] > this.#cursor || isLeftOut(message)) {
        this.#catchUp = new LogSource(this.#store, this.#category, this.#clock);
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
    if (this.#handled.length === 0) this.#acknowledgeAt = this.#clock.elapsed() + ACKNOWLEDGE_INTERVAL;
    for (const { position } of messages) this.#handled.push(position);
    if (this.#handled.length >= ACKNOWLEDGE_EVERY) await this.#acknowledge();
  }

  async #acknowledge(): Promise<void> {
    const handled = this.#handled;
    this.#handled = [];
    try {
      await this.#broker.acknowledge(this.#category, this.#group, handled);
    } catch (error) {
      // The checkpoint is authoritative: the next seek clears whatever stays pending.
      if (!(error instanceof BrokerUnavailableError)) throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#handled.length > 0) await this.#acknowledge();
  }
}

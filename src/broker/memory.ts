import { type Clock, clockOf } from "../lib/clock.ts";
import { Notifier } from "../lib/notifier.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { BrokerBehindError, BrokerUnavailableError, GroupMissingError } from "./errors.ts";
import type { Broker, BrokerStreamInfo, ClaimOptions, Delivered, ReadGroupOptions } from "./port.ts";

/** Settings of {@linkcode MemoryBroker}. */
export interface MemoryBrokerOptions {
  /** The source of time. @default {the real one} */
  readonly clock?: Partial<Clock>;
}

interface Group {
  delivered: number;
  pending: Map<number, { consumer: string; at: number }>;
}

interface Entry {
  readonly message: MessageRecord;
  readonly previous: number;
}

interface Stream {
  last: number;
  entries: Entry[];
  groups: Map<string, Group>;
  signal: Notifier;
}

const NOTHING: Delivered = { messages: [], previous: [] };

/** Returns the index of the first entry after a position. */
function firstAfter(entries: readonly Entry[], position: number): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entries[middle].message.position <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * An in-memory broker, lost when its process exits: the simplest implementation of the port.
 *
 * @example A group that reads
 * ```ts
 * import { MemoryBroker } from "@annals/annals/broker/memory";
 *
 * const broker = new MemoryBroker();
 * await broker.createGroup("bank::account", "Auditor", 0);
 * console.log(await broker.read({ stream: "bank::account", group: "Auditor", consumer: "me", count: 10, block: 0 })); // []
 * await broker.close();
 * ```
 */
export class MemoryBroker implements Broker {
  /** Always `memory`. */
  readonly kind = "memory";
  /** Always `(this process)`. */
  readonly location = "(this process)";
  #clock: Clock;
  #streams = new Map<string, Stream>();
  #logId: string | undefined;
  #closed = false;

  /**
   * Creates an empty broker.
   *
   * @param options Settings.
   */
  constructor(options: MemoryBrokerOptions = {}) {
    this.#clock = clockOf(options.clock);
  }

  #stream(name: string): Stream {
    if (this.#closed) throw new BrokerUnavailableError("Cannot use the memory broker: it is closed");
    let stream = this.#streams.get(name);
    if (!stream) {
      this.#streams.set(name, stream = { last: 0, entries: [], groups: new Map(), signal: new Notifier(this.#clock) });
    }
    return stream;
  }

  #group(stream: string, group: string): Group {
    const found = this.#stream(stream).groups.get(group);
    if (!found) throw new GroupMissingError(stream, group);
    return found;
  }

  async publish(
    messages: readonly MessageRecord[],
    expected?: ReadonlyMap<string, number>,
    previous: ReadonlyMap<string, number> | undefined = expected,
  ): Promise<number> {
    for (const [stream, position] of expected ?? []) {
      const { last } = this.#stream(stream);
      if (last < position) throw new BrokerBehindError(stream, position, last);
    }
    let added = 0;
    const touched = new Set<Stream>();
    const before = new Map(previous ?? []);
    for (const message of messages) {
      const stream = this.#stream(message.category);
      const earlier = before.get(message.category) ?? 0;
      before.set(message.category, message.position);
      if (message.position <= stream.last) continue;
      stream.entries.push({ message, previous: earlier });
      stream.last = message.position;
      touched.add(stream);
      added++;
    }
    for (const stream of touched) stream.signal.notify();
    return added;
  }

  async adopt(logId: string): Promise<boolean> {
    const foreign = this.#logId !== undefined && this.#logId !== logId && this.#streams.size > 0;
    if (foreign) { for (const stream of [...this.#streams.keys()]) await this.remove(stream); }
    this.#logId = logId;
    return foreign;
  }

  async remove(name: string): Promise<void> {
    const stream = this.#stream(name);
    this.#streams.delete(name);
    stream.signal.notify();
  }

  async createGroup(stream: string, group: string, after: number): Promise<void> {
    const { groups } = this.#stream(stream);
    if (!groups.has(group)) groups.set(group, { delivered: after, pending: new Map() });
  }

  async seek(stream: string, group: string, after: number): Promise<void> {
    this.#stream(stream).groups.set(group, { delivered: after, pending: new Map() });
  }

  async read({ stream, group, consumer, count, block, signal }: ReadGroupOptions): Promise<Delivered> {
    const until = this.#clock.elapsed() + block;
    while (true) {
      const { entries, last, signal: published } = this.#stream(stream);
      const reader = this.#group(stream, group);
      const from = firstAfter(entries, reader.delivered);
      const found = entries.slice(from, from + count);
      if (found.length > 0) {
        const at = this.#clock.now();
        for (const { message } of found) reader.pending.set(message.position, { consumer, at });
        reader.delivered = found[found.length - 1].message.position;
        return { messages: found.map((entry) => entry.message), previous: found.map((entry) => entry.previous) };
      }
      const left = until - this.#clock.elapsed();
      if (left <= 0 || signal?.aborted || this.#closed) return { ...NOTHING, last };
      await published.wait(left, signal);
      if (this.#closed) return NOTHING;
    }
  }

  async acknowledge(stream: string, group: string, positions: readonly number[]): Promise<void> {
    const pending = this.#stream(stream).groups.get(group)?.pending;
    for (const position of positions) pending?.delete(position);
  }

  async claim({ stream, group, consumer, idle, count }: ClaimOptions): Promise<MessageRecord[]> {
    const { entries } = this.#stream(stream);
    const { pending } = this.#group(stream, group);
    const at = this.#clock.now();
    const claimed: MessageRecord[] = [];
    for (const position of [...pending.keys()].sort((a, b) => a - b)) {
      const held = pending.get(position)!;
      if (claimed.length === count) break;
      if (held.consumer === consumer || held.at > at - idle) continue;
      const entry = entries[firstAfter(entries, position - 1)];
      if (entry?.message.position === position) {
        pending.set(position, { consumer, at });
        claimed.push(entry.message);
      } else pending.delete(position);
    }
    return claimed;
  }

  async trim(stream: string, upTo: number): Promise<number> {
    const { entries } = this.#stream(stream);
    return entries.splice(0, firstAfter(entries, upTo)).length;
  }

  async lasts(streams: readonly string[]): Promise<number[]> {
    return streams.map((stream) => this.#stream(stream).last);
  }

  async describe(stream: string): Promise<BrokerStreamInfo> {
    const { last, entries, groups } = this.#stream(stream);
    const infos = [...groups].sort(([a], [b]) => a < b ? -1 : 1).map(([group, { delivered, pending }]) => ({
      group,
      delivered,
      pending: pending.size,
      lowestPending: pending.size === 0 ? null : Math.min(...pending.keys()),
    }));
    const end = entries.at(-1)?.message;
    const lastId = end?.position === last ? end.id : null;
    return { last, lastId, first: entries[0]?.message.position ?? null, length: entries.length, groups: infos };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { signal } of this.#streams.values()) signal.notify();
  }
}

import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import { type Clock, clockOf } from "../lib/clock.ts";
import { pauseBefore, SERVICE_BACKOFF } from "../lib/retry.ts";
import { NO_REPORT, type Report } from "../telemetry/events.ts";
import { BrokerBehindError, BrokerUnavailableError } from "../broker/errors.ts";
import type { Broker } from "../broker/port.ts";
import { isInternal, type MessageRecord } from "../messages/envelope.ts";
import { LARGE } from "../store/large.ts";
import type { Checkpoint, EventStore, Fence } from "../store/port.ts";
import { hasDiverged } from "./divergence.ts";
import { reachedBy } from "../groups/progress.ts";
import { RELAY_GROUP, watermarkOf } from "../groups/watermark.ts";

/** Options of a relay. */
export interface RelayOptions {
  /** The store. */
  readonly store: EventStore;
  /** The broker. */
  readonly broker: Broker;
  /** The domain's categories, each with its readers; the broker keeps what one of them still needs. */
  readonly readers: ReadonlyMap<string, readonly string[]>;
  /** The lease it works under; without one, no other process may run a relay. */
  readonly fence?: Fence;
  /** The number of messages per batch. @default {1000} */
  readonly batch?: number;
  /** The interval for detecting lost messages and trimming the broker, in milliseconds. @default {1000} */
  readonly checkInterval?: number;
  /** Receives events. @default {none} */
  readonly report?: Report;
  /** The source of time and randomness. @default {the real ones} */
  readonly clock?: Partial<Clock>;
}

/**
 * How long the broker may be unreachable before the lease is released, in milliseconds; another process may reach it.
 */
const AWAY_PATIENCE = 1_000;

/**
 * Most published messages that may be unmarked, and for how long, in milliseconds. After a crash they are published
 * again, which has no effect.
 */
const MARK_EVERY = 1_000;
const MARK_INTERVAL = 100;

/** A group unknown to this code that has been idle for this long does not hold back trimming, in milliseconds. */
const FORGOTTEN = 600_000;

/** After so many checks, everything is trimmed once more. */
const FORGET_TRIMMED = 60;

function isPublic({ category }: MessageRecord): boolean {
  return !isInternal(category);
}

/**
 * Moves messages from the log to the broker, in order of position. It can crash and restart at any point: publishing
 * is idempotent by position.
 *
 * Large payloads stay in the log: the broker's copy has an empty one, and readers go to the log for it. So a backlog of
 * large messages fits through, and into the broker's memory.
 *
 * Messages that the broker lost (wiped, restarted empty, behind after a failover) are republished from the log.
 * Messages that all groups have passed are trimmed.
 */
export class Relay {
  #options: RelayOptions;
  #clock: Clock;
  #report: Report;
  #batch: number;
  #checkInterval: number;
  #nextCheck = 0;
  /**
   * The last published position. Outbox rows are marked up to {@linkcode Relay.#marked}, later and in batches, because
   * each mark is a write.
   */
  #published = 0;
  #marked = 0;
  #markAt = 0;
  #knowsPublished = false;
  #announced = new Map<string, number>();
  /** Up to where the broker was trimmed; forgotten now and then, because entries may come back with an old snapshot. */
  #trimmed = new Map<string, number>();
  #checks = 0;
  /** The last published position of each broker stream. */
  #lasts = new Map<string, number>();
  #away = false;

  /**
   * Creates a relay; `run()` starts it.
   *
   * @param options Its options.
   */
  constructor(options: RelayOptions) {
    this.#options = options;
    this.#clock = clockOf(options.clock);
    this.#report = options.report ?? NO_REPORT;
    this.#batch = options.batch ?? 1000;
    this.#checkInterval = options.checkInterval ?? 1000;
  }

  /**
   * Runs until aborted.
   *
   * @param signal Asks it to stop.
   * @throws {FencedError} If another relay has taken over.
   * @throws {BrokerUnavailableError} If the broker stays unreachable, so that another process can take the lease.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const clock = this.#clock;
    let tries = 0;
    let awaySince = Infinity;
    while (!signal.aborted) {
      const woken = new AbortController();
      const begunAt = clock.elapsed();
      // Subscribe before reading, so that a write in between is not missed.
      const due = this.#published > this.#marked ? Math.min(this.#markAt, this.#nextCheck) : this.#nextCheck;
      const left = Math.max(0, due - this.#clock.elapsed());
      const changed = store.changed(left, AbortSignal.any([signal, woken.signal]), "messages");
      // The promise may never be awaited.
      changed.catch(() => {});
      try {
        if (this.#clock.elapsed() >= this.#nextCheck) await this.check();
        const moved = await this.#step();
        if (this.#clock.elapsed() >= this.#markAt) await this.#mark();
        if (this.#away) this.#report({ type: "service.back", group: RELAY_GROUP });
        this.#away = false;
        tries = 0;
        awaySince = Infinity;
        // A write since the last read has already been signalled.
        if (moved < this.#batch) await changed;
      } catch (error) {
        // Also what waiting cannot help: somebody may mend the broker, and nothing is lost meanwhile.
        if (recoveryOf(error) === "none" && !(error instanceof BrokerUnavailableError)) throw error;
        if (!this.#away) this.#report({ type: "service.away", group: RELAY_GROUP, error: messageOf(error) });
        this.#away = true;
        // Since it was asked for what it did not do: it may have kept us waiting.
        awaySince = Math.min(awaySince, begunAt);
        if (error instanceof BrokerUnavailableError && this.#clock.elapsed() - awaySince > AWAY_PATIENCE) throw error;
        await clock.sleep(pauseBefore(++tries, SERVICE_BACKOFF, clock.random()), signal);
      } finally {
        // Without a reason, `abort()` creates an exception with a stack each time.
        woken.abort("done");
      }
    }
    await this.#mark();
  }

  /**
   * Moves all waiting messages.
   *
   * @param signal Asks it to stop.
   * @returns The number of messages moved.
   */
  async drain(signal?: AbortSignal): Promise<number> {
    const moved = await this.#move(signal);
    await this.#mark();
    return moved;
  }

  async #move(signal?: AbortSignal): Promise<number> {
    let moved = 0;
    while (!signal?.aborted) {
      const step = await this.#step();
      if (step === 0) return moved;
      moved += step;
    }
    return moved;
  }

  /** Moves up to one batch; returns the number of messages. */
  async #step(): Promise<number> {
    const startedAt = this.#clock.elapsed();
    const records = await this.#waiting();
    if (records.length === 0) return 0;
    while (!await this.#publish(records.filter(isPublic)));
    this.#published = records[records.length - 1].position;
    const milliseconds = this.#clock.elapsed() - startedAt;
    this.#report({ type: "relay.published", messages: records.length, position: this.#published, milliseconds });
    if (this.#published - this.#marked >= MARK_EVERY) await this.#mark();
    return records.length;
  }

  async #mark(): Promise<void> {
    if (this.#published > this.#marked) {
      await this.#options.store.markPublished(this.#published, this.#options.fence);
      this.#marked = this.#published;
    }
    this.#markAt = this.#clock.elapsed() + MARK_INTERVAL;
  }

  /** Ensures that the broker holds a copy of this log only. */
  async #adopt(): Promise<void> {
    const { store, broker } = this.#options;
    if (await broker.adopt(await store.logId())) {
      this.#report({ type: "broker.foreign" });
    }
  }

  /** Publishes messages. If the broker has lost messages, refills it first and returns `false`, to try again. */
  async #publish(records: readonly MessageRecord[]): Promise<boolean> {
    const expected = new Map<string, number>();
    const reached = new Map(records.map(({ category, position }) => [category, position]));
    for (const category of reached.keys()) expected.set(category, await this.#last(category));
    try {
      await this.#options.broker.publish(records, expected);
    } catch (error) {
      if (!(error instanceof BrokerBehindError)) throw error;
      await this.check();
      return false;
    }
    for (const [category, position] of reached) this.#lasts.set(category, position);
    return true;
  }

  /** Returns the last position published to a broker stream, even if the broker has lost it. */
  async #last(category: string): Promise<number> {
    const known = this.#lasts.get(category);
    if (known !== undefined) return known;
    const { store } = this.#options;
    const published = Math.max(this.#published, await store.published());
    const [record] = published === 0
      ? []
      : await store.readLog({ category, upTo: published, limit: 1, backward: true, largest: 0 });
    const last = record?.position ?? 0;
    this.#lasts.set(category, last);
    return last;
  }

  /**
   * Whatever is in the log behind the last published position, with outbox rows or without: servers of two configurations
   * may write at the same time.
   */
  async #waiting(): Promise<MessageRecord[]> {
    const { store } = this.#options;
    if (!this.#knowsPublished) {
      this.#published = this.#marked = Math.max(this.#published, await store.published());
      this.#knowsPublished = true;
    }
    return await store.readLog({ after: this.#published, limit: this.#batch, largest: LARGE });
  }

  /** Checks that the broker has what it should, refills it if not, and trims it. */
  async check(): Promise<void> {
    const began = this.#clock.elapsed();
    this.#nextCheck = began + this.#checkInterval;
    const { store, broker, readers } = this.#options;
    if (++this.#checks % FORGET_TRIMMED === 0) this.#trimmed.clear();
    const categories = [...new Set([...readers.keys(), ...this.#lasts.keys()])];
    // Run in parallel: no messages are moved during maintenance.
    const [checkpoints, leases, marked, lasts] = await Promise.all([
      store.checkpoints(),
      store.leases(),
      store.published(),
      this.#adopt().then(() => broker.lasts(categories)),
    ]);
    // What takes long is done less often: there may be many groups with many categories each.
    this.#nextCheck = Math.max(this.#nextCheck, began + CHECK_SHARE * (this.#clock.elapsed() - began));
    const published = Math.max(this.#published, marked);
    if (published === 0) return;
    const recently = this.#clock.now() - FORGOTTEN;
    const held = new Set(
      leases.filter(({ group, expiresAt }) => group !== RELAY_GROUP && expiresAt > recently).map(({ group }) => group),
    );
    const byCategory = Map.groupBy(checkpoints, ({ category }) => category);
    await Promise.all(categories.map(async (category, i) => {
      const groups = new Set(readers.get(category));
      const its = byCategory.get(category) ?? [];
      for (const { group } of its) if (held.has(group)) groups.add(group);
      const needed = lowest(category, groups, its, published);
      const watermark = watermarkOf(its, category);
      if (lasts[i] !== await this.#last(category)) await this.#refill(category, needed, watermark);
      // The readers of other domains' categories are unknown here.
      if (readers.has(category)) await this.#trim(category, needed, watermark);
    }));
  }

  async #refill(category: string, needed: number, watermark: number): Promise<void> {
    const { store, broker } = this.#options;
    const info = await broker.describe(category);
    const { last } = info;
    // What is added again has to be trimmed again.
    this.#trimmed.delete(category);
    const upTo = await this.#last(category);
    if (last > upTo && await hasDiverged(store, info)) {
      this.#report({ type: "broker.diverged", category });
      await broker.remove(category);
      return await this.#refill(category, needed, watermark);
    }
    if (last >= upTo) return;
    let after = Math.max(last, Math.min(needed, upTo - 1));
    this.#report({ type: "broker.refilled", category, after });
    // The broker may lack messages up to here: groups further behind read them from the log.
    if (after > last && after > watermark) await this.#setWatermark(category, after);
    while (true) {
      const records = await store.readLog({ category, after, upTo, limit: this.#batch, largest: LARGE });
      if (records.length === 0) return;
      // Groups that have not reached `after` read the log up to there.
      await broker.publish(records, undefined, new Map([[category, after]]));
      after = records[records.length - 1].position;
    }
  }

  async #trim(category: string, needed: number, watermark: number): Promise<void> {
    // Announce in one round and trim in the next, so that a group opened in between is seen.
    const announced = Math.min(this.#announced.get(category) ?? 0, needed);
    if (announced > (this.#trimmed.get(category) ?? 0)) {
      await this.#options.broker.trim(category, announced);
      this.#trimmed.set(category, announced);
    }
    if (needed > watermark) await this.#setWatermark(category, needed);
    this.#announced.set(category, needed);
  }

  async #setWatermark(category: string, position: number): Promise<void> {
    const { store, fence } = this.#options;
    const checkpoint = { group: RELAY_GROUP, category, partitions: 1, partition: 0, position };
    await store.commit({ ...(fence && { fence }), checkpoint });
  }
}

/** How many times as long as reading checkpoints takes it is until the next time. */
const CHECK_SHARE = 20;

/** Returns the position that all groups of a category have passed. */
function lowest(
  category: string,
  groups: Iterable<string>,
  checkpoints: readonly Checkpoint[],
  published: number,
): number {
  const byGroup = Map.groupBy(checkpoints, ({ group }) => group);
  let lowest = published;
  for (const group of groups) lowest = Math.min(lowest, reachedBy(byGroup.get(group) ?? [], category));
  return lowest;
}

import type { Reaction } from "../domain/reaction.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { partitionOf } from "../messages/ids.ts";
import type { Commit, ParkedMessage } from "../store/port.ts";
import { Progress } from "./lane.ts";
import type { Complete } from "./options.ts";
import { type Parked, Parking } from "./parking.ts";
import type { PendingCommit } from "./pending_commit.ts";

/** How long a step of the checkpoint that nothing has to agree with may wait to be written, in milliseconds. */
const FLUSH_INTERVAL = 50;

/** After a death, so many batches have their checkpoint written at once: more than fit into that interval. */
const CAREFUL = 500;

/** What a subscription has done, and what it has set aside; the one place that writes either. */
export class Ledger {
  #options: Complete;
  #progress!: Progress;
  /** The messages that are set aside. */
  parking: Parking = new Parking();
  /** A step of the checkpoint that is still to be written, and when. */
  #deferred: number | undefined;
  #flushAt = 0;
  /** How many batches still have their checkpoint written at once. */
  #careful: number;

  /** Makes a ledger that has to be read first. */
  constructor(options: Complete) {
    this.#options = options;
    this.#careful = options.suspicious ? CAREFUL : 0;
  }

  /** Reads what is written; what was not is forgotten. */
  async read(): Promise<void> {
    const { store, lane, suspicious } = this.#options;
    this.#deferred = undefined;
    this.#progress = new Progress(lane, await store.checkpoints(lane.group));
    this.parking = new Parking();
    for (const parked of await store.parked(lane.group)) this.adopt(parked, suspicious);
  }

  /** Takes over a row of this lane that is not known yet. */
  adopt(parked: ParkedMessage, suspect: boolean): void {
    const { category, partition, partitions } = this.#options.lane;
    if (parked.category !== category || partitionOf(parked.stream, partitions) !== partition) return;
    if (!this.parking.has(parked.stream, parked.position)) this.parking.put({ ...parked, suspect });
  }

  /** Everything up to here is done, or set aside. */
  get position(): number {
    return this.#progress?.position ?? 0;
  }

  /** Whether a message is for this lane, still to be handled, and not set aside. */
  wants(record: MessageRecord): boolean {
    return this.#progress.wants(record) && !this.parking.has(record.stream, record.position);
  }

  /** In how many milliseconds {@linkcode Ledger.flush} is due; `Infinity` when there is nothing to write. */
  get due(): number {
    return this.#deferred === undefined ? Infinity : Math.max(0, this.#flushAt - performance.now());
  }

  /** Writes that a message is set aside. */
  async park(parked: Parked): Promise<void> {
    const { store, lane: { fence } } = this.#options;
    const { suspect: _, ...row } = parked;
    await store.commit({ ...(fence && { fence }), park: [row] });
    this.parking.put(parked);
  }

  /**
   * Writes effects, rows of what is set aside, dead letters and the checkpoint in one transaction.
   *
   * @param pending What the subscription wants written.
   * @param reaction What handlers want written.
   * @param last The position that is reached by it; the checkpoint stays where it is without one.
   */
  async write(pending: PendingCommit, reaction?: Reaction, last?: number): Promise<void> {
    const { store, lane: { fence }, outbox } = this.#options;
    const { appends = [], rows = [], outcomes = [], statements = [] } = reaction?.effects() ?? {};
    const moves = last !== undefined && last > this.#progress.position;
    const effectless = pending.empty && appends.length + rows.length + outcomes.length + statements.length === 0;
    if (effectless) {
      // Nothing has to agree with this step of the checkpoint: it is written with the next one, or a little later.
      if (moves) await this.#defer(last);
      return reaction?.settle(true);
    }
    const reached = moves ? last : this.#deferred ?? 0;
    const commit: Commit = {
      ...(fence && { fence }),
      ...(reached > 0 && { checkpoint: this.#progress.checkpoint(reached) }),
      appends: outbox ? appends : appends.map((append) => ({ ...append, publish: false })),
      rows,
      ...(statements.length > 0 && { statements }),
      outcomes: [...outcomes, ...pending.outcomes.map(({ position: _, ...outcome }) => outcome)],
      park: pending.parked.map(({ suspect: _, ...row }) => row),
      unpark: pending.unparked.map(({ group, position }) => ({ group, position })),
      deadLetters: pending.deadLetters,
    };
    try {
      await store.commit(commit);
    } catch (error) {
      reaction?.settle(false);
      throw error;
    }
    reaction?.settle(true);
    this.#deferred = undefined;
    for (const { stream, position } of pending.unparked) this.parking.remove(stream, position);
    for (const parked of pending.parked) this.parking.put(parked);
    if (moves) this.#progress.moveTo(last);
  }

  /** Moves on without writing it yet. */
  async #defer(position: number): Promise<void> {
    if (this.#deferred === undefined) this.#flushAt = performance.now() + FLUSH_INTERVAL;
    this.#deferred = position;
    this.#progress.moveTo(position);
    if (this.#careful > 0) {
      // Whoever comes after the next death must find the culprit among the first that are tried alone.
      this.#careful--;
      await this.flush();
    }
  }

  /** Writes the checkpoint that was put off. */
  async flush(): Promise<void> {
    if (this.#deferred === undefined) return;
    const { store, lane: { fence } } = this.#options;
    const checkpoint = this.#progress.checkpoint(this.#deferred);
    await store.commit({ ...(fence && { fence }), checkpoint });
    this.#deferred = undefined;
  }
}

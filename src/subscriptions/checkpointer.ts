import { type Effects, NO_EFFECTS } from "../handling/batch.ts";
import { knows, parseVersionName } from "../messages/known_types.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { partitionOf } from "../messages/ids.ts";
import type { Commit, DeferredMessage } from "../store/port.ts";
import { PartitionProgress } from "../groups/progress.ts";
import type { Complete } from "./options.ts";
import { type Deferred, RetryQueue } from "./retry_queue.ts";
import type { PendingCommit } from "./pending_commit.ts";

/** How long a step of the checkpoint that nothing has to agree with may wait to be written, in milliseconds. */
const FLUSH_INTERVAL = 50;

/** After a death, so many batches have their checkpoint written at once: more than fit into that interval. */
const CAREFUL = 500;

/** What a subscription has done, and what it has set aside; the one place that writes either. */
export class Checkpointer {
  #options: Complete;
  #progress!: PartitionProgress;
  /** The messages that are set aside. */
  retryQueue: RetryQueue = new RetryQueue();
  /** A step of the checkpoint that is still to be written, and when. */
  #unwritten: number | undefined;
  #flushAt = 0;
  /** How many batches still have their checkpoint written at once. */
  #careful: number;

  /** Makes a checkpointer that has to be read first. */
  constructor(options: Complete) {
    this.#options = options;
    this.#careful = options.quarantined ? CAREFUL : 0;
  }

  /** Reads what is written; what was not is forgotten. */
  async read(): Promise<void> {
    const { store, groupPartition, quarantined } = this.#options;
    this.#unwritten = undefined;
    this.#progress = new PartitionProgress(groupPartition, await store.checkpoints(groupPartition.group));
    this.retryQueue = new RetryQueue();
    for (const deferred of await store.deferred(groupPartition.group)) this.adopt(deferred, quarantined);
  }

  /** Takes over a row of this groupPartition that is not known yet. */
  adopt(deferred: DeferredMessage, quarantined: boolean): void {
    const { category, partition, partitions } = this.#options.groupPartition;
    if (deferred.category !== category || partitionOf(deferred.stream, partitions) !== partition) return;
    if (this.retryQueue.has(deferred.stream, deferred.position)) return;
    const { awaits } = deferred;
    const isStillUnknown = awaits !== null && !knows(this.#options.types, parseVersionName(awaits));
    if (isStillUnknown) this.#options.lacks(awaits);
    this.retryQueue.put({ ...deferred, awaits: isStillUnknown ? awaits : null, quarantined });
  }

  /** Everything up to here is done, or set aside. */
  get position(): number {
    return this.#progress?.position ?? 0;
  }

  /** Whether a message is for this groupPartition, still to be handled, and not set aside. */
  wants(record: MessageRecord): boolean {
    return this.#progress.wants(record) && !this.retryQueue.has(record.stream, record.position);
  }

  /** In how many milliseconds {@linkcode Checkpointer.flush} is due; `Infinity` when there is nothing to write. */
  get due(): number {
    return this.#unwritten === undefined ? Infinity : Math.max(0, this.#flushAt - this.#options.clock.elapsed());
  }

  /** Writes that a message is set aside. */
  async defer(deferred: Deferred): Promise<void> {
    const { store, groupPartition: { fence } } = this.#options;
    const { quarantined: _, ...row } = deferred;
    await store.commit({ ...(fence && { fence }), defer: [row] });
    this.retryQueue.put(deferred);
  }

  /**
   * Writes effects, rows of what is set aside, dead letters and the checkpoint in one transaction.
   *
   * @param pending What the subscription wants written.
   * @param effects What handlers want written; the runner is told what became of it.
   * @param last The position that is reached by it; the checkpoint stays where it is without one.
   */
  async write(pending: PendingCommit, effects?: Effects, last?: number): Promise<void> {
    const { store, groupPartition: { fence }, outbox, runner } = this.#options;
    const { appends, rows, outcomes, statements } = effects ?? NO_EFFECTS;
    const settle = (written: boolean): void => void (effects && runner.settle(written));
    const moves = last !== undefined && last > this.#progress.position;
    const effectless = pending.empty && appends.length + rows.length + outcomes.length + statements.length === 0;
    if (effectless) {
      // Nothing has to agree with this step of the checkpoint: it is written with the next one, or a little later.
      if (moves) await this.#postpone(last);
      return settle(true);
    }
    const reached = moves ? last : this.#unwritten ?? 0;
    const commit: Commit = {
      ...(fence && { fence }),
      ...(reached > 0 && { checkpoint: this.#progress.checkpoint(reached) }),
      appends: outbox ? appends : appends.map((append) => ({ ...append, publish: false })),
      rows,
      ...(statements.length > 0 && { statements }),
      outcomes: [...outcomes, ...pending.outcomes.map(({ position: _, ...outcome }) => outcome)],
      defer: pending.deferred.map(({ quarantined: _, ...row }) => row),
      resume: pending.resumed.map(({ group, position }) => ({ group, position })),
      deadLetters: pending.deadLetters,
    };
    try {
      await store.commit(commit);
    } catch (error) {
      settle(false);
      throw error;
    }
    settle(true);
    this.#unwritten = undefined;
    for (const { stream, position } of pending.resumed) this.retryQueue.remove(stream, position);
    for (const deferred of pending.deferred) this.retryQueue.put(deferred);
    if (moves) this.#progress.moveTo(last);
  }

  /** Moves on without writing it yet. */
  async #postpone(position: number): Promise<void> {
    if (this.#unwritten === undefined) this.#flushAt = this.#options.clock.elapsed() + FLUSH_INTERVAL;
    this.#unwritten = position;
    this.#progress.moveTo(position);
    if (this.#careful > 0) {
      // Whoever comes after the next death must find the culprit among the first that are tried alone.
      this.#careful--;
      await this.flush();
    }
  }

  /** Writes the checkpoint that was put off. */
  async flush(): Promise<void> {
    if (this.#unwritten === undefined) return;
    const { store, groupPartition: { fence } } = this.#options;
    const checkpoint = this.#progress.checkpoint(this.#unwritten);
    await store.commit({ ...(fence && { fence }), checkpoint });
    this.#unwritten = undefined;
  }
}

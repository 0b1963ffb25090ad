import { type Effects, NO_EFFECTS } from "../handling/batch.ts";
import { WorkerEndedError } from "../handling/errors.ts";
import { recoveryOf } from "../lib/annals_error.ts";
import { knows, parseVersionName } from "../messages/known_types.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { partitionOf } from "../messages/ids.ts";
import { storable } from "../messages/text.ts";
import { type Commit, type DeferredMessage, type FailedAttempt, REPLAY } from "../store/port.ts";
import { PartitionProgress } from "../groups/progress.ts";
import { longestDelay, retryDelay } from "../groups/settings.ts";
import type { Complete } from "./options.ts";
import { type Deferred, RetryQueue } from "./retry_queue.ts";
import type { PendingCommit } from "./pending_commit.ts";

/** How long writing the checkpoint may be postponed if there are no effects, in milliseconds. */
const FLUSH_INTERVAL = 50;

/** After a crash, this many batches write their checkpoint immediately: more than fit into that interval. */
const CAREFUL = 500;

const UNSUSPICIOUS = { quarantined: false, suspect: false };

/** The longest reason of an end, in characters. */
const LONGEST = 1_000;

/** How an attempt ended whose end nobody has written. */
function endOf(crash: string | undefined, takenOver = false): Pick<FailedAttempt, "error" | "lost"> {
  if (takenOver) {
    const error = "The server that handled this message ended, was stopped for seconds, or was cut off from the store";
    return { error, lost: true };
  }
  const how = crash ?? "it was killed, ran out of memory, or looped after an await";
  return { error: storable(`The worker ended while it handled this message: ${how}`, LONGEST) };
}

/** Whether what ends a subscription has nothing to do with its messages. */
function isOthersFault(error: unknown): boolean {
  return error instanceof WorkerEndedError ? !error.isSuspect : recoveryOf(error) !== "none";
}

/** Returns a deferred message as it is stored. */
function rowOf({ quarantined: _, suspect: __, ...row }: Deferred): DeferredMessage {
  return row;
}

/** Tracks a subscription's checkpoint and deferred messages, and is the only place that writes them. */
export class Checkpointer {
  #options: Complete;
  #progress!: PartitionProgress;
  /** The deferred messages. */
  retryQueue!: RetryQueue;
  /** A postponed checkpoint, and when it is due. */
  #unwritten: number | undefined;
  #flushAt = 0;
  /** The number of batches left that write their checkpoint immediately. */
  #careful: number;
  /** The positions of attempts that this process has begun and counted, and not written the end of. */
  #begun: Map<number, number>;
  /** Those of them that run now. */
  #running = new Map<number, number>();
  #mayStillCommit = false;
  #isCharged = false;

  /** Creates a checkpointer; read it before use. */
  constructor(options: Complete) {
    this.#options = options;
    this.#careful = options.quarantined ? CAREFUL : 0;
    this.#begun = options.begun;
  }

  /** Reloads the stored state and drops postponed steps. */
  async read(): Promise<void> {
    const { store, groupPartition, quarantined, settings } = this.#options;
    const checkpoints = await store.checkpoints(groupPartition.group, groupPartition.category);
    const rows = await store.deferred(groupPartition.group, { category: groupPartition.category });
    // What was in flight during the crash is known from the first time.
    const before: RetryQueue | undefined = this.retryQueue;
    this.#unwritten = undefined;
    this.#progress = new PartitionProgress(groupPartition, checkpoints);
    this.retryQueue = new RetryQueue((attempts) => longestDelay(settings, attempts));
    const triedStreams = new Set<string>();
    const charged: DeferredMessage[] = [];
    for (const deferred of rows) {
      const { attempts, failures, position, stream } = deferred;
      // Of another partition.
      if (!this.lacks(deferred)) continue;
      // Whoever counted this attempt went on or stopped in order: its effects could not be written, or another group's
      // fault ended the worker. The message has no part in that.
      const isInnocent = attempts > failures.length && (!quarantined || this.#begun.get(position) === attempts);
      // What is known of a crash from before, or what is to be feared.
      const known = before ? before.get(stream, position) ?? UNSUSPICIOUS : { quarantined, suspect: quarantined };
      if (isInnocent) this.#adopt({ ...deferred, attempts: failures.length }, { ...known, quarantined: true });
      else if (attempts > failures.length) charged.push(this.#charge(deferred));
      else {
        // What waits behind a message that was tried was not in flight, and attempts of that are counted before they begin.
        if (attempts > 0 || this.#isUnknown(deferred)) triedStreams.add(stream);
        this.#adopt(deferred, triedStreams.has(stream) ? UNSUSPICIOUS : known);
      }
      if (attempts > 0) triedStreams.add(stream);
    }
    if (charged.length === 0) return;
    // At once: how it ended would not be known any more after the next crash.
    await this.#commit({ defer: charged });
    // Of several that were tried together, only one has ended the worker: next time each is tried alone.
    const isAlone = this.#options.together === true;
    for (const deferred of charged) this.#adopt(deferred, { quarantined: isAlone, suspect: false });
  }

  /** Counts an attempt that a crash ended. It waits like a first retry, so that others come before the next crash. */
  #charge(deferred: DeferredMessage): DeferredMessage {
    const { settings, clock, crash, takenOver } = this.#options;
    const failures = [...deferred.failures];
    while (failures.length < deferred.attempts) failures.push({ at: clock.now(), ...endOf(crash, takenOver) });
    const dueAt = Math.round(clock.now() + retryDelay(settings, 1, clock.random()));
    return { ...deferred, failures, dueAt };
  }

  /** Whether a crash before it may be due to something that was not tried since. */
  get isQuarantined(): boolean {
    const queue: RetryQueue | undefined = this.retryQueue;
    return queue?.hasSuspects ?? this.#options.quarantined;
  }

  /** Whether a deferred row is of this partition, and unknown. */
  lacks({ category, stream, position, replayed }: DeferredMessage): boolean {
    const { groupPartition: { category: own, partition, partitions } } = this.#options;
    if (category !== own || partitionOf(stream, partitions) !== partition) return false;
    const known = this.retryQueue.get(stream, position);
    return known === undefined || (known.awaits === REPLAY && replayed);
  }

  /** Adopts an unknown deferred row of this partition. */
  adopt(deferred: DeferredMessage): void {
    this.#adopt(deferred, UNSUSPICIOUS);
  }

  #adopt(deferred: DeferredMessage, { quarantined, suspect }: Pick<Deferred, "quarantined" | "suspect">): void {
    if (!this.lacks(deferred)) return;
    const isStillUnknown = this.#isUnknown(deferred);
    if (isStillUnknown && deferred.awaits !== REPLAY) this.#options.lacks(deferred.awaits!);
    this.retryQueue.put({ ...deferred, awaits: isStillUnknown ? deferred.awaits : null, quarantined, suspect });
  }

  /** Whether it waits for code other than this. */
  #isUnknown({ awaits }: DeferredMessage): boolean {
    return awaits !== null && (awaits === REPLAY || !knows(this.#options.types, parseVersionName(awaits)));
  }

  /** Everything up to here is handled or deferred. */
  get position(): number {
    return this.#progress?.position ?? 0;
  }

  /** Whether a message belongs to this partition and is neither handled nor deferred. */
  wants(record: MessageRecord): boolean {
    return this.#progress.wants(record) && !this.retryQueue.has(record.stream, record.position);
  }

  /** The time until {@linkcode Checkpointer.flush} is due, in milliseconds; `Infinity` if there is nothing to write. */
  get due(): number {
    return this.#unwritten === undefined ? Infinity : Math.max(0, this.#flushAt - this.#options.clock.elapsed());
  }

  /**
   * Whether a commit whose answer was lost may still succeed, after what is written next: whoever goes on needs another
   * fencing token.
   */
  get mayStillCommit(): boolean {
    return this.#mayStillCommit;
  }

  async #commit(commit: Commit): Promise<void> {
    const { store, groupPartition: { fence }, halted } = this.#options;
    halted?.throwIfAborted();
    try {
      await store.commit({ ...(fence && { fence }), ...commit });
    } catch (error) {
      if (recoveryOf(error) === "unsure") this.#mayStillCommit = true;
      throw error;
    }
  }

  /** Counts an attempt before it begins. */
  async begin(deferred: Deferred): Promise<void> {
    // Before it is written: the answer may be lost.
    this.#begun.set(deferred.position, deferred.attempts);
    await this.#commit({ defer: [rowOf(deferred)] });
    this.retryQueue.put(deferred);
  }

  /** Whether a worker has ended by one message, whose attempt was counted before: it will be given up. */
  get isCharged(): boolean {
    return this.#isCharged;
  }

  /** Takes back what was counted and did not end: the next process would take that for a crash. */
  async forgive(): Promise<void> {
    if (this.#begun.size === 0) return;
    const innocent = [...this.retryQueue].filter(({ position }) => this.#begun.has(position));
    if (innocent.length === 0) return;
    await this.#commit({ defer: innocent.map((one) => rowOf({ ...one, attempts: one.failures.length })) });
    for (const { position } of innocent) this.#begun.delete(position);
  }

  /**
   * Runs work on messages. Attempts of it that were counted stay so, unless it ends by no fault of theirs before their end is
   * written.
   */
  async attempt<T>(positions: readonly number[], work: () => Promise<T>): Promise<T> {
    for (const position of positions) {
      const attempt = this.#begun.get(position);
      if (attempt !== undefined) this.#running.set(position, attempt);
      this.#begun.delete(position);
    }
    const isOne = positions.length === 1 && this.#running.size === 1;
    try {
      return await work();
    } catch (error) {
      this.#isCharged = isOne && error instanceof WorkerEndedError && error.isSuspect;
      if (isOthersFault(error)) { for (const [position, attempt] of this.#running) this.#begun.set(position, attempt); }
      throw error;
    } finally {
      this.#running.clear();
    }
  }

  /**
   * Writes effects, deferred messages, dead letters and the checkpoint in one transaction.
   *
   * @param pending The subscription's own writes.
   * @param effects The handlers' effects; the runner is told whether they were written.
   * @param last The position reached; without it, the checkpoint does not move.
   */
  async write(pending: PendingCommit, effects?: Effects, last?: number): Promise<void> {
    const { outbox, runner, report } = this.#options;
    const { snapshots, deliveries: _, ...given } = effects ?? NO_EFFECTS;
    // What there is more of goes as it is: conditions, rows, statements, what is scheduled.
    const { appends, outcomes } = given;
    const moves = last !== undefined && last > this.#progress.position;
    const effectless = pending.empty && Object.values(given).every(({ length }) => length === 0);
    const reached = moves ? last : this.#unwritten ?? 0;
    const commit: Commit = {
      ...given,
      ...(reached > 0 && { checkpoint: this.#progress.checkpoint(reached) }),
      appends: [...appends, ...pending.told.map(({ position: _, ...append }) => append)].map((append) =>
        outbox ? append : { ...append, publish: false }
      ),
      outcomes: [...outcomes, ...pending.outcomes.map(({ position: _, ...outcome }) => outcome)],
      defer: pending.deferred.map(rowOf),
      resume: pending.resumed.map(({ group, position }) => ({ group, position })),
      deadLetters: pending.deadLetters,
    };
    let written = false;
    try {
      // Without effects there is nothing to commit atomically with the checkpoint: it can wait for the next commit or a timer.
      if (!effectless) await this.#commit(commit);
      else if (moves) await this.#postpone(last);
      written = true;
      // Beside the log: without it, states are folded from all their events.
      if (snapshots.length > 0) await this.#options.store.writeSnapshots(snapshots).catch(() => {});
    } finally {
      if (effects) runner.settle(written);
    }
    if (effectless) return;
    this.#unwritten = undefined;
    for (const { stream, position } of pending.resumed) {
      this.#begun.delete(position);
      this.#running.delete(position);
      this.retryQueue.remove(stream, position);
    }
    for (const deferred of pending.deferred) {
      this.#begun.delete(deferred.position);
      this.#running.delete(deferred.position);
      this.retryQueue.put(deferred);
    }
    if (moves) this.#progress.moveTo(last);
    for (const event of pending.reports) report(event);
  }

  /** Advances the checkpoint without writing it yet. */
  async #postpone(position: number): Promise<void> {
    if (this.#unwritten === undefined) this.#flushAt = this.#options.clock.elapsed() + FLUSH_INTERVAL;
    this.#unwritten = position;
    this.#progress.moveTo(position);
    if (this.#careful > 0) {
      // After the next crash, the culprit must be among the first messages, which are tried alone.
      this.#careful--;
      await this.flush();
    }
  }

  /**
   * Writes a postponed checkpoint, and waits for it: handling that went on meanwhile would not hear that the lease is lost,
   * and what is written late could set the checkpoint of the next subscription back.
   */
  async flush(): Promise<void> {
    if (this.#unwritten === undefined) return;
    await this.#commit({ checkpoint: this.#progress.checkpoint(this.#unwritten) });
    this.#unwritten = undefined;
  }
}

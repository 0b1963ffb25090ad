import { NO_EFFECTS } from "../handling/batch.ts";
import type { BatchItem, BatchResult } from "../handling/executor.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { CONFLICT_BACKOFF, pauseBefore } from "../lib/retry.ts";
import { recoveryOf } from "../lib/annals_error.ts";
import { textOf } from "../messages/thrown.ts";
import { isConflict, RowConflictError, StatementError } from "../store/errors.ts";
import { WorkerEndedError } from "../handling/errors.ts";
import { HandlerStuckError, StoppedError } from "./errors.ts";
import type { Failures } from "./failures.ts";
import type { Checkpointer } from "./checkpointer.ts";
import type { Complete } from "./options.ts";
import type { Deferred } from "./retry_queue.ts";
import type { UnknownTypes } from "./unknown_types.ts";
import { PendingCommit } from "./pending_commit.ts";

/** A message to be handled in a batch. */
export interface Item {
  /** The stored message. */
  readonly record: MessageRecord;
  /** Its deferred row, if it was deferred. */
  readonly deferred?: Deferred;
}

/** How long a batch takes. */
interface Timing {
  readonly handled: () => void;
  readonly taken: () => { readonly handlingMs: number; readonly commitMs: number; readonly milliseconds: number };
}

/** The number of reruns of a command on fresh state within one attempt. */
const MOST_RERUNS = 10;

/** Hands messages to the handler and commits its effects: as one batch if possible, or else one by one. */
export class BatchWriter {
  #options: Complete;
  #checkpointer: Checkpointer;
  #failures: Failures;
  #unknown: UnknownTypes;

  /** Handles for one subscription. */
  constructor(options: Complete, checkpointer: Checkpointer, failures: Failures, unknown: UnknownTypes) {
    this.#unknown = unknown;
    this.#options = options;
    this.#checkpointer = checkpointer;
    this.#failures = failures;
  }

  /**
   * Handles items as one batch, or one by one if they conflict.
   *
   * @param items The messages.
   * @param commit What else to commit.
   * @param last The position reached once all are handled; none for deferred messages.
   * @param signal Asks it to stop.
   */
  async handle(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (items.length === 0) return await this.#checkpointer.write(commit, undefined, last);
    const { mutex, groupPartition: { group } } = this.#options;
    // Categories of one group share rows and the tracking of uncaught errors, so run one batch at a time.
    await mutex.run(async () => {
      if (signal.aborted || mutex.isClosed) throw new StoppedError(`${group} ends`);
      const counted = items.flatMap(({ deferred }) => deferred ? [deferred.position] : []);
      try {
        await this.#checkpointer.attempt(counted, () => this.#together(items, commit, last, signal));
      } catch (error) {
        // The subscription ends by it, and the worker may: nothing else is to begin there.
        if (recoveryOf(error) !== "wait") mutex.close();
        throw error;
      }
    });
  }

  async #together(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
    rerun = 1,
  ): Promise<void> {
    const timing = this.#timing();
    const batch = await this.#execute(items, signal);
    timing.handled();
    if (batch === "apart") return await this.#apart(items, commit, last, signal);
    let reached = last;
    const stuckAt = batch.stuck ? Math.max(...batch.failures.keys()) : items.length;
    const unreached = items[stuckAt + 1];
    if (unreached && last !== undefined) {
      // Messages after the stuck one were not started; the next subscription reads them again.
      reached = unreached.record.position - 1;
    }
    const written = commit.copyUpTo(reached ?? Infinity);
    let dead = 0;
    items.forEach(({ record, deferred }, i) => {
      const failure = batch.failures.get(i);
      if (failure) dead += Number(this.#failures.fail(record, deferred, failure, written));
      else if (batch.underWay?.has(i)) written.deferred.push(this.#failures.underWay(record, deferred));
      else if (batch.handled.includes(i)) deferred && written.resumed.push(deferred);
      else if (i < stuckAt && !deferred) written.deferred.push(this.#failures.waiting(record, false));
    });
    try {
      await this.#checkpointer.write(written, batch.effects, reached);
    } catch (error) {
      // Its worker has to be replaced all the same.
      if (batch.stuck && recoveryOf(error) === "wait") throw this.#stuck();
      if (!(isConflict(error) || error instanceof StatementError)) throw error;
      if (error instanceof RowConflictError) {
        // Another worker of the group was faster: one of them always is.
        await this.#pause(rerun, signal);
        return await this.#together(items, commit, last, signal, rerun + 1);
      }
      return await this.#apart(items, commit, last, signal);
    }
    this.#written(batch, dead, timing);
  }

  /** Measures how long handling takes, and the commit after it. */
  #timing(): Timing {
    const { elapsed } = this.#options.clock;
    const startedAt = elapsed();
    let handledAt = startedAt;
    return {
      handled: () => handledAt = elapsed(),
      taken: () => {
        const now = elapsed();
        return { handlingMs: handledAt - startedAt, commitMs: now - handledAt, milliseconds: now - startedAt };
      },
    };
  }

  /** Reports a batch that was written, and ends the subscription if a handler timed out. */
  #written({ handled, failures, effects, stuck }: BatchResult, dead: number, timing: Timing): void {
    const { groupPartition: { group, category, partition }, report } = this.#options;
    const refused = effects.outcomes.filter(({ status }) => status === "refused").length;
    const counts = { handled: handled.length, refused, failed: failures.size, dead };
    report({ type: "batch.handled", group, category, partition, ...counts, ...timing.taken() });
    if (stuck) throw this.#stuck();
  }

  #stuck(): HandlerStuckError {
    return new HandlerStuckError(`A handler of ${this.#options.groupPartition.group} did not finish in time`);
  }

  /** Handles items one by one, each in its own transaction, up to the last position. */
  async #apart(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const checkpointer = this.#checkpointer;
    const held = new Set<string>();
    for (const item of items) {
      const { record, deferred } = item;
      // It is behind a message that was deferred again, so it stays deferred.
      if (deferred && held.has(record.stream)) continue;
      const reached = deferred || last === undefined ? undefined : record.position;
      const own = reached === undefined ? new PendingCommit() : commit.takeUpTo(reached);
      if (!deferred && checkpointer.retryQueue.blocks(record.stream)) {
        own.deferred.push(this.#failures.waiting(record, false));
        await checkpointer.write(own, undefined, reached);
      } else await this.#alone(item, own, reached, signal);
      if (checkpointer.retryQueue.has(record.stream, record.position)) held.add(record.stream);
    }
    await checkpointer.write(commit, undefined, last);
  }

  /** Handles one item; after a write conflict, again on fresh state. */
  async #alone(item: Item, commit: PendingCommit, reached: number | undefined, signal: AbortSignal): Promise<void> {
    const { record, deferred } = item;
    for (let rerun = 1;; rerun++) {
      const timing = this.#timing();
      const batch = await this.#execute([item], signal);
      timing.handled();
      if (batch === "apart") throw new Error("A single message cannot be taken apart");
      // Use a copy, so that a failed attempt leaves nothing in the next one's commit.
      const own = commit.copyUpTo(Infinity);
      let dead = 0;
      const failure = batch.failures.get(0);
      if (failure) dead = Number(this.#failures.fail(record, deferred, failure, own));
      else if (batch.underWay?.has(0)) own.deferred.push(this.#failures.underWay(record, deferred));
      // What is neither handled nor failed must not be passed.
      else if (!batch.handled.includes(0)) throw new WorkerEndedError("Its worker answered without a result", false);
      else if (deferred) own.resumed.push(deferred);
      try {
        await this.#checkpointer.write(own, batch.effects, reached);
        return this.#written(batch, dead, timing);
      } catch (error) {
        const isStatement = error instanceof StatementError;
        if (!isStatement && !isConflict(error)) throw error;
        const isShared = error instanceof RowConflictError;
        if (isStatement || (rerun >= MOST_RERUNS && !isShared)) {
          const failure = { error: textOf(error), stack: null };
          dead = Number(this.#failures.fail(record, deferred, failure, commit));
          await this.#checkpointer.write(commit, undefined, reached);
          const failed = { handled: [], failures: new Map([[0, failure]]), effects: NO_EFFECTS, stuck: false };
          return this.#written(failed, dead, timing);
        }
        await this.#pause(rerun, signal);
      }
    }
  }

  async #pause(rerun: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    await clock.sleep(pauseBefore(rerun, CONFLICT_BACKOFF, clock.random()), signal);
  }

  async #execute(items: readonly Item[], signal: AbortSignal): Promise<BatchResult | "apart"> {
    const batch = items.map(({ record, deferred }): BatchItem => ({
      record,
      attempt: Math.max(1, deferred?.attempts ?? 1),
    }));
    const result = await this.#options.runner.run(batch, signal);
    if (result === "apart") return result;
    for (const [i, { awaits }] of result.failures) {
      if (awaits === undefined) continue;
      await this.#unknown.leaveToOthers([awaits], items[i].record.position).catch((error) => {
        this.#options.runner.settle(false);
        throw error;
      });
    }
    return result;
  }
}

import { setImmediate } from "node:timers";
import type { Message, MessageRecord } from "../messages/envelope.ts";
import { StatementError, WrongExpectedVersionError } from "../store/errors.ts";
import { HandlerStuckError } from "./errors.ts";
import { type Batch, runBatch } from "./execution.ts";
import type { Failures } from "./failures.ts";
import type { Ledger } from "./ledger.ts";
import type { Complete } from "./options.ts";
import type { Parked } from "./parking.ts";
import { PendingCommit } from "./pending_commit.ts";

/** A message on its way through a batch. */
export interface Item {
  /** The message as it is stored. */
  readonly record: MessageRecord;
  /** The message as the handler sees it. */
  readonly message: Message;
  /** The row it was set aside with, when it was. */
  readonly parked?: Parked;
}

/** How often a command is rerun on fresh state within one attempt. */
const MOST_RERUNS = 10;

/** Hands messages to the handler and writes what comes of it: as one batch when that goes well, else one by one. */
export class Handling {
  #options: Complete;
  #ledger: Ledger;
  #failures: Failures;

  /** Handles for one subscription. */
  constructor(options: Complete, ledger: Ledger, failures: Failures) {
    this.#options = options;
    this.#ledger = ledger;
    this.#failures = failures;
  }

  /**
   * Handles items as one batch; one by one when they get in each other's way.
   *
   * @param items The messages.
   * @param commit What is to be written beside.
   * @param last The position that is reached when all are through; none for what was set aside.
   * @param signal Asks it to stop.
   */
  async handle(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (items.length === 0) return await this.#ledger.write(commit, undefined, last);
    // Categories of one group share rows, and what a handler lets go: one batch at a time.
    await this.#options.turns.take(() => this.#together(items, commit, last, signal));
  }

  async #together(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const batch = await this.#execute(items, signal);
    if (batch === "apart") return await this.#apart(items, commit, last, signal);
    let reached = last;
    const stuckAt = batch.stuck ? Math.max(...batch.failures.keys()) : items.length;
    const unreached = items[stuckAt + 1];
    if (unreached && last !== undefined) {
      // What came behind the stuck one was not begun: whoever takes over reads it again.
      reached = unreached.record.position - 1;
    }
    const written = commit.copyUpTo(reached ?? Infinity);
    items.forEach(({ record, parked }, i) => {
      const failure = batch.failures.get(i);
      if (failure) this.#failures.fail(record, parked, failure.error, written);
      else if (batch.handled.includes(i)) parked && written.unparked.push(parked);
      else if (i < stuckAt && !parked) written.parked.push(this.#failures.waiting(record, false));
    });
    try {
      await this.#ledger.write(written, batch.reaction, reached);
    } catch (error) {
      if (!(error instanceof WrongExpectedVersionError || error instanceof StatementError)) throw error;
      return await this.#apart(items, commit, last, signal);
    }
    this.#stopIfStuck(batch);
  }

  /** Handles items one by one, each with a transaction of its own, up to the last position. */
  async #apart(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const ledger = this.#ledger;
    const held = new Set<string>();
    for (const item of items) {
      const { record, parked } = item;
      // Behind one that was set aside again: it stays where it is.
      if (parked && held.has(record.stream)) continue;
      const reached = parked || last === undefined ? undefined : record.position;
      const own = reached === undefined ? new PendingCommit() : commit.takeUpTo(reached);
      if (!parked && ledger.parking.blocks(record.stream)) {
        own.parked.push(this.#failures.waiting(record, false));
        await ledger.write(own, undefined, reached);
      } else await this.#alone(item, own, reached, signal);
      if (ledger.parking.has(record.stream, record.position)) held.add(record.stream);
    }
    await ledger.write(commit, undefined, last);
  }

  /** Handles one item; when somebody else wrote to the same stream first, again on fresh state. */
  async #alone(item: Item, commit: PendingCommit, reached: number | undefined, signal: AbortSignal): Promise<void> {
    const { record, parked } = item;
    for (let rerun = 1;; rerun++) {
      const batch = await this.#execute([item], signal);
      if (batch === "apart") throw new Error("A single message cannot be taken apart");
      // A copy: what becomes of an attempt that is made again must not be written with the next.
      const own = commit.copyUpTo(Infinity);
      const failure = batch.failures.get(0);
      if (failure) this.#failures.fail(record, parked, failure.error, own);
      else if (parked) own.unparked.push(parked);
      try {
        await this.#ledger.write(own, batch.reaction, reached);
        return this.#stopIfStuck(batch);
      } catch (error) {
        const isStatement = error instanceof StatementError;
        if (!isStatement && !(error instanceof WrongExpectedVersionError)) throw error;
        if (isStatement || rerun >= MOST_RERUNS) {
          this.#failures.fail(record, parked, error, commit);
          return await this.#ledger.write(commit, undefined, reached);
        }
        await this.#options.sleep(this.#options.random() * 2 ** Math.min(rerun, 6), signal);
      }
    }
  }

  #stopIfStuck(batch: Batch): void {
    if (batch.stuck) throw new HandlerStuckError(`A handler of ${this.#options.lane.group} did not come back in time`);
  }

  async #execute(items: readonly Item[], signal: AbortSignal): Promise<Batch | "apart"> {
    const { react, settings, log, execution } = this.#options;
    return await runBatch({
      reaction: react(),
      deliveries: items.map(({ message, parked }) => ({ message, attempt: Math.max(1, parked?.attempts ?? 1) })),
      timeout: settings.handlerTimeoutSeconds * 1000,
      execution,
      log,
      signal,
      turn: () => new Promise<void>((resolve) => setImmediate(() => resolve())),
    });
  }
}

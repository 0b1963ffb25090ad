import { setImmediate } from "node:timers";
import { BrokerUnavailableError } from "../broker/errors.ts";
import type { HandlerLog } from "../domain/context.ts";
import type { Reaction } from "../domain/reaction.ts";
import { decode, type MessageTypes } from "../messages/codec.ts";
import type { Message, MessageRecord } from "../messages/envelope.ts";
import { UndecodableMessageError } from "../messages/errors.ts";
import { newId } from "../messages/ids.ts";
import { StoreUnavailableError, WrongExpectedVersionError } from "../store/errors.ts";
import type { Commit, DeadLetter, EventStore, ParkedMessage } from "../store/port.ts";
import { type Batch, type Execution, type Failure, runBatch } from "./execution.ts";
import { type Lane, Progress } from "./lane.ts";
import { type Parked, Parking } from "./parking.ts";
import { retryDelay, type SubscriptionSettings } from "./settings.ts";
import type { Source } from "./source.ts";

/** A handler did not come back in time: whoever runs the subscription has to replace the worker. */
export class HandlerStuckError extends Error {
  /** Always `HandlerStuckError`. */
  override readonly name = "HandlerStuckError";
}

/** What a subscription is made of. */
export interface SubscriptionOptions {
  /** The store: checkpoints, parked messages, dead letters, effects. */
  readonly store: EventStore;
  /** Where messages come from. */
  readonly source: Source;
  /** Which group, category and partition. */
  readonly lane: Lane;
  /** How to feed it. */
  readonly settings: SubscriptionSettings;
  /** The message types that the code knows. */
  readonly types: MessageTypes;
  /** The types that the group handles; others are passed over. */
  readonly handles: ReadonlySet<string>;
  /** Starts the handling of a batch. */
  readonly react: () => Reaction;
  /** Where to log. */
  readonly log: HandlerLog;
  /** Whether a consumer before this one vanished: what may have been in its hands is tried one at a time. @default {false} */
  readonly suspicious?: boolean;
  /** How handlers are run and watched. @default {run directly} */
  readonly execution?: Partial<Execution>;
  /** Tells the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
  /** Random numbers from 0 to 1. @default {Math.random} */
  readonly random?: () => number;
  /** Waits. @default {setTimeout} */
  readonly sleep?: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

/** A message on its way through a batch. */
interface Item {
  readonly record: MessageRecord;
  readonly message: Message;
  /** The row it was set aside with, when it was. */
  readonly parked?: Parked;
}

/** How many messages a group may set aside before it stops reading on. */
const MOST_PARKED = 10_000;

/** How often to look for replayed dead letters, in milliseconds. */
const REPLAY_INTERVAL = 250;

/** How often a command is rerun on fresh state within one attempt. */
const MOST_RERUNS = 10;

/** The longest pause between tries to reach a store or broker that is away, in milliseconds. */
const LONGEST_PAUSE = 5_000;

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    if (signal?.aborted) done();
    else signal?.addEventListener("abort", done);
  });
}

function isAway(error: unknown): error is Error {
  return error instanceof BrokerUnavailableError || (error instanceof StoreUnavailableError && error.retryable);
}

/**
 * Feeds one group from one category: reads, handles, writes effects and checkpoint in one transaction, acknowledges.
 *
 * A message that fails is set aside in the store and tried again later; only later messages of its own stream wait for
 * it. One that goes on failing becomes a dead letter. Nothing is acknowledged before that is written.
 */
export class Subscription {
  #options: SubscriptionOptions;
  #execution: Execution;
  #now: () => number;
  #random: () => number;
  #sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  #parking = new Parking();
  #progress!: Progress;
  #suspicious: number;
  #nextReplayCheck = 0;
  #away = false;

  /**
   * Makes a subscription that does not run yet.
   *
   * @param options What it is made of.
   */
  constructor(options: SubscriptionOptions) {
    this.#options = options;
    this.#execution = { guard: (work) => work(), takeStray: () => undefined, started: () => {}, ...options.execution };
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#sleep = options.sleep ?? sleep;
    this.#suspicious = options.suspicious ? options.settings.messagesPerTick : 0;
  }

  /** Everything up to here is done, or parked. */
  get position(): number {
    return this.#progress?.position ?? 0;
  }

  /**
   * Runs until aborted: finishes the batch in hand, then returns.
   *
   * @param signal Asks it to stop.
   * @throws {FencedError} When another has taken over the lane.
   * @throws {HandlerStuckError} When a handler did not come back: its message is counted, the worker must be replaced.
   */
  async run(signal: AbortSignal): Promise<void> {
    await this.#patiently(() => this.#open(), signal);
    while (!signal.aborted) await this.#patiently(() => this.#turn(signal), signal);
  }

  /**
   * Works until everything up to a position is handled, or parked.
   *
   * @param position The position to reach.
   * @param signal Asks it to stop.
   */
  async runUntil(position: number, signal: AbortSignal): Promise<void> {
    await this.#open();
    while (!signal.aborted) {
      const before = this.#progress.position;
      if (before >= position) return;
      await this.#turn(signal, 0);
      if (this.#progress.position === before && this.#parking.due(this.#now(), 1).length === 0) return;
    }
  }

  async #open(): Promise<void> {
    const { store, lane, source, suspicious = false } = this.#options;
    this.#progress = new Progress(lane, await store.checkpoints(lane.group));
    this.#parking = new Parking();
    for (const parked of await store.parked(lane.group)) this.#adopt(parked, suspicious);
    await source.open(this.#progress.position);
  }

  #adopt(parked: ParkedMessage, suspect: boolean): void {
    const { category, partition, partitions } = this.#options.lane;
    if (parked.category !== category) return;
    if (
      partitions > 1 &&
      new Progress({ ...this.#options.lane, partition, partitions }, []).wants(asRecord(parked)) === false
    ) {
      return;
    }
    if (!this.#parking.has(parked.stream, parked.position)) this.#parking.put({ ...parked, suspect });
  }

  /** One read or one retry. */
  async #turn(signal: AbortSignal, wait = this.#options.settings.blockingTimeoutMs): Promise<void> {
    const { source, settings } = this.#options;
    await this.#pickUpReplays();
    const due = this.#parking.due(this.#now(), settings.messagesPerTick);
    if (due.length > 0) return await this.#retry(due, signal);
    const pause = Math.min(wait, this.#parking.nextDue() - this.#now());
    if (this.#parking.size >= MOST_PARKED) return await this.#sleep(Math.max(1, pause), signal);
    const records = await source.next(settings.messagesPerTick, Math.max(0, pause), signal);
    this.#present();
    if (records.length > 0) {
      await this.#take(records, signal);
      await source.done(records);
    }
  }

  /** Runs something that needs store and broker; when one is away, waits and goes on where the checkpoint is. */
  async #patiently(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (let tries = 0;; tries++) {
      try {
        if (tries > 0) await this.#open();
        if (tries === 0 || work !== undefined) return await work();
      } catch (error) {
        if (!isAway(error) || signal.aborted) throw error;
        if (!this.#away) this.#options.log.warn(`${error.message}; waiting for it to come back`);
        this.#away = true;
        await this.#sleep(Math.min(LONGEST_PAUSE, 50 * 2 ** Math.min(tries, 10)) * (0.5 + this.#random() / 2), signal);
        if (signal.aborted) return;
      }
    }
  }

  #present(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#options.log.info("It is back; going on");
  }

  async #pickUpReplays(): Promise<void> {
    const { store, lane } = this.#options;
    if (this.#now() < this.#nextReplayCheck) return;
    this.#nextReplayCheck = this.#now() + REPLAY_INTERVAL;
    for (const parked of await store.parked(lane.group, { replayedOnly: true, limit: 1000 })) {
      this.#adopt(parked, false);
    }
  }

  /** Handles messages that were just read. */
  async #take(records: readonly MessageRecord[], signal: AbortSignal): Promise<void> {
    const last = records[records.length - 1].position;
    const commit = new PendingCommit();
    const items: Item[] = [];
    const waiting = new Set<string>();
    for (const record of records) {
      if (!this.#progress.wants(record) || !this.#options.handles.has(record.type)) continue;
      if (this.#parking.blocks(record.stream) || waiting.has(record.stream) || this.#suspicious > 0) {
        if (this.#suspicious > 0) this.#suspicious--;
        waiting.add(record.stream);
        const suspect = !this.#parking.blocks(record.stream) || this.#options.suspicious === true;
        commit.park({ ...this.#parkedRow(record), attempts: 0, dueAt: 0, failures: [], replayed: false, suspect });
        continue;
      }
      const message = this.#decode(record, commit);
      if (message) items.push({ record, message });
    }
    await this.#handle(items, commit, last, signal);
  }

  /** Tries messages again that were set aside. */
  async #retry(due: readonly Parked[], signal: AbortSignal): Promise<void> {
    const commit = new PendingCommit();
    const items: Item[] = [];
    for (let parked of due) {
      if (parked.attempts > 0 || parked.suspect) {
        const counted = await this.#countAttempt(parked);
        if (!counted) return;
        parked = counted;
      }
      const [record] = await this.#options.store.readLog({
        after: parked.position - 1,
        upTo: parked.position,
        limit: 1,
      });
      if (!record) {
        commit.unpark(parked);
        continue;
      }
      const message = this.#decode(record, commit, parked);
      if (message) items.push({ record, message, parked });
    }
    await this.#handle(items, commit, undefined, signal);
  }

  /** Writes down that an attempt begins, so that it counts even when nobody lives to tell how it ended. */
  async #countAttempt(parked: Parked): Promise<Parked | null> {
    const { store, lane: { fence }, settings } = this.#options;
    const failures = [...parked.failures];
    while (failures.length < parked.attempts) {
      failures.push({ at: this.#now(), error: "The worker ended while it handled this message" });
    }
    const counted: Parked = { ...parked, failures, attempts: parked.attempts + 1, suspect: false, replayed: false };
    if (counted.attempts > this.#retries(settings) + 1) {
      const [record] = await store.readLog({ after: parked.position - 1, upTo: parked.position, limit: 1 });
      const commit = new PendingCommit();
      const error = failures.at(-1)?.error ?? "";
      if (record) {
        this.#giveUp(record, commit, { ...counted, attempts: parked.attempts }, {
          reason: "handler failed",
          error,
          stack: null,
        });
      } else commit.unpark(parked);
      await this.#write(commit, undefined, undefined);
      return null;
    }
    const { suspect: _, ...row } = counted;
    await store.commit({ ...(fence && { fence }), park: [row] });
    this.#parking.put({ ...counted, suspect: true });
    return counted;
  }

  #retries(settings: SubscriptionSettings): number {
    return settings.maxRetries;
  }

  #parkedRow(
    { category, stream, position }: MessageRecord,
  ): Pick<ParkedMessage, "group" | "category" | "stream" | "position"> {
    return { group: this.#options.lane.group, category, stream, position };
  }

  #decode(record: MessageRecord, commit: PendingCommit, parked?: Parked): Message | undefined {
    try {
      return decode(record, this.#options.types);
    } catch (error) {
      if (!(error instanceof UndecodableMessageError)) throw error;
      // Trying again would not help: the code has to change first.
      const attempts = parked ?? { attempts: 1, failures: [{ at: this.#now(), error: error.message }] };
      this.#giveUp(record, commit, attempts, { reason: error.reason, error: error.message, stack: null });
    }
  }

  #giveUp(
    record: MessageRecord,
    commit: PendingCommit,
    { attempts, failures }: Pick<ParkedMessage, "attempts" | "failures">,
    { reason, error, stack }: Pick<DeadLetter, "reason" | "error" | "stack">,
  ): void {
    const { lane: { group }, log, settings } = this.#options;
    const fields = { position: record.position, type: record.type, stream: record.stream, attempts };
    commit.unpark({ group, position: record.position, stream: record.stream });
    if (record.category.endsWith(":command")) {
      commit.outcomes.push({
        commandId: record.id,
        status: "failed",
        detail: JSON.stringify({ message: error, reason }),
      });
    }
    if (!settings.enableDlq) {
      log.error(`Gave up on ${record.type} at ${record.position} and passed over it: ${error}`, fields);
      return;
    }
    const id = newId();
    commit.deadLetters.push({
      id,
      group,
      message: record,
      reason,
      error,
      stack,
      attempts: failures,
      deadAt: this.#now(),
    });
    log.error(`Gave up on ${record.type} at ${record.position}, kept as dead letter ${id}: ${error}`, fields);
  }

  /** Handles items as one batch; one by one when they get in each other's way. */
  async #handle(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (items.length === 0) return await this.#write(commit, undefined, last);
    const batch = await this.#execute(items, signal);
    if (batch === "apart" && items.length > 1) {
      // What belongs to no item goes first; the checkpoint may not pass what is not handled yet.
      await this.#write(commit, undefined, undefined);
      for (const item of items) {
        await this.#handle(
          [item],
          new PendingCommit(),
          item.parked || last === undefined ? undefined : item.record.position,
          signal,
        );
      }
      return last === undefined ? undefined : await this.#write(new PendingCommit(), undefined, last);
    }
    const ran = batch as Batch;
    ran.failures.forEach((failure, i) => this.#fail(items[i], failure, commit));
    let reached = last;
    ran.handled.forEach((item) => items[item].parked && commit.unpark(items[item].parked!));
    const missed = items.filter((_, i) => !ran.handled.includes(i) && !ran.failures.has(i));
    for (const { record, parked } of missed) {
      if (ran.stuck) reached = reached === undefined ? undefined : Math.min(reached, record.position - 1);
      else if (!parked) {
        commit.park({
          ...this.#parkedRow(record),
          attempts: 0,
          dueAt: 0,
          failures: [],
          replayed: false,
          suspect: false,
        });
      }
    }
    if (ran.stuck && reached !== undefined) commit.dropParkedBehind(reached);
    const written = await this.#write(commit, ran.reaction, reached).then(() => true, (error) => {
      if (error instanceof WrongExpectedVersionError) return false;
      throw error;
    });
    if (!written) return await this.#rerun(items, last, signal);
    if (ran.stuck) throw new HandlerStuckError(`A handler of ${this.#options.lane.group} did not come back in time`);
  }

  /** Somebody else wrote to the same stream first: each message once more, alone, on fresh state. */
  async #rerun(items: readonly Item[], last: number | undefined, signal: AbortSignal): Promise<void> {
    for (const item of items) {
      for (let rerun = 1;; rerun++) {
        const batch = await this.#execute([item], signal);
        const commit = new PendingCommit();
        if (batch === "apart") throw new Error("A single message cannot be taken apart");
        batch.failures.forEach((failure) => this.#fail(item, failure, commit));
        if (item.parked && batch.handled.length > 0) commit.unpark(item.parked);
        const reached = item.parked || last === undefined ? undefined : item.record.position;
        try {
          await this.#write(commit, batch.reaction, reached);
          if (batch.stuck) {
            throw new HandlerStuckError(`A handler of ${this.#options.lane.group} did not come back in time`);
          }
          break;
        } catch (error) {
          if (!(error instanceof WrongExpectedVersionError)) throw error;
          if (rerun >= MOST_RERUNS) {
            const failed = new PendingCommit();
            this.#fail(item, { error }, failed);
            await this.#write(failed, undefined, reached);
            break;
          }
          await this.#sleep(this.#random() * 2 ** Math.min(rerun, 6), signal);
        }
      }
    }
    if (last !== undefined) await this.#write(new PendingCommit(), undefined, last);
  }

  async #execute(items: readonly Item[], signal: AbortSignal): Promise<Batch | "apart"> {
    const { react, settings, log } = this.#options;
    return await runBatch({
      reaction: react(),
      deliveries: items.map(({ message, parked }) => ({ message, attempt: Math.max(1, parked?.attempts ?? 1) })),
      timeout: settings.handlerTimeoutSeconds * 1000,
      execution: this.#execution,
      log,
      signal,
      turn: () => new Promise<void>((resolve) => setImmediate(() => resolve())),
    });
  }

  #fail({ record, parked }: Item, { error }: Failure, commit: PendingCommit): void {
    const { settings, log } = this.#options;
    const text = error instanceof Error
      ? `${error.name === "Error" ? "" : `${error.name}: `}${error.message}`
      : String(error);
    const stack = error instanceof Error ? error.stack ?? null : null;
    const attempt = Math.max(1, parked?.attempts ?? 1);
    const failures = [...parked?.failures ?? [], { at: this.#now(), error: text }];
    if (attempt > this.#retries(settings)) {
      this.#giveUp(record, commit, { attempts: attempt, failures }, { reason: "handler failed", error: text, stack });
      return;
    }
    const delay = retryDelay(settings, attempt, this.#random());
    commit.park({
      ...this.#parkedRow(record),
      attempts: attempt,
      dueAt: Math.round(this.#now() + delay),
      failures,
      replayed: false,
      suspect: false,
    });
    log.warn(
      `${record.type} at ${record.position} failed (attempt ${attempt} of ${settings.maxRetries + 1}), again in ${
        (delay / 1000).toFixed(1)
      } s: ${text}`,
      { position: record.position, type: record.type, stream: record.stream },
    );
  }

  /** Writes effects, parked messages, dead letters and the checkpoint in one transaction. */
  async #write(pending: PendingCommit, reaction: Reaction | undefined, last: number | undefined): Promise<void> {
    const { store, lane: { fence } } = this.#options;
    const { appends = [], rows = [], outcomes = [] } = reaction?.effects() ?? {};
    const moves = last !== undefined && last > this.#progress.position;
    const nothing = !moves && pending.empty && appends.length + rows.length + outcomes.length === 0;
    if (nothing) return reaction?.settle(true);
    const commit: Commit = {
      ...(fence && { fence }),
      ...(moves && { checkpoint: this.#progress.checkpoint(last) }),
      appends,
      rows,
      outcomes: [...outcomes, ...pending.outcomes],
      park: pending.parked.map(({ suspect: _, ...row }) => row),
      unpark: pending.unparked,
      deadLetters: pending.deadLetters,
    };
    try {
      await store.commit(commit);
    } catch (error) {
      reaction?.settle(false);
      throw error;
    }
    reaction?.settle(true);
    for (const { stream, position } of pending.unparked) this.#parking.remove(stream, position);
    for (const parked of pending.parked) this.#parking.put(parked);
    if (moves) this.#progress.moveTo(last);
  }
}

function asRecord({ stream, position }: ParkedMessage): MessageRecord {
  return { stream, position } as MessageRecord;
}

/** What is to be written beside the effects. */
class PendingCommit {
  readonly parked: Parked[] = [];
  readonly unparked: { group: string; position: number; stream: string }[] = [];
  readonly deadLetters: DeadLetter[] = [];
  readonly outcomes: { commandId: string; status: "failed"; detail: string }[] = [];

  get empty(): boolean {
    return this.parked.length + this.unparked.length + this.deadLetters.length + this.outcomes.length === 0;
  }

  park(parked: Parked): void {
    this.parked.push(parked);
  }

  unpark({ group, position, stream }: { group: string; position: number; stream: string }): void {
    this.unparked.push({ group, position, stream });
  }

  /** Forgets what was to be set aside behind a position that will not be passed. */
  dropParkedBehind(position: number): void {
    const kept = this.parked.filter((parked) => parked.position <= position || parked.attempts > 0);
    this.parked.splice(0, this.parked.length, ...kept);
  }
}

import { setImmediate } from "node:timers";
import { sleep } from "../async/sleep.ts";
import { Turns } from "../async/turns.ts";
import { BrokerUnavailableError } from "../broker/errors.ts";
import type { HandlerLog } from "../domain/context.ts";
import type { Reaction } from "../domain/reaction.ts";
import { decode, type MessageTypes } from "../messages/codec.ts";
import type { Message, MessageRecord } from "../messages/envelope.ts";
import { UndecodableMessageError } from "../messages/errors.ts";
import { newId, partitionOf } from "../messages/ids.ts";
import { StatementError, StoreUnavailableError, WrongExpectedVersionError } from "../store/errors.ts";
import type { Commit, DeadLetter, EventStore, ParkedMessage } from "../store/port.ts";
import { type Batch, type Execution, type Failure, runBatch } from "./execution.ts";
import { type Lane, Progress } from "./lane.ts";
import { type Parked, Parking } from "./parking.ts";
import { PendingCommit } from "./pending_commit.ts";
import { retryDelay, type SubscriptionSettings } from "./settings.ts";
import type { Source } from "./source.ts";

/** A handler did not come back in time: whoever runs the subscription has to replace the worker. */
export class HandlerStuckError extends Error {
  /** Always `HandlerStuckError`. */
  override readonly name = "HandlerStuckError";
}

/** There are messages of a type that this code does not know, and another process that takes part does. */
export class UnknownTypeError extends Error {
  /** Always `UnknownTypeError`. */
  override readonly name = "UnknownTypeError";

  /**
   * Makes the error.
   *
   * @param message Who leaves what to whom.
   * @param type The type.
   */
  constructor(message: string, readonly type: string) {
    super(message);
  }
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
  /** Says in words what a handler threw. @default {its name and message} */
  readonly explain?: (error: unknown) => string;
  /** Whether what handlers append goes through the outbox. @default {true} */
  readonly outbox?: boolean;
  /** The process that runs this, among those that take part. @default {none} */
  readonly owner?: string;
  /** Shared by the subscriptions of one group: whose turn it is to handle a batch. @default {only its own} */
  readonly turns?: Turns;
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

/** What is known of an attempt that nobody lived to tell of. */
const ENDED =
  "The worker ended while it handled this message: it was killed, ran out of memory, or looped after an await";

/** How long a step of the checkpoint that nothing has to agree with may wait to be written, in milliseconds. */
const FLUSH_INTERVAL = 50;

/** After a death, so many batches have their checkpoint written at once: more than fit into that interval. */
const CAREFUL = 500;

/** The longest that an idle group waits for messages in one read, in milliseconds. */
const LONGEST_READ = 2_000;

/** The longest pause between tries to reach a store or broker that is away, in milliseconds. */
const LONGEST_PAUSE = 5_000;

function isAway(error: unknown): error is Error {
  return error instanceof BrokerUnavailableError || (error instanceof StoreUnavailableError && error.retryable);
}

/** Whether nobody knows if what was to be written is written, or will be. */
function isUnsure(error: unknown): boolean {
  return error instanceof StoreUnavailableError && error.reason === "unsure";
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Of user code: a message need not be a text.
  return error.name === "Error" ? String(error.message) : `${error.name}: ${error.message}`;
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
  /** How many batches still have their checkpoint written at once. */
  #careful: number;
  #nextReplayCheck = 0;
  #away = false;
  /** A step of the checkpoint that is still to be written, and when. */
  #deferred: number | undefined;
  #flushAt = 0;
  /** How many reads in a row found nothing. */
  #idle = 0;
  /** Types of which it was said that nobody knows them. */
  #passedOver = new Set<string>();

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
    this.#careful = options.suspicious ? CAREFUL : 0;
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
    while (!signal.aborted) await this.#patiently(async () => void await this.#turn(signal), signal);
    await this.#flush();
    await this.#options.source.close();
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
      if (this.#progress.position >= position && this.#parking.due(this.#now(), 1).length === 0) break;
      if (!await this.#turn(signal, 0)) break;
    }
    await this.#flush();
    await this.#options.source.close();
  }

  async #open(): Promise<void> {
    const { store, lane, source, suspicious = false } = this.#options;
    this.#deferred = undefined;
    this.#progress = new Progress(lane, await store.checkpoints(lane.group));
    this.#parking = new Parking();
    for (const parked of await store.parked(lane.group)) this.#adopt(parked, suspicious);
    await source.open(this.#progress.position);
  }

  #adopt(parked: ParkedMessage, suspect: boolean): void {
    const { category, partition, partitions } = this.#options.lane;
    if (parked.category !== category || partitionOf(parked.stream, partitions) !== partition) return;
    if (!this.#parking.has(parked.stream, parked.position)) this.#parking.put({ ...parked, suspect });
  }

  /** One read or one retry; returns whether there was anything to do. */
  async #turn(signal: AbortSignal, wait = this.#options.settings.blockingTimeoutMs): Promise<boolean> {
    const { source, settings } = this.#options;
    await this.#pickUpReplays();
    const due = this.#parking.due(this.#now(), settings.messagesPerTick);
    if (due.length > 0) {
      await this.#retry(due, signal);
      return true;
    }
    // A read ends as soon as something comes: who has long had nothing to do need not look so often whether it has.
    const patience = Math.min(wait * (1 + this.#idle), Math.max(wait, LONGEST_READ));
    const late = this.#deferred === undefined ? Infinity : Math.max(0, this.#flushAt - performance.now());
    if (late === 0) await this.#flush();
    const pause = Math.min(patience, this.#parking.nextDue() - this.#now(), late === 0 ? Infinity : late);
    if (this.#parking.size >= MOST_PARKED) {
      await this.#sleep(Math.max(1, pause), signal);
      return false;
    }
    const records = await source.next(settings.messagesPerTick, Math.max(0, pause), signal);
    this.#present();
    this.#idle = records.length > 0 ? 0 : this.#idle + 1;
    if (records.length > 0) {
      const known = records.findIndex((record) => !this.#options.types.has(record.type));
      const first = known < 0 ? records : records.slice(0, known);
      if (first.length > 0) await this.#take(first, signal);
      await source.done(first);
      if (known >= 0) {
        const rest = records.slice(known);
        await this.#leaveToOthers(rest);
        await this.#take(rest, signal);
        await source.done(rest);
      }
    }
    return records.length > 0;
  }

  /**
   * In the middle of a deploy there are types that older code does not know: its successor may handle what this one
   * would pass over.
   */
  async #leaveToOthers(records: readonly MessageRecord[]): Promise<void> {
    const { store, types, owner, log, lane: { group } } = this.#options;
    const unknown = new Set(records.map((record) => record.type).filter((type) => !types.has(type)));
    const members = owner === undefined ? [] : await store.members();
    for (const type of unknown) {
      if (members.some((member) => member.owner !== owner && member.types.includes(type))) {
        await this.#flush();
        throw new UnknownTypeError(
          `${group} leaves "${type}" at ${records[0].position} to a process whose code knows it`,
          type,
        );
      }
      if (this.#passedOver.has(type)) continue;
      this.#passedOver.add(type);
      log.warn(`No code that runs now knows "${type}" (at ${records[0].position}); it is passed over`, { type });
    }
  }

  /** Runs something that needs store and broker; when one is away, waits and goes on where the checkpoint is. */
  async #patiently(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (let tries = 0;; tries++) {
      try {
        if (tries > 0) await this.#open();
        return await work();
      } catch (error) {
        // A commit that may still come through must find its lease taken: whoever runs us takes a new one.
        if (!isAway(error) || signal.aborted || isUnsure(error)) throw error;
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
      if (this.#parking.has(record.stream, record.position)) continue;
      const suspect = this.#suspicious > 0;
      if (suspect) this.#suspicious--;
      if (suspect || waiting.has(record.stream) || this.#parking.blocks(record.stream)) {
        waiting.add(record.stream);
        commit.parked.push(this.#waiting(record, suspect));
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
        commit.unparked.push(parked);
        continue;
      }
      if (!this.#options.types.has(record.type)) await this.#leaveToOthers([record]);
      else if (!this.#options.handles.has(record.type)) {
        // The code was changed since: the group has no use for it any more.
        commit.unparked.push(parked);
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
      failures.push({ at: this.#now(), error: ENDED });
    }
    const counted: Parked = { ...parked, failures, attempts: parked.attempts + 1, suspect: false, replayed: false };
    if (counted.attempts > settings.maxRetries + 1) {
      const [record] = await store.readLog({ after: parked.position - 1, upTo: parked.position, limit: 1 });
      const commit = new PendingCommit();
      const error = failures.at(-1)?.error ?? "";
      if (record) {
        this.#giveUp(record, commit, { ...counted, attempts: parked.attempts }, {
          reason: "handler failed",
          error,
          stack: null,
        });
      } else commit.unparked.push(parked);
      await this.#write(commit, undefined, undefined);
      return null;
    }
    const { suspect: _, ...row } = counted;
    await store.commit({ ...(fence && { fence }), park: [row] });
    this.#parking.put({ ...counted, suspect: true });
    return counted;
  }

  /** The row of a message that has to wait, or to be tried alone, and was not tried yet. */
  #waiting({ category, stream, position }: MessageRecord, suspect: boolean): Parked {
    const { group } = this.#options.lane;
    return { group, category, stream, position, attempts: 0, dueAt: 0, failures: [], replayed: false, suspect };
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
    commit.unparked.push({ group, position: record.position, stream: record.stream });
    if (record.category.endsWith(":command")) {
      const detail = JSON.stringify({ message: error, reason });
      commit.outcomes.push({ commandId: record.id, status: "failed", detail, position: record.position });
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
    // Categories of one group share rows, and what a handler lets go: one batch at a time.
    const { turns = new Turns() } = this.#options;
    await turns.take(() => this.#handleInTurn(items, commit, last, signal));
  }

  async #handleInTurn(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const batch = await this.#execute(items, signal);
    if (batch === "apart") return await this.#handleApart(items, commit, last, signal);
    let reached = last;
    const stuckAt = batch.stuck ? Math.max(...batch.failures.keys()) : items.length;
    const unreached = items[stuckAt + 1];
    if (unreached && last !== undefined) {
      // What came behind the stuck one was not begun: whoever takes over reads it again.
      reached = unreached.record.position - 1;
    }
    const written = commit.copyUpTo(reached ?? Infinity);
    items.forEach((item, i) => {
      const failure = batch.failures.get(i);
      if (failure) this.#fail(item, failure, written);
      else if (batch.handled.includes(i)) item.parked && written.unparked.push(item.parked);
      else if (i < stuckAt && !item.parked) written.parked.push(this.#waiting(item.record, false));
    });
    try {
      await this.#write(written, batch.reaction, reached);
    } catch (error) {
      if (!(error instanceof WrongExpectedVersionError || error instanceof StatementError)) throw error;
      return await this.#handleApart(items, commit, last, signal);
    }
    if (batch.stuck) throw new HandlerStuckError(`A handler of ${this.#options.lane.group} did not come back in time`);
  }

  /** Handles items one by one, each with a transaction of its own, up to the last position. */
  async #handleApart(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const held = new Set<string>();
    for (const item of items) {
      const { record, parked } = item;
      // Behind one that was set aside again: it stays where it is.
      if (parked && held.has(record.stream)) continue;
      const reached = parked || last === undefined ? undefined : record.position;
      const own = reached === undefined ? new PendingCommit() : commit.takeUpTo(reached);
      const waits = !parked && this.#parking.blocks(record.stream);
      if (waits) {
        own.parked.push(this.#waiting(record, false));
        await this.#write(own, undefined, reached);
      } else await this.#handleAlone(item, own, reached, signal);
      if (this.#parking.has(record.stream, record.position)) held.add(record.stream);
    }
    await this.#write(commit, undefined, last);
  }

  /** Handles one item; when somebody else wrote to the same stream first, again on fresh state. */
  async #handleAlone(
    item: Item,
    commit: PendingCommit,
    reached: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    for (let rerun = 1;; rerun++) {
      const batch = await this.#execute([item], signal);
      if (batch === "apart") throw new Error("A single message cannot be taken apart");
      // A copy: what becomes of an attempt that is made again must not be written with the next.
      const own = commit.copyUpTo(Infinity);
      const failure = batch.failures.get(0);
      if (failure) this.#fail(item, failure, own);
      else if (item.parked) own.unparked.push(item.parked);
      try {
        await this.#write(own, batch.reaction, reached);
        if (batch.stuck) {
          throw new HandlerStuckError(`A handler of ${this.#options.lane.group} did not come back in time`);
        }
        return;
      } catch (error) {
        const isStatement = error instanceof StatementError;
        if (!isStatement && !(error instanceof WrongExpectedVersionError)) throw error;
        if (isStatement || rerun >= MOST_RERUNS) {
          this.#fail(item, { error }, commit);
          return await this.#write(commit, undefined, reached);
        }
        await this.#sleep(this.#random() * 2 ** Math.min(rerun, 6), signal);
      }
    }
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
    const { settings, log, explain = describe } = this.#options;
    const text = String(explain(error));
    const stack = error instanceof Error && typeof error.stack === "string" ? error.stack : null;
    const attempt = Math.max(1, parked?.attempts ?? 1);
    const failures = [...parked?.failures ?? [], { at: this.#now(), error: text }];
    if (attempt > settings.maxRetries) {
      this.#giveUp(record, commit, { attempts: attempt, failures }, { reason: "handler failed", error: text, stack });
      return;
    }
    const delay = retryDelay(settings, attempt, this.#random());
    const dueAt = Math.round(this.#now() + delay);
    commit.parked.push({ ...this.#waiting(record, false), attempts: attempt, dueAt, failures });
    log.warn(
      `${record.type} at ${record.position} failed (attempt ${attempt} of ${settings.maxRetries + 1}), again in ${
        (delay / 1000).toFixed(1)
      } s: ${text}`,
      { position: record.position, type: record.type, stream: record.stream },
    );
  }

  /** Writes effects, parked messages, dead letters and the checkpoint in one transaction. */
  async #write(pending: PendingCommit, reaction: Reaction | undefined, last: number | undefined): Promise<void> {
    const { store, lane: { fence }, outbox = true } = this.#options;
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
    for (const { stream, position } of pending.unparked) this.#parking.remove(stream, position);
    for (const parked of pending.parked) this.#parking.put(parked);
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
      await this.#flush();
    }
  }

  /** Writes the checkpoint that was put off. */
  async #flush(): Promise<void> {
    if (this.#deferred === undefined) return;
    const { store, lane: { fence } } = this.#options;
    const checkpoint = this.#progress.checkpoint(this.#deferred);
    await store.commit({ ...(fence && { fence }), checkpoint });
    this.#deferred = undefined;
  }
}

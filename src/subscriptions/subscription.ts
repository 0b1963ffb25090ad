import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import { retry } from "../lib/retry.ts";
import { knows, versionName } from "../messages/known_types.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { StoreUnavailableError } from "../store/errors.ts";
import { inParts, isLeftOut, LARGE, MOST_CHARACTERS } from "../store/large.ts";
import { StoppedError } from "./errors.ts";
import { attemptsOf } from "../groups/settings.ts";
import { UnknownTypes } from "./unknown_types.ts";
import { Failures } from "./failures.ts";
import { BatchWriter, type Item } from "./batch_writer.ts";
import { Checkpointer } from "./checkpointer.ts";
import { type Complete, complete, type SubscriptionOptions, type Turns } from "./options.ts";
import { type Deferred, isTriedAgain } from "./retry_queue.ts";
import { PendingCommit } from "./pending_commit.ts";

/** Polling interval for replayed dead letters, in milliseconds. */
const REPLAY_INTERVAL = 250;

/** After so many batches that were as large as they may be, larger ones are tried: each that fails can take a whole timeout. */
const FULL = 10;

/** The longest wait of an idle group in one read, in milliseconds. */
const LONGEST_READ = 2_000;

/** Awaits all, also when one fails: nothing of the others happens later. */
async function allSettled<T>(all: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(all);
  return await Promise.all(all);
}

/**
 * Feeds a group from one category: reads, handles, commits effects and checkpoint in one transaction, acknowledges.
 *
 * A failed message is deferred in the store and retried later; only later messages of its stream wait for it. After the
 * last retry it becomes a dead letter. Messages are acknowledged only after the commit.
 */
export class Subscription {
  #options: Complete;
  #checkpointer: Checkpointer;
  #failures: Failures;
  #writer: BatchWriter;
  #unknown: UnknownTypes;
  /** How many messages are still to be tried alone. */
  #quarantined: number;
  #nextReplayCheck = 0;
  #away = false;
  /** Whether it has as many deferred messages as it may have. */
  #isFull = false;
  /** What was done last. */
  #turns: Turns;
  /** How many messages may be handled together: fewer while their effects could not be written. */
  #most: number;
  /** How many batches of that size were written in a row. */
  #full = 0;
  /** How many reads in a row found nothing. */
  #idle = 0;
  /** What follows, read while a batch is handled. */
  #ahead: Promise<MessageRecord[]> | undefined;

  /**
   * Creates a subscription; `run()` starts it.
   *
   * @param options Its dependencies.
   */
  constructor(options: SubscriptionOptions) {
    this.#options = complete(options);
    this.#checkpointer = new Checkpointer(this.#options);
    this.#failures = new Failures(this.#options);
    this.#unknown = new UnknownTypes(this.#options, this.#checkpointer);
    this.#writer = new BatchWriter(this.#options, this.#checkpointer, this.#failures, this.#unknown);
    this.#turns = this.#options.turns(options.groupPartition.category);
    this.#most = Math.min(options.most ?? Infinity, options.settings.messagesPerTick);
    this.#quarantined = options.quarantined ? options.settings.messagesPerTick : 0;
  }

  /** The checkpoint: everything up to here is handled or deferred. */
  get position(): number {
    return this.#checkpointer.position;
  }

  /** Whether a commit whose answer was lost may still succeed: whoever goes on needs another fencing token. */
  get mayStillCommit(): boolean {
    return this.#checkpointer.mayStillCommit;
  }

  /** How many messages may be handled together, after what could be written last. */
  get most(): number {
    return this.#most;
  }

  /** Whether a worker has ended by one message, whose attempt was counted. */
  get isCharged(): boolean {
    return this.#checkpointer.isCharged;
  }

  /** Whether there may still be something of its first messages that ends a worker: the crash before it is not dealt with. */
  get isQuarantined(): boolean {
    return this.#quarantined > 0 || this.#checkpointer.isQuarantined;
  }

  /**
   * Runs until aborted, then finishes the in-flight batch and returns.
   *
   * @param signal Asks it to stop.
   * @throws {FencedError} If another process has taken over the partition.
   * @throws {HandlerStuckError} If a handler timed out: the attempt is counted, and the worker must be replaced.
   */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#patiently(() => this.#open(), signal);
      while (!signal.aborted) await this.#patiently(async () => void await this.#turn(signal), signal);
    } finally {
      await this.#forgetAhead();
    }
    await this.#patiently(async () => {
      await this.#checkpointer.flush();
      await this.#checkpointer.forgive();
      await this.#options.source.close();
    }, signal);
  }

  /**
   * Runs until everything up to a position is handled or deferred.
   *
   * @param position The position to reach.
   * @param signal Asks it to stop.
   */
  async runUntil(position: number, signal: AbortSignal): Promise<void> {
    await this.#open();
    while (!signal.aborted) {
      if (this.position >= position && this.#checkpointer.retryQueue.due(this.#options.clock.now(), 1).length === 0) {
        break;
      }
      if (!await this.#turn(signal, 0)) break;
    }
    await this.#forgetAhead();
    await this.#checkpointer.flush();
    await this.#options.source.close();
  }

  async #open(): Promise<void> {
    await this.#forgetAhead();
    // What a database lost when it crashed may be known from before.
    this.#options.runner.forget();
    await this.#checkpointer.read();
    await this.#options.source.open(this.position);
  }

  /** Performs one read or retry; returns whether there was anything to do. */
  async #turn(signal: AbortSignal, wait = this.#options.settings.blockingTimeoutMs): Promise<boolean> {
    const { clock: { now, sleep } } = this.#options;
    const { retryQueue } = this.#checkpointer;
    await this.#pickUpReplays();
    const turns = this.#turns;
    const due = retryQueue.due(now(), this.#most, turns.prefers, turns.tried, this.#options.together);
    // What a crash may be due to comes before what is new: that may have the next one.
    const isUrgent = due.length === 1 && due[0].suspect && !turns.urgent.has(due[0].position);
    if (isUrgent) turns.urgent.add(due[0].position);
    // In turns: what fails again and again must not hold up what is new.
    if (due.length > 0 && (isUrgent || !turns.hasRetried)) {
      turns.hasRetried = true;
      turns.prefers = turns.prefers === "alone" ? "batch" : "alone";
      await this.#retry(due, signal);
      return true;
    }
    turns.hasRetried = false;
    // A read ends as soon as something comes: who has long had nothing to do need not look so often whether it has.
    const patience = Math.min(wait * (1 + this.#idle), Math.max(wait, LONGEST_READ));
    const late = this.#checkpointer.due;
    if (late === 0) await this.#checkpointer.flush();
    const pause = due.length > 0 ? 0 : Math.min(patience, retryQueue.untilDue(now()), late === 0 ? Infinity : late);
    // Beyond that it stops reading.
    const { isFull } = retryQueue;
    if (isFull && !this.#isFull) {
      const { groupPartition: { group }, report } = this.#options;
      report({ type: "group.full", group, deferred: retryQueue.size });
    }
    this.#isFull = isFull;
    if (isFull) {
      await sleep(Math.max(1, pause), signal);
      return false;
    }
    const records = await this.#next(Math.max(0, pause), signal);
    this.#present();
    this.#idle = records.length > 0 ? 0 : this.#idle + 1;
    if (records.length === 0 && this.#quarantined > 0 && await this.#isAtEnd()) this.#quarantined = 0;
    for (const part of inParts(records)) {
      for (let from = 0; from < part.length && !signal.aborted;) {
        const slice = part.slice(from, from + this.#most);
        from += slice.length;
        await this.#takeKnown(slice, signal);
      }
    }
    return records.length + due.length > 0;
  }

  /** Whether the log has nothing more, so that all that was in flight during a crash has come again. */
  async #isAtEnd(): Promise<boolean> {
    const { store, groupPartition: { category } } = this.#options;
    return (await store.readLog({ category, after: this.position, limit: 1, largest: 0 })).length === 0;
  }

  /** Reads; under load also what follows, while this is handled. */
  async #next(wait: number, signal: AbortSignal): Promise<readonly MessageRecord[]> {
    const { source, settings: { messagesPerTick } } = this.#options;
    const ahead = this.#ahead;
    this.#ahead = undefined;
    let records = await ahead ?? [];
    if (records.length === 0) records = await source.next(messagesPerTick, wait, signal);
    if (records.length >= messagesPerTick) {
      this.#ahead = source.next(messagesPerTick, 0, signal);
      // Whoever awaits the promise gets the error.
      this.#ahead.catch(() => {});
    }
    return records;
  }

  /** What was read ahead is discarded, and read again from the checkpoint. */
  async #forgetAhead(): Promise<void> {
    await this.#ahead?.catch(() => {});
    this.#ahead = undefined;
  }

  /** Handles a batch; messages from the first unknown type on only if no other member knows that type. */
  async #takeKnown(records: readonly MessageRecord[], signal: AbortSignal): Promise<void> {
    const { source, types } = this.#options;
    const unknown = records.findIndex((record) => !knows(types, record));
    const first = unknown < 0 ? records : records.slice(0, unknown);
    if (first.length > 0) await this.#take(first, signal);
    await source.done(first);
    if (unknown < 0) return;
    const rest = records.slice(unknown);
    const names = rest.filter((record) => !knows(types, record) && this.#checkpointer.wants(record)).map(versionName);
    await this.#unknown.leaveToOthers(names, rest[0].position);
    await this.#take(rest, signal);
    await source.done(rest);
  }

  /** Runs something that needs store and broker; when one is away, waits and goes on where the checkpoint is. */
  async #patiently(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { report, clock, groupPartition: { group } } = this.#options;
    await retry(async (tries) => {
      if (tries > 0) await this.#open();
      await work();
    }, {
      clock,
      signal,
      // A commit that may still complete must be fenced: the runner takes a new lease.
      when: (error) => recoveryOf(error) === "wait",
      failed: (error) => {
        if (error instanceof StoppedError) return;
        if (!this.#away) report({ type: "service.away", group, error: messageOf(error) });
        this.#away = true;
      },
    }).catch((error) => {
      // Stopped while waiting.
      if (!signal.aborted || recoveryOf(error) !== "wait") throw error;
    });
  }

  #present(): void {
    if (!this.#away) return;
    this.#away = false;
    const { report, groupPartition: { group } } = this.#options;
    report({ type: "service.back", group });
  }

  async #pickUpReplays(): Promise<void> {
    const { replays, store, groupPartition, clock: { elapsed } } = this.#options;
    if (elapsed() < this.#nextReplayCheck) return;
    this.#nextReplayCheck = elapsed() + REPLAY_INTERVAL;
    const known = await replays(groupPartition.group);
    if (!known.some((deferred) => this.#checkpointer.lacks(deferred))) return;
    // That list is shared and a little old: what was handled meanwhile would be handled again.
    for (const deferred of await store.deferred(groupPartition.group, { replayedOnly: true })) {
      this.#checkpointer.adopt(deferred);
    }
  }

  /** Handles newly read messages. */
  async #take(records: readonly MessageRecord[], signal: AbortSignal): Promise<void> {
    const commit = new PendingCommit();
    const items: Item[] = [];
    const { retryQueue } = this.#checkpointer;
    const waiting = new Set<string>();
    const unknown = new Set<string>();
    let alone = 0;
    for (const record of records) {
      if (!this.#checkpointer.wants(record)) continue;
      if (!knows(this.#options.types, record)) {
        // Whether the group has a use for it is for code to say that knows it; until then its stream waits.
        unknown.add(record.stream);
        commit.deferred.push(this.#failures.waiting(record, false, versionName(record)));
        continue;
      }
      if (!this.#options.handles.has(record.type)) continue;
      const quarantined = this.#quarantined > alone;
      if (quarantined) alone++;
      const head = retryQueue.head(record.stream);
      if (quarantined || waiting.has(record.stream) || unknown.has(record.stream) || head) {
        waiting.add(record.stream);
        // What waited behind another message was not in flight.
        const waited = unknown.has(record.stream) || (head !== undefined && !head.suspect);
        commit.deferred.push(this.#failures.waiting(record, quarantined && !waited));
        continue;
      }
      items.push({ record });
    }
    await this.#write(items, commit, records[records.length - 1].position, signal, records.length);
    // If that could not be written, the same messages come again.
    this.#quarantined -= alone;
  }

  /** Retries deferred messages. */
  async #retry(due: readonly Deferred[], signal: AbortSignal): Promise<void> {
    const { types, handles } = this.#options;
    const commit = new PendingCommit();
    const tries: { readonly record: MessageRecord; readonly deferred: Deferred }[] = [];
    let room = MOST_CHARACTERS;
    const records = await this.#readAll(due);
    const isAlone = isTriedAgain(due[0]);
    const [{ position }] = due;
    const { tried } = this.#turns;
    // Those that are tried again all had their turn.
    if (tried.has(position)) tried.clear();
    if (isAlone) tried.add(position);
    for (const deferred of due) {
      let record = records.get(deferred.position);
      if (!record || isLeftOut(record)) record = await this.#read(deferred);
      if (!record) {
        commit.resumed.push(deferred);
        continue;
      }
      if (!knows(types, record)) {
        // Deferred by newer code.
        await this.#unknown.leaveToOthers([versionName(record)], record.position);
        commit.deferred.push({ ...deferred, suspect: false, awaits: versionName(record) });
        continue;
      }
      if (!handles.has(record.type)) {
        // The code was changed since: the group has no use for it any more.
        commit.resumed.push(deferred);
        continue;
      }
      tries.push({ record, deferred });
      room -= record.data.length;
      // The rest is due in the next round.
      if (room < 0) break;
    }
    const counted = await allSettled(tries.map(async ({ record, deferred }) => ({
      record,
      deferred: isTriedAgain(deferred) ? await this.#countAttempt(deferred, record) : deferred,
    })));
    // Others were given up.
    const items = counted.flatMap(({ record, deferred }): Item[] => deferred ? [{ record, deferred }] : []);
    await this.#write(items, commit, undefined, signal, isAlone ? 0 : due.length);
    tried.delete(position);
  }

  /**
   * Handles messages and writes their effects. If that takes too long together, it is tried with fewer; with more again once as
   * many as that could be written.
   */
  async #write(
    items: readonly Item[],
    commit: PendingCommit,
    last: number | undefined,
    signal: AbortSignal,
    size: number,
  ): Promise<void> {
    try {
      await this.#writer.handle(items, commit, last, signal);
      if (size >= this.#most && ++this.#full >= FULL) {
        this.#most = Math.min(2 * this.#most, this.#options.settings.messagesPerTick);
        this.#full = 0;
      }
    } catch (error) {
      if (size > 1 && recoveryOf(error) !== "none" && !(error instanceof StoppedError)) {
        this.#most = Math.max(1, Math.min(size, this.#most) >> 1);
        this.#full = 0;
      }
      throw error;
    }
  }

  /** Reads messages at the same time; large payloads are left out. */
  async #readAll(deferred: readonly Deferred[]): Promise<ReadonlyMap<number, MessageRecord | undefined>> {
    const { store } = this.#options;
    return new Map(
      await Promise.all(deferred.map(async ({ position }) => {
        const [record] = await store.readLog({ after: position - 1, upTo: position, limit: 1, largest: LARGE });
        return [position, record] as const;
      })),
    );
  }

  /**
   * Reads a message; `undefined` if the log has it no more, because it went back or a part of it was detached. An answer
   * without rows proves nothing: what is dropped here is never handled.
   */
  async #read({ position }: Deferred): Promise<MessageRecord | undefined> {
    const { store } = this.#options;
    const [next] = await store.readLog({ after: position - 1, limit: 1 });
    if (next) return next.position === position ? next : undefined;
    if (await store.lastPosition() < position) return undefined;
    throw new StoreUnavailableError(
      `The log ends behind position ${position}, but reading that found nothing`,
      "failed",
      true,
    );
  }

  /** Records the start of an attempt, so that it counts even if the process crashes. */
  async #countAttempt(deferred: Deferred, record: MessageRecord): Promise<Deferred | null> {
    const { settings } = this.#options;
    const { failures } = deferred;
    const attempts = deferred.attempts + 1;
    if (attempts <= attemptsOf(settings, failures)) {
      const counted = { ...deferred, failures, attempts, quarantined: true, replayed: false };
      await this.#checkpointer.begin(counted);
      return counted;
    }
    const commit = new PendingCommit();
    const why = { reason: "handler failed", error: failures.at(-1)?.error ?? "", stack: null } as const;
    this.#failures.giveUp(record, { attempts: deferred.attempts, failures }, why, commit);
    await this.#checkpointer.write(commit);
    return null;
  }
}

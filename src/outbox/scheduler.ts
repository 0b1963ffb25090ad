import { type Clock, clockOf } from "../lib/clock.ts";
import { DuplicateMessageError, ScheduleChangedError } from "../store/errors.ts";
import type { EventStore, Fence, ScheduledMessage, StreamAppend } from "../store/port.ts";
import { NO_REPORT, type Report } from "../telemetry/events.ts";

/** The lease under which one process at a time releases what is due. */
export const SCHEDULER_GROUP = "$scheduler";

/** Most messages that are released in one commit, and how many are read at first: nobody knows how large they are. */
const BATCH = 1_000;
const FIRST = 16;

/** Most characters of payloads in one commit. */
const MOST_CHARACTERS = 8_000_000;

/** How often the schedule is looked at while others write, in milliseconds: they may have scheduled something. */
const LOOK_EVERY = 100;

/** How long it is not looked at while nobody writes, in milliseconds, if nothing is due earlier. */
const LONGEST_WAIT = 5_000;

/** Options of a scheduler. */
export interface SchedulerOptions {
  /** The store. */
  readonly store: EventStore;
  /** Whether appends get outbox rows. */
  readonly outbox: boolean;
  /** The lease it works under; without one, no other process may run a scheduler. */
  readonly fence?: Fence;
  /** Receives events. @default {none} */
  readonly report?: Report;
  /** The source of time and randomness. @default {the real ones} */
  readonly clock?: Partial<Clock>;
}

/**
 * Appends scheduled messages to the log when they are due, in order of due time. A message leaves the schedule in the commit
 * that appends it, so each is appended once, whatever crashes; and only as it was read, so that one which was cancelled or
 * moved in between is not.
 */
export class Scheduler {
  #options: SchedulerOptions;
  #clock: Clock;
  #report: Report;
  /** How many messages to read, by how many of those before fitted into a commit. */
  #limit = FIRST;

  /**
   * Creates a scheduler; `run()` starts it.
   *
   * @param options Its options.
   */
  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#clock = clockOf(options.clock);
    this.#report = options.report ?? NO_REPORT;
  }

  /**
   * Runs until aborted.
   *
   * @param signal Asks it to stop.
   * @throws {FencedError} If another scheduler has taken over.
   * @throws {StoreUnavailableError} If the store is away.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    while (!signal.aborted) {
      const woken = new AbortController();
      const lookedAt = this.#clock.elapsed();
      // Subscribe before looking, so that what is written in between is not missed.
      const changed = store.changed(LONGEST_WAIT, AbortSignal.any([signal, woken.signal]));
      // The promise may never be awaited.
      changed.catch(() => {});
      try {
        const wait = await this.release();
        if (wait === 0) continue;
        const over = this.#clock.sleep(wait, AbortSignal.any([signal, woken.signal]));
        await Promise.race([changed, over]);
        const passed = this.#clock.elapsed() - lookedAt;
        await this.#clock.sleep(Math.max(0, Math.min(wait, LOOK_EVERY) - passed), signal);
      } finally {
        // Without a reason, `abort()` creates an exception with a stack each time.
        woken.abort("done");
      }
    }
  }

  /**
   * Releases the first that are due.
   *
   * @returns How long to wait before looking again, in milliseconds; 0 if there may be more.
   */
  async release(): Promise<number> {
    const { store } = this.#options;
    const { messages, now, wait } = await store.due(this.#limit);
    const released = cut(messages);
    this.#limit = released.length < messages.length ? released.length : Math.min(BATCH, 4 * this.#limit);
    const next = Math.min(wait ?? Infinity, LONGEST_WAIT);
    if (released.length === 0) return next;
    try {
      await this.#append(released, now);
    } catch (error) {
      // One of them was changed since it was read.
      if (error instanceof ScheduleChangedError) return 0;
      throw error;
    }
    this.#report({ type: "schedule.released", messages: released.length, lateMs: now - released[0].dueAt });
    return released.length < messages.length ? 0 : next;
  }

  /** Appends messages and takes them out of the schedule, in one commit if all can be appended. */
  async #append(released: readonly ScheduledMessage[], now: number): Promise<void> {
    const { store, fence } = this.#options;
    const release = released.map(({ key, dueAt, message: { id } }) => ({ key, dueAt, id }));
    try {
      await store.commit({ ...(fence && { fence }), appends: this.#appends(released, now), release });
    } catch (error) {
      if (!(error instanceof DuplicateMessageError)) throw error;
      if (released.length > 1) {
        // One of them is in the log; the others are not to wait for it.
        const half = released.length >> 1;
        await this.#append(released.slice(0, half), now);
        return await this.#append(released.slice(half), now);
      }
      // It was appended, and then scheduled again by one who had not heard that it was scheduled.
      await store.commit({ ...(fence && { fence }), release });
    }
  }

  /** What is appended, stream by stream: in each, in order of due time. */
  #appends(released: readonly ScheduledMessage[], now: number): StreamAppend[] {
    const byStream = Map.groupBy(released, ({ stream }) => stream);
    return [...byStream].map(([stream, its]) => ({
      stream,
      category: its[0].category,
      expected: "any",
      messages: its.map(({ message }) => ({ ...message, time: now })),
      publish: this.#options.outbox,
    }));
  }
}

/** As many of the first as fit into one commit: one at least. */
function cut(messages: readonly ScheduledMessage[]): readonly ScheduledMessage[] {
  let room = MOST_CHARACTERS;
  const end = messages.findIndex(({ message }, i) => (room -= message.data.length) < 0 && i > 0);
  return end < 0 ? messages : messages.slice(0, end);
}

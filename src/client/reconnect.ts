import { recoveryOf } from "../lib/annals_error.ts";
import { REAL_CLOCK } from "../lib/clock.ts";
import { type Backoff, retry } from "../lib/retry.ts";
import { DuplicateMessageError, isConflict, StoreUnavailableError } from "../store/errors.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import type { Commit, CommitResult, EventStore } from "../store/port.ts";

/** How long to retry reaching a store over a network, in milliseconds. */
const PATIENCE = 30_000;

/** Reasons that are reported at once: the store itself has already waited for them. */
const TOLD: readonly StoreUnavailableError["reason"][] = ["locked", "full", "failed"];

/** The longest and first delay between attempts, in milliseconds. */
const BACKOFF: Backoff = { first: 25, longest: 1_000 };

/** Retries until it succeeds or the error is not transient. */
async function persist<T>(work: (unsure: boolean) => Promise<T>): Promise<T> {
  const until = REAL_CLOCK.elapsed() + PATIENCE;
  let unsure = false;
  return await retry(() => work(unsure), {
    clock: REAL_CLOCK,
    backoff: BACKOFF,
    when: (error) =>
      recoveryOf(error) !== "none" && REAL_CLOCK.elapsed() <= until &&
      !(error instanceof StoreUnavailableError && TOLD.includes(error.reason)),
    failed: (error) => void (unsure ||= recoveryOf(error) === "unsure"),
  });
}

/** Commits; an earlier attempt that succeeded is recognised by its message ids. */
async function commitOnce(store: EventStore, commit: Commit): Promise<CommitResult> {
  return await persist(async (unsure) => {
    if (unsure && await isScheduled(store, commit)) return { lastPosition: 0, versions: [], repeated: null };
    try {
      return await store.commit(commit);
    } catch (error) {
      const repeated = error instanceof DuplicateMessageError || isConflict(error);
      const written = unsure && repeated ? await find(store, commit) : null;
      if (!written) throw error;
      return written;
    }
  });
}

/** The most messages of a stream among which one is looked for that was just sent. */
const MOST_RECENT = 10_000;

/** Finds a message that was just appended to a stream, by its id. */
export async function findRecent(store: EventStore, stream: string, id: string): Promise<MessageRecord | undefined> {
  const recent = await store.readStream(stream, { backward: true, limit: MOST_RECENT });
  return recent.find((message) => message.id === id);
}

/** Whether an earlier attempt has scheduled what a commit schedules: it is scheduled, or was sent since. */
async function isScheduled(store: EventStore, { appends = [], once, schedule = [] }: Commit): Promise<boolean> {
  if (schedule.length === 0 || appends.length > 0 || once) return false;
  for (const { key, stream, message: { id } } of schedule) {
    const [found] = await store.scheduled({ key });
    if (found?.message.id === id) continue;
    if (!await findRecent(store, stream, id)) return false;
  }
  return true;
}

/** Finds the result of an earlier attempt by its last messages; `null` if they are not stored. */
async function find(store: EventStore, { appends = [] }: Commit): Promise<CommitResult | null> {
  let lastPosition = 0;
  const versions: number[] = [];
  for (const { stream, messages } of appends) {
    const last = messages.at(-1);
    const found = last
      ? await findRecent(store, stream, last.id)
      : (await store.readStream(stream, { backward: true, limit: 1 }))[0];
    if (last && !found) return null;
    if (last) lastPosition = Math.max(lastPosition, found!.position);
    versions.push(found?.version ?? -1);
  }
  return { lastPosition, versions, repeated: null };
}

/**
 * Wraps a store so that it waits out restarts and failovers of the database and writes each commit once.
 *
 * @param store The store.
 * @returns The wrapped store, for clients: commits without a fence.
 */
export function reconnecting<S extends EventStore>(store: S): S {
  return new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (name === "commit") {
        return (commit: Commit) => commit.fence ? target.commit(commit) : commitOnce(target, commit);
      }
      if (name === "close" || name === "wake") return value.bind(target);
      // On an error, the waiter wakes, reads, and gets the error there.
      if (name === "changed") return (...given: unknown[]) => value.apply(target, given).catch(() => {});
      return (...given: unknown[]) => persist(() => value.apply(target, given));
    },
  });
}

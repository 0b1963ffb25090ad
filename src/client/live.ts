import type { Domain } from "../domain/model.ts";
import type { Projection } from "../domain/projection.ts";
import { decode } from "../messages/codec.ts";
import { isInternal, type Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { didYouMean } from "../lib/did_you_mean.ts";
import { sleep } from "../lib/sleep.ts";
import { readBatch } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";
import { decodeToken, encodeToken, type Token } from "./token.ts";

/** An event of the log, and where to go on after it. */
export interface LiveEvent {
  /** The event, upcast to what this code knows. */
  readonly event: Message;
  /** What to pass as `after` to go on behind it. */
  readonly token: Token;
}

/** Which events to read. */
export interface EventsOptions {
  /** Where to begin: behind a token, or with the first one. @default {with what comes next} */
  readonly after?: Token | "start";
  /** Only those of one category, like `bank::account`. @default {of all that the domain has events in} */
  readonly category?: string;
  /** Only these types. @default {all} */
  readonly types?: readonly string[];
  /** Ends it. @default {never} */
  readonly signal?: AbortSignal;
}

/** How many messages are read at a time. */
const PAGE = 200;

/** How long a wait for news takes at most, in milliseconds: a notification may be lost. */
const LONGEST_WAIT = 1_000;

/** How often what watchers see is read at most, in milliseconds. */
const SHORTEST_PAUSE = 25;

/** Reads the events of a domain from some point on, and those that come. */
export async function* followEvents(
  store: EventStore,
  domain: Domain,
  { after, category, types, signal = new AbortController().signal }: EventsOptions,
): AsyncGenerator<LiveEvent, void, undefined> {
  for (const type of types ?? []) {
    if (domain.types.has(type)) continue;
    throw new DomainDefinitionError(
      `Cannot follow events of type "${type}", which domain "${domain.name}" has not${
        didYouMean(type, [...domain.types.keys()])
      }`,
    );
  }
  const log = await store.logId();
  let position = after === undefined
    ? await store.lastPosition()
    : after === "start"
    ? 0
    : decodeToken(after, log).position;
  const wanted = types && new Set(types);
  while (!signal.aborted) {
    const stop = new AbortController();
    // Before reading, so that a write in between is not missed.
    const changed = store.changed(LONGEST_WAIT, AbortSignal.any([signal, stop.signal]), "messages");
    changed.catch(() => {});
    let found;
    try {
      found = await readBatch(store, { after: position, limit: PAGE, ...(category !== undefined && { category }) });
    } catch (error) {
      stop.abort("done");
      throw error;
    }
    for (const record of found) {
      if (signal.aborted) break;
      position = record.position;
      const isEvent = !isInternal(record.category) && domain.categoryOfEvent(record.type) === record.category;
      if (!isEvent || wanted?.has(record.type) === false) continue;
      yield { event: decode(record, domain.types), token: encodeToken({ log, position }) };
    }
    if (found.length > 0) stop.abort("done");
    else await changed.catch(() => {});
  }
}

/** One reader of what several watchers want to see. */
interface Watched<T> {
  readonly watchers: Set<(seen: T) => void>;
  readonly stop: AbortController;
  last: { readonly text: string; readonly seen: T } | undefined;
  /** What ended it. */
  readonly ended: Promise<never>;
}

/** Reads what is watched once for all watchers of the same, whenever something has changed. */
export class Watchers {
  #store: EventStore;
  #watched = new Map<string, Watched<any>>();

  /** @param store The store. */
  constructor(store: EventStore) {
    this.#store = store;
  }

  /** How much is being read. */
  get size(): number {
    return this.#watched.size;
  }

  #open<T>(name: string, read: () => Promise<T>): Watched<T> {
    const known = this.#watched.get(name);
    if (known) return known;
    const stop = new AbortController();
    const watchers = new Set<(seen: T) => void>();
    const ended = this.#read(name, read, stop.signal);
    ended.catch(() => {});
    const watched: Watched<T> = { watchers, stop, last: undefined, ended };
    this.#watched.set(name, watched);
    return watched;
  }

  async #read<T>(name: string, read: () => Promise<T>, signal: AbortSignal): Promise<never> {
    // Not before it is registered.
    await Promise.resolve();
    try {
      while (true) {
        const watched = this.#watched.get(name);
        if (signal.aborted || !watched) throw new Error("Nobody watches any more");
        const changed = this.#store.changed(LONGEST_WAIT, signal);
        changed.catch(() => {});
        const seen = await read();
        const text = JSON.stringify(seen);
        if (watched.last?.text !== text) {
          watched.last = { text, seen };
          for (const tell of watched.watchers) tell(seen);
        }
        await changed;
        // What changes all the time is read now and then.
        await sleep(SHORTEST_PAUSE);
      }
    } finally {
      // Others may have begun to watch the same since.
      if (this.#watched.get(name)?.stop.signal === signal) this.#watched.delete(name);
    }
  }

  /**
   * Yields what is seen now, and again whenever it is something else. Who is slow sees the latest, not everything in between.
   *
   * @param name What it is known by: all that watch the same share one reader.
   * @param read Reads it.
   * @param signal Ends it.
   */
  async *watch<T>(
    name: string,
    read: () => Promise<T>,
    signal: AbortSignal = new AbortController().signal,
  ): AsyncGenerator<T, void, undefined> {
    if (signal.aborted) return;
    const watched = this.#open(name, read);
    let next: { readonly seen: T } | undefined = watched.last && { seen: watched.last.seen };
    let wake: () => void = () => {};
    const tell = (seen: T): void => {
      next = { seen };
      wake();
    };
    watched.watchers.add(tell);
    const abort = () => wake();
    signal.addEventListener("abort", abort);
    try {
      while (!signal.aborted) {
        if (!next) {
          const told = new Promise<void>((resolve) => wake = resolve);
          await Promise.race([told, watched.ended]);
        }
        if (signal.aborted || !next) continue;
        const { seen } = next;
        next = undefined;
        yield seen;
      }
    } finally {
      signal.removeEventListener("abort", abort);
      watched.watchers.delete(tell);
      if (watched.watchers.size === 0) {
        if (this.#watched.get(name) === watched) this.#watched.delete(name);
        watched.stop.abort("done");
      }
    }
  }
}

/** Names what is watched. */
export function watchName(projection: Projection, what: unknown): string {
  return JSON.stringify([projection.name, what]);
}

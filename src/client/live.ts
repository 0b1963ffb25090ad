import type { Domain } from "../domain/model.ts";
import { decode } from "../messages/codec.ts";
import { isInternal, type Message, type MessageRecord } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { didYouMean } from "../lib/did_you_mean.ts";
import { sleep } from "../lib/sleep.ts";
import { lookOrWait } from "../store/changes.ts";
import { readBatch } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";
import { encodeToken, type Token } from "./token.ts";

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

/**
 * Reads the events of a domain from some point on, and those that come.
 *
 * @param store The store.
 * @param domain The domain.
 * @param placeOf Returns the position that a token stands for.
 * @param options Where to begin, and which events.
 */
export async function* followEvents(
  store: EventStore,
  domain: Domain,
  placeOf: (token: Token) => Promise<number>,
  { after, category, types, signal = new AbortController().signal }: EventsOptions,
): AsyncGenerator<LiveEvent, void, undefined> {
  if (types !== undefined && !(Array.isArray(types) && types.every((type) => typeof type === "string"))) {
    throw new DomainDefinitionError('Cannot follow events: types is a list of names, like ["Deposited"]');
  }
  const categories = [...new Set([...domain.types.keys()].flatMap((type) => domain.categoryOfEvent(type) ?? []))];
  if (category !== undefined && !categories.includes(category)) {
    throw new DomainDefinitionError(
      `Cannot follow events of category "${category}", which domain "${domain.name}" has not${
        didYouMean(category, categories)
      }`,
    );
  }
  const events = [...domain.types.keys()].filter((type) => domain.categoryOfEvent(type) !== undefined);
  for (const type of types ?? []) {
    if (events.includes(type)) continue;
    throw new DomainDefinitionError(
      `Cannot follow events of type "${type}", which domain "${domain.name}" has not${didYouMean(type, events)}`,
    );
  }
  const log = await store.logId();
  const position = after === undefined ? await store.lastPosition() : after === "start" ? 0 : await placeOf(after);
  const wanted = types && new Set(types);
  for await (const page of followRecords(store, { position, category, signal })) {
    for (const record of page) {
      if (signal.aborted) break;
      const isEvent = !isInternal(record.category) && domain.categoryOfEvent(record.type) === record.category;
      if (!isEvent || wanted?.has(record.type) === false) continue;
      yield { event: decode(record, domain.types), token: encodeToken({ log, position: record.position }) };
    }
  }
}

/**
 * Reads the messages of the log behind a position, and those that come, a page at a time.
 *
 * @param store The store.
 * @param options The position, which category (all by default), and what ends it.
 */
export async function* followRecords(
  store: EventStore,
  { position, category, signal }: {
    readonly position: number;
    readonly category?: string | undefined;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<readonly MessageRecord[], void, undefined> {
  for (let after = position; !signal.aborted;) {
    const look = async () => {
      const page = await readBatch(store, { after, limit: PAGE, ...(category !== undefined && { category }) });
      return page.length > 0 ? page : null;
    };
    const page = await lookOrWait(store, look, { wait: LONGEST_WAIT, signal, what: "messages" }) ?? [];
    if (page.length === 0) continue;
    yield page;
    after = page[page.length - 1].position;
  }
}

/** One reader of what several watchers want to see. */
interface Watched {
  readonly watchers: Set<Watcher>;
  readonly stop: AbortController;
  /** What was seen last, as JSON: each watcher gets a copy of its own. */
  last: string | undefined;
}

interface Watcher {
  readonly tell: (text: string) => void;
  readonly fail: (error: unknown) => void;
}

/** Reads what is watched once for all watchers of the same, whenever something has changed. */
export class Watchers {
  #store: EventStore;
  #watched = new Map<string, Watched>();

  /** @param store The store. */
  constructor(store: EventStore) {
    this.#store = store;
  }

  #open(name: string, read: () => Promise<unknown>): Watched {
    const known = this.#watched.get(name);
    if (known) return known;
    const watched: Watched = { watchers: new Set(), stop: new AbortController(), last: undefined };
    this.#watched.set(name, watched);
    this.#read(watched, read).catch((error) => {
      for (const { fail } of watched.watchers) fail(error);
    }).finally(() => this.#close(name, watched));
    return watched;
  }

  #close(name: string, watched: Watched): void {
    // Others may have begun to watch the same since.
    if (this.#watched.get(name) === watched) this.#watched.delete(name);
    watched.stop.abort("done");
  }

  async #read(watched: Watched, read: () => Promise<unknown>): Promise<void> {
    const { signal } = watched.stop;
    while (!signal.aborted) {
      const changed = this.#store.changed(LONGEST_WAIT, signal);
      changed.catch(() => {});
      const text = JSON.stringify(await read());
      if (signal.aborted) return;
      if (watched.last !== text) {
        watched.last = text;
        for (const { tell } of watched.watchers) tell(text);
      }
      await changed;
      // What changes all the time is read now and then.
      await sleep(SHORTEST_PAUSE);
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
    let next = watched.last;
    let failure: { readonly error: unknown } | undefined;
    let wake: () => void = () => {};
    const watcher: Watcher = {
      tell: (text) => {
        next = text;
        wake();
      },
      fail: (error) => {
        failure = { error };
        wake();
      },
    };
    watched.watchers.add(watcher);
    const abort = () => wake();
    signal.addEventListener("abort", abort);
    try {
      while (!signal.aborted) {
        if (next === undefined && !failure) await new Promise<void>((resolve) => wake = resolve);
        if (signal.aborted) return;
        if (failure) throw failure.error;
        if (next === undefined) continue;
        const text = next;
        next = undefined;
        yield JSON.parse(text);
      }
    } finally {
      signal.removeEventListener("abort", abort);
      watched.watchers.delete(watcher);
      if (watched.watchers.size === 0) this.#close(name, watched);
    }
  }
}

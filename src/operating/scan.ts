import type { MessageRecord } from "../messages/envelope.ts";
import type { EventStore, ReadLogOptions } from "../store/port.ts";
import { charactersOf } from "./streams.ts";

/** How much of the log is looked through by one query: none takes long, and others have their turn in between. */
const WINDOW = 50_000;

/** The most messages of one query; of those with payloads, each of which may have as much as is not left out. */
const PAGE = 1_000;
const PAGE_WITH_PAYLOADS = 100;

/** How far apart the clocks of those that make messages may be, in milliseconds. */
const SKEW = 600_000;

/** What to look for, and where. */
export interface Scan extends Omit<ReadLogOptions, "after" | "upTo" | "limit" | "backward"> {
  /** Behind this position. */
  readonly after: number;
  /** Up to this one. */
  readonly upTo: number;
  /** The most messages. */
  readonly limit: number;
  /** Whether to begin at the end. @default {false} */
  readonly backward?: boolean;
  /** Gives up behind the message with which there are more characters than this. @default {as many as there are} */
  readonly most?: number;
  /** Until when, by `performance.now()`. */
  readonly until: number;
}

/** What was found, and whether all was looked through. */
export interface Scanned {
  /** The messages, in the order they were found. */
  readonly records: MessageRecord[];
  /** Where it was given up: up to there (backward: down to there) all was looked through; `null` if everything was. */
  readonly stoppedAt: number | null;
}

/** Looks through a range of the log, a window at a time: no store has an index of correlations, and not each one of ids. */
export async function scan(store: Pick<EventStore, "readLog">, given: Scan): Promise<Scanned> {
  const { limit, backward = false, until, most: characters = Infinity, ...wanted } = given;
  const records: MessageRecord[] = [];
  const longest = wanted.largest === 0 ? PAGE : PAGE_WITH_PAYLOADS;
  let left = characters;
  let { after, upTo } = wanted;
  while (after < upTo) {
    if (performance.now() > until) return { records, stoppedAt: backward ? upTo : after };
    const window = backward ? { after: Math.max(after, upTo - WINDOW), upTo } : {
      after,
      upTo: Math.min(upTo, after + WINDOW),
    };
    const most = Math.min(longest, limit - records.length);
    const page = await store.readLog({ ...wanted, ...window, limit: most, backward });
    for (const record of page) {
      records.push(record);
      left -= charactersOf(record);
      if (left >= 0) continue;
      const { position } = record;
      return { records, stoppedAt: backward ? position - 1 : position };
    }
    const isCut = page.length === most;
    if (backward) upTo = isCut ? page[page.length - 1].position - 1 : window.after;
    else after = isCut ? page[page.length - 1].position : window.upTo;
    if (records.length >= limit) return { records, stoppedAt: after < upTo ? (backward ? upTo : after) : null };
    // An embedded store answers at once, in the thread in which everything else goes on.
    await new Promise((resolve) => setTimeout(resolve));
  }
  return { records, stoppedAt: null };
}

/** When an id was made, as a UUIDv7 tells, in milliseconds since 1970; `null` for others. */
export function timeOfId(id: string): number | null {
  const parts = /^([\da-f]{8})-([\da-f]{4})-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/i.exec(id);
  return parts ? Number.parseInt(parts[1] + parts[2], 16) : null;
}

/**
 * Finds the position behind which everything is that was made at a time or later, give or take the clocks of machines: a message
 * is stored after its id was made.
 */
export async function positionBefore(store: Pick<EventStore, "readLog">, time: number, last: number): Promise<number> {
  let [low, high] = [0, last];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [found] = await store.readLog({ after: middle, limit: 1, largest: 0 });
    if (found && found.time < time - SKEW) low = found.position;
    else high = middle;
  }
  return low;
}

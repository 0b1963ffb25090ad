import type { MessageRecord } from "../messages/envelope.ts";
import type { EventLog, ReadLogOptions } from "./port.ts";

/** Payloads of more bytes are not copied to the broker, and read a few at a time. */
export const LARGE = 65_536;

/** Most payload of a batch, in characters; a single message may have more. */
export const MOST_CHARACTERS = 8_000_000;

/** How many large payloads are read at the same time. */
const TOGETHER = 4;

/** Whether a payload was left out, because it is large. */
export function isLeftOut({ data }: MessageRecord): boolean {
  return data === "";
}

/**
 * Splits messages into parts of at most {@linkcode MOST_CHARACTERS}, in order; a single message may have more.
 *
 * @param records The messages.
 * @param most The most messages of a part. @default {any number}
 */
export function inParts(records: readonly MessageRecord[], most = Infinity): MessageRecord[][] {
  const parts: MessageRecord[][] = [];
  let room = 0;
  for (const record of records) {
    const characters = record.data.length + (record.metadata?.length ?? 0);
    if (parts.length === 0 || characters > room || parts.at(-1)!.length === most) {
      parts.push([]);
      room = MOST_CHARACTERS;
    }
    parts.at(-1)!.push(record);
    room -= characters;
  }
  return parts;
}

/**
 * Reads the messages at some positions with their payloads, however large they are.
 *
 * @param store The log.
 * @param positions The positions, in order.
 * @returns Those of the first so many positions, at least one.
 */
export async function readSome(
  store: Pick<EventLog, "readAt">,
  positions: readonly number[],
): Promise<{ readonly records: readonly MessageRecord[]; readonly read: number }> {
  const found = new Map((await store.readAt(positions, { largest: LARGE })).map((record) => [record.position, record]));
  const records: MessageRecord[] = [];
  let [characters, read] = [0, 0];
  for (; read < positions.length && (characters <= MOST_CHARACTERS || read === 0); read++) {
    let record = found.get(positions[read]);
    if (record && isLeftOut(record)) [record] = await store.readAt([positions[read]]);
    if (!record) continue;
    characters += record.data.length;
    records.push(record);
  }
  return { records, read };
}

/**
 * Reads messages with their payloads, however large they are, without holding more of them than a batch may have.
 *
 * @param store The log.
 * @param options What to read. It may return less than the limit, but not nothing, if there is more.
 */
export async function readBatch(
  store: Pick<EventLog, "readLog">,
  options: Omit<ReadLogOptions, "largest" | "backward">,
): Promise<MessageRecord[]> {
  const found = await store.readLog({ ...options, largest: LARGE });
  if (!found.some(isLeftOut)) return found;
  let [characters, next] = [0, 0];
  while (next < found.length) {
    const start = next;
    for (let large = 0; next < found.length && large < TOGETHER; next++) if (isLeftOut(found[next])) large++;
    await Promise.all(
      found.slice(start, next).map(async (record, i) => {
        if (!isLeftOut(record)) return;
        const { position } = record;
        [found[start + i]] = await store.readLog({ after: position - 1, upTo: position, limit: 1 });
      }),
    );
    for (let i = start; i < next; i++) characters += found[i].data.length;
    if (characters > MOST_CHARACTERS) break;
  }
  return found.slice(0, next);
}

/** Messages of several categories, and up to where that is all of them. */
export interface MergedPage {
  /** The messages, in the order of the log. */
  readonly records: MessageRecord[];
  /** The position up to which there are no others. */
  readonly upTo: number;
}

/**
 * Reads the next messages of several categories, in the order of the log, however large they are.
 *
 * @param store The log.
 * @param categories The categories.
 * @param options Where to begin and end, and how many of each category.
 * @returns The messages; none if there are no more.
 */
export async function readMerged(
  store: Pick<EventLog, "readLog">,
  categories: readonly string[],
  options: { readonly after: number; readonly upTo: number; readonly limit: number },
): Promise<MergedPage> {
  const pages = await Promise.all(categories.map((category) => readBatch(store, { ...options, category })));
  // A page that is not empty may have been cut: nothing beyond its end may be taken before the rest of it.
  const ends = pages.filter((page) => page.length > 0).map((page) => page.at(-1)!.position);
  if (ends.length === 0) return { records: [], upTo: options.upTo };
  const upTo = Math.min(...ends);
  const records = pages.flat().filter(({ position }) => position <= upTo).sort((a, b) => a.position - b.position);
  return { records, upTo };
}

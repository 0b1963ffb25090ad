import type { MessageRecord } from "../messages/envelope.ts";
import { isLeftOut, LARGE } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";

/** Most characters of the messages of one answer, without those of the last one. Each is there twice: as stored, and as it is read now. */
export const MOST_SHOWN = 3_000_000;

/** How many messages are read at a time. */
const PAGE = 100;

/** How many characters of a message are shown. */
export function charactersOf({ data, metadata }: Pick<MessageRecord, "data" | "metadata">): number {
  return data.length + (metadata?.length ?? 0);
}

/** The messages of a stream that are shown together. */
export interface StreamPage {
  /** The messages, the newest first; large payloads are left out. */
  readonly records: MessageRecord[];
  /** The version before which the stream goes on; `null` if it does not. */
  readonly next: number | null;
}

/**
 * Returns messages of a stream, the newest first: as many as were asked for, or fewer if they are large.
 *
 * @param store The log.
 * @param stream The stream.
 * @param page Before which version, and the most messages.
 */
export async function streamPage(
  store: Pick<EventStore, "readStream">,
  stream: string,
  { before, limit }: { readonly before?: number | undefined; readonly limit: number },
): Promise<StreamPage> {
  const records: MessageRecord[] = [];
  let [from, characters] = [before === undefined ? undefined : before - 1, 0];
  while (from === undefined || from >= 0) {
    const most = Math.min(PAGE, limit + 1 - records.length);
    const page = await store.readStream(stream, {
      backward: true,
      limit: most,
      largest: LARGE,
      ...(from !== undefined && { from }),
    });
    for (const record of page) {
      if (records.length === limit || characters > MOST_SHOWN) return { records, next: records.at(-1)!.version };
      characters += charactersOf(record);
      records.push(record);
    }
    if (page.length < most) break;
    from = page.at(-1)!.version - 1;
  }
  return { records, next: null };
}

/**
 * Reads a stream from its beginning, with all payloads.
 *
 * @param store The log.
 * @param stream The stream.
 * @param upTo Up to which version.
 * @param most The most characters to hold.
 * @returns Its messages, in order; `null` if they are larger than that.
 */
export async function streamFromStart(
  store: Pick<EventStore, "readStream" | "readAt">,
  stream: string,
  upTo: number,
  most: number,
): Promise<MessageRecord[] | null> {
  const records: MessageRecord[] = [];
  for (let [from, left] = [0, most]; from <= upTo;) {
    const page = await store.readStream(stream, { from, to: upTo, limit: PAGE, largest: LARGE });
    for (const record of page) {
      // A single one may have more than all of them may.
      const whole = isLeftOut(record) ? (await store.readAt([record.position]))[0] ?? record : record;
      left -= charactersOf(whole);
      if (left < 0) return null;
      records.push(whole);
    }
    if (page.length < PAGE) break;
    from = page.at(-1)!.version + 1;
  }
  return records;
}

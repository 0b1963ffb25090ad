import { createHash } from "node:crypto";
import { AnnalsError } from "../lib/annals_error.ts";
import { isInternal, type MessageRecord } from "../messages/envelope.ts";
import { readBatch } from "../store/large.ts";
import { mark } from "../store/mark.ts";
import type { EventStore, StreamAppend } from "../store/port.ts";
import { digestText, fromLine } from "./cloud_events.ts";
import type { ExportEnd, ExportHeader } from "./export.ts";
import { type StateRecord, writeState } from "./state.ts";

/** How many messages are written at a time, and how many characters of them. */
const PAGE = 2_000;
const MOST_CHARACTERS = 8_000_000;

/** The group whose checkpoints name, in place of a category, that an import was begun, and the digest of one that has ended. */
const IMPORTED_GROUP = "$imported";
const BEGUN = "begun";

/** Whether an import into a store was begun, and whether it has ended. */
async function importState(
  store: Pick<EventStore, "checkpoints">,
): Promise<{ readonly state: "none" | "begun" | "ended"; readonly digest: string | null }> {
  const marks = await store.checkpoints(IMPORTED_GROUP);
  const ended = marks.find(({ category }) => category !== BEGUN);
  return { state: ended ? "ended" : marks.length > 0 ? "begun" : "none", digest: ended?.category ?? null };
}

/** Whether a store has a part of an import: who goes on from there does again what was done. */
export async function isHalfImported(store: Pick<EventStore, "checkpoints">): Promise<boolean> {
  return (await importState(store)).state === "begun";
}

/** Thrown when what is imported is no export, or not of this store. What was imported before stays. */
export class ImportError extends AnnalsError {
  /** Always `ImportError`. */
  override readonly name = "ImportError";
}

/** How to import. */
export interface ImportOptions {
  /** The domain of the store. */
  readonly domain: string;
  /** Called with the position that is written. @default {nobody} */
  readonly reached?: (position: number) => void;
}

/** What was imported. */
export interface Imported {
  /** The number of messages of the export. */
  readonly messages: number;
  /** How many of them were there already, from an import that was interrupted. */
  readonly found: number;
  /** Whether the same export had been imported as a whole before: nothing was written. */
  readonly isRepeated: boolean;
}

/** Successive messages of one stream are one append. */
function appendsOf(records: readonly MessageRecord[]): StreamAppend[] {
  const appends: { stream: string; category: string; expected: number; publish: boolean; messages: MessageRecord[] }[] =
    [];
  for (const record of records) {
    const { stream, category, version } = record;
    const last = appends.at(-1);
    if (last?.stream === stream) last.messages.push(record);
    else appends.push({ stream, category, expected: version - 1, publish: !isInternal(category), messages: [record] });
  }
  return appends.map((append) => ({
    ...append,
    messages: append.messages.map(({ position: _, version: __, stream: ___, category: ____, ...message }) => message),
  }));
}

/**
 * Imports an exported log into a store that is empty, or has the beginning of the same export.
 *
 * @param store The store.
 * @param lines The lines of the export.
 * @param options The domain.
 * @throws {ImportError} If the lines are no whole export of this domain, or the store has something else.
 */
export async function importLines(
  store: EventStore,
  lines: AsyncIterable<string>,
  { domain, reached = () => {} }: ImportOptions,
): Promise<Imported> {
  const found = await store.lastPosition();
  const { state: before, digest } = await importState(store);
  if (before === "none" && found > 0) {
    throw new ImportError(
      `The store has ${found} messages that no import has brought: it may be the one that was exported. Import into an empty one`,
    );
  }
  let number = 0;
  let header: ExportHeader | undefined;
  let end: ExportEnd | undefined;
  let held: MessageRecord[] = [];
  let characters = 0;
  let next = 1;
  let state: StateRecord[] = [];
  const flush = async (): Promise<void> => {
    const missing = held.filter(({ position }) => position > found);
    const known = held.filter(({ position }) => position <= found);
    await checkKnown(store, known);
    if (missing.length > 0 && before === "ended") {
      // Of what is besides messages, another export says something else.
      throw new ImportError(
        `The store has had an import of another export, of ${found} messages, which has ended: import this one into an empty store`,
      );
    }
    if (missing.length > 0) {
      const { lastPosition } = await store.commit({ appends: appendsOf(missing) });
      if (lastPosition !== missing.at(-1)!.position) {
        throw new ImportError(
          `Message ${missing.at(-1)!.position} came to position ${lastPosition}: somebody else writes to this store`,
        );
      }
    }
    if (held.length > 0) reached(held.at(-1)!.position);
    held = [];
    characters = 0;
  };
  const flushState = async (): Promise<void> => {
    // Groups may have gone on since.
    if (state.length > 0 && before !== "ended") await writeState(store, state);
    state = [];
  };
  for await (const line of lines) {
    number++;
    if (line === "") continue;
    const refuse = (what: string): never => {
      throw new ImportError(`Line ${number}: ${what}`);
    };
    if (end) refuse("there is something behind the end");
    if (!header) {
      header = headerOf(line, domain);
      // From here on no server starts on it, until all of it is there.
      if (before === "none") await store.commit({ checkpoint: mark(IMPORTED_GROUP, BEGUN) });
      continue;
    }
    if (line.startsWith('{"annals":')) {
      await flush();
      const { annals, ...record } = JSON.parse(line);
      if (annals === "state") state.push(record);
      else end = { annals, ...record };
      if (end || state.length >= PAGE) await flushState();
      continue;
    }
    let record: MessageRecord;
    try {
      record = fromLine(line);
    } catch (error) {
      return refuse(
        `${(error as Error).message}; everything before it is imported, and importing again goes on from there`,
      );
    }
    if (record.position !== next) {
      refuse(`the message at position ${record.position} should be at ${next}: the export lacks messages`);
    }
    next++;
    held.push(record);
    characters += record.data.length;
    if (held.length >= PAGE || characters >= MOST_CHARACTERS) await flush();
  }
  if (!end) {
    throw new ImportError(
      `The export ends in the middle, after line ${number}; servers do not start on this store until the whole is imported, which goes on from here`,
    );
  }
  // What was written since is no part of it.
  const isRepeated = before === "ended";
  if (next - 1 < found && !isRepeated) {
    throw new ImportError(`The store has ${found} messages, and the export only ${next - 1}`);
  }
  if (digest !== null && digest !== end.digest) {
    throw new ImportError("The store has had an import of another export: import this one into an empty store");
  }
  await verify(store, end, isRepeated ? end.messages : Number.MAX_SAFE_INTEGER);
  if (before !== "ended") await store.commit({ checkpoint: mark(IMPORTED_GROUP, end.digest, end.messages) });
  // The broker has no copies of these; who needs them reads the log.
  await store.markPublished(end.messages);
  return { messages: end.messages, found: Math.min(found, end.messages), isRepeated };
}

function headerOf(line: string, domain: string): ExportHeader {
  let header: Partial<ExportHeader> = {};
  try {
    header = JSON.parse(line);
  } catch {
    // It is refused.
  }
  if (header?.annals !== "export" || header.format !== 1) {
    throw new ImportError('This is no export of a log: its first line should begin with {"annals":"export"');
  }
  if (header.domain !== domain) {
    throw new ImportError(`This is an export of domain "${header.domain}", and the store is of "${domain}"`);
  }
  if (!header.isWhole) throw new ImportError("This is an export of some messages only; export without --since");
  return header as ExportHeader;
}

/** What is in the store already has to be the same. */
async function checkKnown(store: EventStore, known: readonly MessageRecord[]): Promise<void> {
  const last = known.at(-1);
  if (!last) return;
  const [there] = await store.readAt([last.position], { largest: 0 });
  if (there?.id === last.id) return;
  throw new ImportError(
    `The store has another message at position ${last.position}: import into an empty one, or into one with the beginning of this export`,
  );
}

/** Reads everything again, and compares it with what was exported. */
async function verify(store: EventStore, { messages, digest }: ExportEnd, upTo: number): Promise<void> {
  const found = createHash("sha256");
  let count = 0;
  for (let after = 0;;) {
    const page = await readBatch(store, { after, upTo, limit: PAGE });
    if (page.length === 0) break;
    for (const record of page) found.update(digestText(record));
    count += page.length;
    after = page.at(-1)!.position;
  }
  if (count === messages && found.digest("hex") === digest) return;
  throw new ImportError(
    `The store's ${count} messages are not the ${messages} that were exported: their digests differ. Do not use it; import into an empty one`,
  );
}

import { createHash } from "node:crypto";
import { readBatch } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";
import { digestText, toLine } from "./cloud_events.ts";
import { readState } from "./state.ts";

/** How many messages are read at a time. */
const PAGE = 2_000;

/** What to export. */
export interface ExportOptions {
  /** The domain. */
  readonly domain: string;
  /** Only messages created at or after this time, in milliseconds since 1970, and nothing besides. @default {everything} */
  readonly since?: number;
  /** The projections that projectors keep, and the groups of these: what is made again from the log. */
  readonly kept: { readonly projections: ReadonlySet<string>; readonly groups: ReadonlySet<string> };
  /** Called with the position that is written. @default {nobody} */
  readonly reached?: (position: number) => void;
}

/** The first line of what is exported. */
export interface ExportHeader {
  /** What it is. */
  readonly annals: "export";
  /** The version of the format. */
  readonly format: 1;
  /** The domain. */
  readonly domain: string;
  /** Whether it is everything that another store needs. */
  readonly isWhole: boolean;
}

/** The last line. */
export interface ExportEnd {
  /** What it is. */
  readonly annals: "end";
  /** The number of messages. */
  readonly messages: number;
  /** SHA-256 of all messages, in hexadecimal digits. */
  readonly digest: string;
}

/**
 * Exports a log as lines of JSON: a header, the messages as CloudEvents, what there is besides them, and the end with a
 * digest.
 *
 * @param store The store; nobody writes to it meanwhile, if it is to be moved.
 * @param options What to export.
 */
export async function* exportLines(
  store: EventStore,
  { domain, since, kept, reached = () => {} }: ExportOptions,
): AsyncGenerator<string, void, undefined> {
  const isWhole = since === undefined;
  yield JSON.stringify({ annals: "export", format: 1, domain, isWhole } satisfies ExportHeader);
  const source = `urn:annals:${domain}`;
  const last = await store.lastPosition();
  const digest = createHash("sha256");
  let messages = 0;
  for (let after = 0; after < last;) {
    const page = await readBatch(store, { after, upTo: last, limit: PAGE, ...(since !== undefined && { since }) });
    if (page.length === 0) break;
    for (const record of page) {
      digest.update(digestText(record));
      yield toLine(record, source);
    }
    messages += page.length;
    after = page.at(-1)!.position;
    reached(after);
  }
  if (isWhole) {
    for await (const state of readState(store, kept)) {
      yield JSON.stringify({ annals: "state", ...state });
    }
  }
  yield JSON.stringify({ annals: "end", messages, digest: digest.digest("hex") } satisfies ExportEnd);
}

import type { MessageRecord } from "../messages/envelope.ts";

/** The most records and characters of a page; a single record may have more characters. */
const MOST_RECORDS = 1_000;
const MOST_CHARACTERS = 4_000_000;

/** The number of records of the first page of a stream, whose size nobody knows yet. */
const FIRST = 64;

/** Streams that are remembered; who reads more at the same time starts with a first page again. */
const MOST_STREAMS = 1_000;

/**
 * Cuts streams into pages that fit into a message. How many records are read for a page follows from the page before:
 * reading a thousand for each, to send three of them, would read a stream of large events many times over.
 */
export class Pager {
  #limits = new Map<string, number>();
  #keys = new Map<string, number>();

  /** How many records to read for the next page of a stream. */
  limitOf(stream: string): number {
    return this.#limits.get(stream) ?? FIRST;
  }

  /**
   * Cuts what was read to a page.
   *
   * @param stream The stream.
   * @param limit How many records were to be read, by {@linkcode Pager.limitOf}.
   * @param found What was read.
   * @returns The page, with at least one record if there is one, and whether more may follow.
   */
  page(
    stream: string,
    limit: number,
    found: readonly MessageRecord[],
  ): { records: readonly MessageRecord[]; more: boolean } {
    let characters = 0;
    const end = found.findIndex(({ data }, i) => (characters += data.length) > MOST_CHARACTERS && i > 0);
    const records = end < 0 ? found : found.slice(0, end);
    const more = end >= 0 || found.length >= limit;
    this.#limits.delete(stream);
    if (more) {
      if (this.#limits.size >= MOST_STREAMS) this.#limits.clear();
      this.#limits.set(stream, end < 0 ? Math.min(MOST_RECORDS, 4 * limit) : records.length);
    }
    return { records, more };
  }

  /** How many keys of a projection to read rows for at a time. */
  keysOf(projection: string): number {
    return this.#keys.get(projection) ?? MOST_RECORDS;
  }

  /**
   * Cuts rows that were read to a page.
   *
   * @param projection The projection.
   * @param keys The keys that rows were read for, by {@linkcode Pager.keysOf}.
   * @param found The rows there are.
   * @returns The rows of the first keys, and how many keys that are: at least one.
   */
  rows(
    projection: string,
    keys: readonly string[],
    found: readonly { readonly key: string; readonly row: string | null }[],
  ): { rows: { key: string; row: string | null }[]; read: number } {
    const rows = new Map(found.map(({ key, row }) => [key, row]));
    let characters = 0;
    const end = keys.findIndex((key, i) => (characters += rows.get(key)?.length ?? 0) > MOST_CHARACTERS && i > 0);
    const read = end < 0 ? keys.length : end;
    if (this.#keys.size >= MOST_STREAMS) this.#keys.clear();
    this.#keys.set(projection, end < 0 ? Math.min(MOST_RECORDS, 4 * this.keysOf(projection)) : read);
    const page = keys.slice(0, read).filter((key) => rows.has(key)).map((key) => ({ key, row: rows.get(key)! }));
    return { rows: page, read };
  }
}

import { sleep } from "../lib/sleep.ts";
import type { EventStore, ProjectionRow } from "../store/port.ts";
import { compareTexts } from "../store/row_query.ts";

/** A row that differs. */
export interface Difference {
  /** Its key. */
  readonly key: string;
  /** The row of the first generation; `null` if it has none. */
  readonly before: ProjectionRow | null;
  /** The row of the second one. */
  readonly after: ProjectionRow | null;
}

/** What two generations differ in. */
export interface Differences {
  /** The number of rows of both. */
  readonly rows: number;
  /** How many of them differ. */
  readonly differing: number;
  /** In how many rows each field differs; those that only one of the generations has are not counted. */
  readonly fields: ReadonlyMap<string, number>;
  /** The first of those that differ. */
  readonly shown: readonly Difference[];
}

/** The fields in which two rows differ. */
function fieldsOf({ before, after }: Difference): string[] {
  if (!before?.row || !after?.row) return [];
  const [a, b] = [before, after].map(({ row }) => Object(JSON.parse(row!)) as Record<string, unknown>);
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) =>
    JSON.stringify(a[name]) !== JSON.stringify(b[name])
  );
}

/** How many rows are compared at a time. */
const PAGE = 1_000;

/** How often rows are read again that differ, and how long to wait before, in milliseconds: one may only be behind. */
const LOOKS = 5;
const PAUSE = 100;

/**
 * Compares two generations, row by row.
 *
 * @param store The store.
 * @param before The rows of one, as by `rowsOf`.
 * @param after Those of the other.
 * @param limit How many differences to return.
 * @returns How many rows differ, in what, and the first of those.
 */
export async function differences(
  store: EventStore,
  before: string,
  after: string,
  limit: number,
): Promise<Differences> {
  let [rows, differing, from] = [0, 0, ""];
  const fields = new Map<string, number>();
  const shown: Difference[] = [];
  while (true) {
    const pages = await Promise.all([before, after].map((name) => store.listRows(name, { after: from, limit: PAGE })));
    if (pages.every((page) => page.length === 0)) return { rows, differing, fields, shown };
    // A page that is full says nothing of what comes behind its end.
    const ends = pages.filter((page) => page.length === PAGE).map((page) => page.at(-1)!.key);
    const upTo = ends.length === 0 ? null : ends.reduce((a, b) => compareTexts(a, b) < 0 ? a : b);
    const [these, those] = pages.map((page) =>
      new Map(page.filter(({ key }) => upTo === null || compareTexts(key, upTo) <= 0).map((row) => [row.key, row]))
    );
    const keys = new Set([...these.keys(), ...those.keys()]);
    rows += keys.size;
    const suspects = [...keys].filter((key) => these.get(key)?.row !== those.get(key)?.row);
    const found = await lookAgain(store, before, after, suspects);
    differing += found.length;
    for (const name of found.flatMap(fieldsOf)) fields.set(name, (fields.get(name) ?? 0) + 1);
    shown.push(...found.slice(0, Math.max(0, limit - shown.length)));
    if (upTo === null) return { rows, differing, fields, shown };
    from = upTo;
  }
}

async function lookAgain(
  store: EventStore,
  before: string,
  after: string,
  keys: readonly string[],
): Promise<Difference[]> {
  let found: Difference[] = [];
  let left = keys;
  for (let look = 0; look < LOOKS && left.length > 0; look++) {
    if (look > 0) await sleep(PAUSE);
    const [these, those] = await Promise.all([before, after].map((name) => store.readRows(name, left)));
    const [first, second] = [these, those].map((rows) => new Map(rows.map((row) => [row.key, row])));
    found = left.map((key) => ({ key, before: first.get(key) ?? null, after: second.get(key) ?? null }))
      .filter((one) => one.before?.row !== one.after?.row);
    left = found.map(({ key }) => key);
    // Those of the same events differ for good.
    if (found.every((one) => one.before?.position === one.after?.position)) break;
  }
  return found;
}

import type { Fate } from "../../lib/group_commit.ts";
import { AppendConditionError, FencedError, ScheduleChangedError, WrongExpectedVersionError } from "../errors.ts";
import { storedAs } from "../generations.ts";
import {
  checkpointsOf,
  type Commit,
  type CommitResult,
  type ExpectedVersion,
  type ProjectionRow,
  type ScheduleEntry,
  tagsOf,
} from "../port.ts";

/** A parameter value; arrays are already encoded as PostgreSQL array literals. */
export type Parameter = string | number | boolean | null;

/** The result of `annals.commit()`. */
export interface CommitAnswer {
  /**
   * Per commit: 0 written, 1 wrong version, 2 fenced, 3 repeated, 4 something to release is scheduled otherwise, 5 a
   * condition does not hold.
   */
  readonly status: readonly number[];
  /** Per commit: the last position, or the actual version. */
  readonly detail: readonly number[];
  /** Per commit: the append that was refused, from 1. */
  readonly culprit: readonly number[];
  /** Per append: the version before it. */
  readonly bases: readonly number[];
  /** Per commit: the value of an earlier commit with its `once` key. */
  readonly repeated: readonly (string | null)[] | null;
}

/** The separator between payloads; JSON text never contains it. */
const SEPARATOR = "\x1e";

const NEEDS_QUOTES = /["\\{},\s]|^$|^null$/i;

function element(value: string | number | boolean | null): string {
  if (value === null) return "null";
  if (typeof value !== "string") return String(value);
  return NEEDS_QUOTES.test(value) ? `"${value.replaceAll(/["\\]/g, "\\$&")}"` : value;
}

/** Encodes an array as a PostgreSQL array literal. */
export function arrayLiteral(values: readonly (string | number | boolean | null)[]): string {
  let text = "{";
  for (let i = 0; i < values.length; i++) text += (i === 0 ? "" : ",") + element(values[i]);
  return text + "}";
}

function expectation(expected: ExpectedVersion): number {
  switch (expected) {
    case "none":
      return -1;
    case "exists":
      return -2;
    case "any":
      return -3;
    default:
      return expected;
  }
}

/**
 * The keys that a commit writes. No other commit of the same call may write them, because their order would be lost.
 */
function claims(commit: Commit): string[] {
  const keys: string[] = [];
  if (commit.once) keys.push(`once ${commit.once.key}`);
  for (const { group, category, partitions, partition } of checkpointsOf(commit)) {
    keys.push(`checkpoint ${group} ${category} ${partition}/${partitions}`);
  }
  for (const { projection, key } of commit.rows ?? []) keys.push(`row ${projection} ${key}`);
  for (const { group, position } of commit.defer ?? []) keys.push(`defer ${group} ${position}`);
  for (const { group, position } of commit.resume ?? []) keys.push(`defer ${group} ${position}`);
  for (const { commandId } of commit.outcomes ?? []) keys.push(`outcome ${commandId}`);
  for (const { id } of commit.deadLetters ?? []) keys.push(`dead ${id}`);
  for (const { key } of commit.release ?? []) keys.push(`schedule ${key}`);
  for (const key of commit.unschedule ?? []) keys.push(`schedule ${key}`);
  for (const { key } of commit.schedule ?? []) keys.push(`schedule ${key}`);
  return keys;
}

/** Most characters of a call, unless a single commit has more: PostgreSQL takes no text of 1 GB. */
const MOST_CHARACTERS = 32_000_000;

/** Roughly how many characters a commit has, as far as its size can matter. */
function sizeOf({ appends = [], rows = [], deadLetters = [], schedule = [] }: Commit): number {
  let size = 0;
  for (const { messages } of appends) {
    for (const { data, metadata } of messages) size += data.length + (metadata?.length ?? 0);
  }
  for (const { row } of rows) size += row?.length ?? 0;
  for (const { message } of deadLetters) size += message.data.length;
  for (const { message } of schedule) size += message.data.length;
  return size;
}

/** The tags that a commit gives to messages. */
function tagged({ appends = [], tag = [] }: Commit): string[] {
  return [...appends.flatMap(({ messages }) => messages), ...tag].flatMap(({ tags = [] }) => tags);
}

/**
 * Splits a batch so that no two commits of a part write the same key, none has a condition on what another one before it
 * writes, and no part is too large for one call.
 */
export function partsOf(batch: readonly Commit[]): Commit[][] {
  const parts: Commit[][] = [[]];
  let taken = new Set<string>();
  let tags = new Set<string>();
  let room = MOST_CHARACTERS;
  for (const commit of batch) {
    const keys = claims(commit);
    const size = sizeOf(commit);
    const isSeparate = size > room || keys.some((key) => taken.has(key)) ||
      tagsOf(commit.conditions ?? []).some((tag) => tags.has(tag));
    if (parts[parts.length - 1].length > 0 && isSeparate) {
      parts.push([]);
      taken = new Set();
      tags = new Set();
      room = MOST_CHARACTERS;
    }
    room -= size;
    for (const key of keys) taken.add(key);
    for (const tag of tagged(commit)) tags.add(tag);
    parts[parts.length - 1].push(commit);
  }
  return parts;
}

/** Keeps the last of several rows with the same key. */
function lastOf(rows: readonly ProjectionRow[]): Iterable<ProjectionRow> {
  return new Map(rows.map((row) => [`${row.projection}\n${row.key}`, row])).values();
}

/** Keeps the last of several entries with the same key. */
function lastEntries(entries: readonly ScheduleEntry[]): Iterable<ScheduleEntry> {
  return new Map(entries.map((entry) => [entry.key, entry])).values();
}

/** Encodes the parts of commits other than messages: one JSON document per kind of row, empty if there are none. */
function restOf(commits: readonly Commit[], now: number | null): string {
  const rest: Record<string, object[]> = {};
  const add = (section: string, row: object): void => void (rest[section] ??= []).push(row);
  let a = 0;
  commits.forEach((commit, i) => {
    const c = i + 1;
    for (const checkpoint of checkpointsOf(commit)) add("checkpoints", { c, ...checkpoint });
    for (const row of commit.resume ?? []) add("resume", { c, ...row });
    for (const row of commit.defer ?? []) add("defer", { c, ...row });
    for (const row of commit.deadLetters ?? []) add("deadLetters", { c, ...row });
    for (const { projection, ...row } of lastOf(commit.rows ?? [])) {
      const section = row.expected !== undefined ? "expected" : row.row === null ? "removed" : "rows";
      add(section, { c, projection: storedAs(projection), ...row });
    }
    for (const row of commit.outcomes ?? []) add("outcomes", { c, ...row });
    for (const key of commit.unschedule ?? []) add("unschedule", { c, key });
    for (const { due: { at, after = 0 }, message, ...entry } of lastEntries(commit.schedule ?? [])) {
      const due = at !== undefined || now !== null ? { at: at ?? now! + after } : { after };
      add("schedule", { c, ...due, ...entry, id: message.id, message });
    }
    for (const row of commit.release ?? []) add("release", { c, ...row });
    for (const { among, after } of commit.conditions ?? []) {
      for (const { tag, types } of among) add("conditions", { c, tag, types, after });
    }
    for (const { position, type, tags } of commit.tag ?? []) {
      for (const tag of tags) add("tag", { c, tag, position, type });
    }
    for (const { messages } of commit.appends ?? []) {
      a++;
      messages.forEach(({ type, tags }, ord) => tags?.length && add("tags", { a, o: ord + 1, type, tags }));
    }
  });
  // Separate documents, because PostgreSQL parses a document again for each part extracted from it.
  return SECTIONS.map((section) => rest[section] ? JSON.stringify(rest[section]) : "").join(SEPARATOR);
}

/** The documents of what commits write besides messages, in the order in which `annals.commit` takes them. */
const SECTIONS = [
  "checkpoints",
  "resume",
  "defer",
  "deadLetters",
  "rows",
  "removed",
  "outcomes",
  "unschedule",
  "schedule",
  "release",
  "conditions",
  "tags",
  "tag",
  "expected",
];

/** The function call that writes commits; its parameters come from {@linkcode encodeCommits}. */
export const CALL = "annals.commit($1, $2, $3, $4, $5, $6, $7)";

/** Encodes the parameters of {@linkcode CALL}.
 *
 * @param commits The commits to write.
 * @param origin The id sent with the notification, so that the writer can ignore its own.
 * @param lineage The lineage that the writer follows; empty for any.
 * @param now The time, in milliseconds since 1970; `null` for the database's clock.
 */
export function encodeCommits(
  commits: readonly Commit[],
  origin = "",
  lineage = "",
  now: number | null = null,
): Parameter[] {
  const streams = new Map<string, number>();
  const c = { first: [] as number[], last: [] as number[] };
  const a = { stream: [] as number[], expected: [] as number[], count: [] as number[] };
  const m = {
    append: [] as number[],
    ord: [] as number[],
    schema: [] as number[],
    time: [] as number[],
    publish: [] as number[],
    id: [] as string[],
    type: [] as string[],
    category: [] as string[],
    stream: [] as string[],
    correlation: [] as string[],
    causation: [] as (string | null)[],
    data: [] as string[],
    metadata: [] as string[],
  };
  for (const { appends = [] } of commits) {
    c.first.push(a.stream.length + 1);
    for (const { stream, category, expected, messages, publish } of appends) {
      let index = streams.get(stream);
      if (index === undefined) streams.set(stream, index = streams.size + 1);
      a.stream.push(index);
      a.expected.push(expectation(expected));
      a.count.push(messages.length);
      messages.forEach((message, ord) => {
        m.append.push(a.stream.length);
        m.ord.push(ord + 1);
        m.schema.push(message.schemaVersion);
        m.time.push(message.time);
        m.publish.push(publish ? 1 : 0);
        m.id.push(message.id);
        m.type.push(message.type);
        m.category.push(category);
        m.stream.push(stream);
        m.correlation.push(message.correlationId);
        m.causation.push(message.causationId);
        m.data.push(message.data);
        m.metadata.push(message.metadata ?? "");
      });
    }
    c.last.push(a.stream.length);
  }
  return [
    arrayLiteral([
      ...[commits.length, streams.size, a.stream.length, m.id.length],
      ...c.first,
      ...c.last,
      ...commits.map(({ fence }) => fence?.token ?? null),
      ...a.stream,
      ...a.expected,
      ...a.count,
      ...m.append,
      ...m.ord,
      ...m.schema,
      ...m.time,
      ...m.publish,
    ]),
    arrayLiteral([
      ...streams.keys(),
      ...commits.map(({ fence }) => fence?.lease ?? null),
      ...commits.map(({ once }) => once?.key ?? null),
      ...commits.map(({ once }) => once?.value ?? null),
      ...m.id,
      ...m.type,
      ...m.category,
      ...m.stream,
      ...m.correlation,
      ...m.causation,
    ]),
    m.data.join(SEPARATOR),
    m.metadata.join(SEPARATOR),
    restOf(commits, now),
    origin,
    lineage,
  ];
}

/** Decodes the result of each commit. */
export function fatesOf(commits: readonly Commit[], answer: CommitAnswer): Fate<CommitResult>[] {
  let next = 0;
  return commits.map((commit, i): Fate<CommitResult> => {
    const { appends = [], fence } = commit;
    const first = next;
    next += appends.length;
    switch (answer.status[i]) {
      case 1: {
        const { stream, expected } = appends[answer.culprit[i] - 1 - first];
        return { error: new WrongExpectedVersionError(stream, expected, answer.detail[i]) };
      }
      case 2:
        return { error: new FencedError(fence!.lease, fence!.token) };
      case 5:
        return { error: new AppendConditionError(tagsOf(commit.conditions!)) };
      case 4:
        return { error: new ScheduleChangedError(commit.release!.map(({ key }) => key)) };
      case 3:
        return { ok: { lastPosition: 0, versions: [], repeated: answer.repeated![i] } };
      case 0: {
        const versions = appends.map(({ messages }, k) => answer.bases[first + k] + messages.length);
        return { ok: { lastPosition: answer.detail[i], versions, repeated: null } };
      }
      default:
        throw new Error(`PostgreSQL answered a commit with the status ${answer.status[i]}`);
    }
  });
}

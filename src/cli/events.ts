import type { Command } from "commander";
import { readPayloads } from "../isolation/inspect.ts";
import { didYouMean } from "../lib/did_you_mean.ts";
import { isInternal, type MessageRecord } from "../messages/envelope.ts";
import { isLeftOut, LARGE } from "../store/large.ts";
import { nearest, nearestCorrelation, nearestStream } from "../operating/suggest.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { print, stamp, table } from "./output.ts";
import { since, UsageError, whole } from "./run.ts";

/** The longest payload in a table; JSON documents and what is read as stored have all of it. */
const LONGEST_PAYLOAD = 2_000;

interface Shown {
  readonly json?: boolean;
  readonly raw?: boolean;
}

/** What is not shown need not be read: a thousand messages may have 16 MB each. */
function largestOf({ json, raw }: Shown): { readonly largest?: number } {
  return json || raw ? {} : { largest: LARGE };
}

/** A payload as a cell of a table. */
function cellOf(text: string, raw: boolean): string {
  if (raw || text.length <= LONGEST_PAYLOAD) return text;
  return `${text.slice(0, LONGEST_PAYLOAD - 1)}… (${text.length} characters: --json shows all)`;
}

/** Upcasts payloads with the current code; those it cannot decode are shown as stored. */
async function current(
  { module, config }: Operator,
  records: readonly MessageRecord[],
  raw: boolean,
): Promise<{ message: MessageRecord; payload: unknown; unreadable?: string }[]> {
  if (raw) return records.map((message) => ({ message, payload: message.data }));
  const whole = records.filter((message) => !isLeftOut(message));
  const payloads = await readPayloads(module, config, whole);
  const known = new Map(whole.map((message, i) => [message, payloads[i]]));
  // Reservations are internal: no domain declares their types.
  return records.map((message) => ({
    message,
    ...(isLeftOut(message)
      ? { payload: `(more than ${LARGE} bytes: --json shows it)` }
      : isInternal(message.category)
      ? { payload: JSON.parse(message.data) }
      : known.get(message)!),
  }));
}

async function show(operator: Operator, records: MessageRecord[], options: Shown) {
  const found = await current(operator, records, options.raw ?? false);
  print(
    options.json,
    found.map(({ message: { data: _, metadata, ...rest }, payload, unreadable }) => ({
      ...rest,
      payload,
      metadata: metadata === null ? {} : JSON.parse(metadata),
      ...(unreadable === undefined ? {} : { unreadable }),
    })),
    () =>
      found.length === 0 ? "No messages." : table(
        ["position", "stream", "version", "type", "time", "payload"],
        found.map(({ message, payload, unreadable }) => [
          message.position,
          message.stream,
          message.version,
          `${message.type}${message.schemaVersion > 1 ? ` v${message.schemaVersion}` : ""}`,
          stamp(message.time),
          cellOf(
            unreadable
              ? `(${unreadable}) ${message.data}`
              : typeof payload === "string"
              ? payload
              : JSON.stringify(payload),
            options.raw ?? false,
          ),
        ]),
      ),
  );
}

interface Wanted {
  readonly type?: string;
  readonly category?: string;
  readonly correlationId?: string;
}

/** The names that were given and that the code does not have, each with those that it has. */
function unknownNames({ domain }: Operator, { type, category }: Wanted) {
  return [
    { what: "message type", name: type, known: Object.keys(domain.types), filter: { type } },
    { what: "category", name: category, known: Object.keys(domain.categories), filter: { category } },
  ].filter(({ name, known }) => name !== undefined && !known.includes(name));
}

/** Says why nothing was found: a name that exists nowhere, neither in the code nor in the log, may be misspelt. */
async function explainNothing(operator: Operator, wanted: Wanted): Promise<void> {
  const { store, domain } = operator;
  for (const { what, name, known, filter } of unknownNames(operator, wanted)) {
    const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
    if ((await store.readLog({ ...given, limit: 1, largest: 0 })).length > 0) continue;
    throw new UsageError(`Nothing found: domain "${domain.name}" has no ${what} "${name}"${didYouMean(name!, known)}`);
  }
  const { correlationId } = wanted;
  if (correlationId === undefined) return;
  if ((await store.readLog({ correlationId, limit: 1, largest: 0 })).length > 0) return;
  const meant = await nearestCorrelation(operator, correlationId);
  throw new UsageError(
    `Nothing found: no message has the correlation "${correlationId}"${
      meant === null
        ? `; annals trace ${correlationId} also looks for ids of messages and dead letters`
        : `; did you mean "${meant}"?`
    }`,
  );
}

/** Says that what was found may not be what was meant: the log has a name that the code does not, and that is like another one. */
function noteUnknown(operator: Operator, wanted: Wanted): void {
  for (const { what, name, known } of unknownNames(operator, wanted)) {
    const meant = nearest(name!, known);
    if (meant !== null) console.error(`No code has the ${what} "${name}" (any more); did you mean "${meant}"?`);
  }
}

/** `annals events …` */
export function addEvents(program: Command): void {
  const run = (work: (operator: Operator) => Promise<void>) => withOperator(program.opts<GlobalOptions>(), work);
  const events = program.command("events").description("read the log");

  events.command("read").description("read one stream, like fidelis::account-42").argument("<stream>")
    .option("--from <version>", "the first version", whole)
    .option("--to <version>", "the last version", whole)
    .option("--backward", "newest first")
    .option("--limit <n>", "the maximum number", whole, 1000)
    .option("--raw", "show payloads as stored, without upcasting")
    .option("--json", "print one JSON document")
    .action((stream: string, { from, to, backward, limit, ...options }) =>
      run(async (operator) => {
        const bounds = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
        const range = { ...bounds, backward, limit, ...largestOf(options) };
        const records = await operator.store.readStream(stream, range);
        if (records.length === 0 && (await operator.store.readStream(stream, { limit: 1 })).length === 0) {
          const meant = await nearestStream(operator, stream);
          throw new UsageError(
            `There is no stream "${stream}"; ${
              meant === null
                ? `stream names are CATEGORY-ID, like ${Object.keys(operator.domain.categories)[0]}-42`
                : meant.endsWith("-")
                ? `those of this kind begin with "${meant}"`
                : `did you mean "${meant}"?`
            }`,
          );
        }
        await show(operator, records, options);
      })
    );

  events.command("search").description("search all streams, by position")
    .option("--type <type>", "only this message type")
    .option("--category <category>", "only this category")
    .option("--correlation <id>", "only this correlation id")
    .option("--since <time>", "only messages since a time, or an age such as 15m, 2h, 3d", since)
    .option("--after <position>", "only messages after this position", whole)
    .option("--limit <n>", "the maximum number", whole, 100)
    .option("--raw", "show payloads as stored, without upcasting")
    .option("--json", "print one JSON document")
    .action(({ type, category, correlation, since, after, limit, ...options }) =>
      run(async (operator) => {
        const wanted = { type, category, correlationId: correlation, since, after, limit };
        const given = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
        const records = await operator.store.readLog({ ...given, ...largestOf(options) });
        // What is known to no code may be in the log all the same.
        if (records.length === 0) await explainNothing(operator, given);
        else noteUnknown(operator, given);
        await show(operator, records, options);
      })
    );

  events.command("stats").description("count messages by type")
    .option("--json", "print one JSON document")
    .action((options) =>
      run(async ({ store }) => {
        const counts = new Map<string, { category: string; type: string; count: number; last: number }>();
        for (let after = 0;;) {
          const records = await store.readLog({ after, limit: 5_000, largest: 0 });
          if (records.length === 0) break;
          for (const { category, type, time } of records) {
            const key = `${category} ${type}`;
            const entry = counts.get(key) ?? { category, type, count: 0, last: 0 };
            counts.set(key, { ...entry, count: entry.count + 1, last: Math.max(entry.last, time) });
          }
          after = records[records.length - 1].position;
        }
        const found = [...counts.values()].sort((a, b) => b.count - a.count);
        print(options.json, found, () =>
          found.length === 0 ? "The log is empty." : table(
            ["category", "type", "count", "last"],
            found.map(({ category, type, count, last }) => [category, type, count, stamp(last)]),
          ));
      })
    );
}

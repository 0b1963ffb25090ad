import type { Command } from "commander";
import { scheduleKey, shownKey } from "../domain/scheduling.ts";
import { idFault } from "../messages/ids.ts";
import { millisecondsOf } from "../lib/duration.ts";
import { TIMER } from "../processes/names.ts";
import { ScheduleChangedError } from "../store/errors.ts";
import type { Commit, ScheduledMessage } from "../store/port.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { print, stamp, table } from "./output.ts";
import { UsageError, whole } from "./run.ts";

/** Most scheduled messages read at a time, and most characters of them. */
const PAGE = 500;
const PAGE_CHARACTERS = 4_000_000;

async function find({ store }: Operator, key: string): Promise<ScheduledMessage> {
  // A timer's may be longer than a given one can be.
  for (const name of idFault(key) === null ? [scheduleKey(key), key] : [key]) {
    const [found] = await store.scheduled({ key: name });
    if (found) return found;
  }
  throw new UsageError(`Nothing is scheduled as "${key}"; see: annals schedule list`);
}

/** Goes through what is scheduled, by key, a page at a time. */
async function* all({ store }: Operator): AsyncGenerator<ScheduledMessage> {
  let after: string | undefined;
  for (let limit = 4;;) {
    const page: ScheduledMessage[] = await store.scheduled({ limit, ...(after !== undefined && { after }) });
    yield* page;
    if (page.length < limit) return;
    after = page.at(-1)!.key;
    const characters = page.reduce((sum, { message }) => sum + message.data.length, 1);
    limit = Math.max(1, Math.min(PAGE, 4 * limit, Math.floor(limit * PAGE_CHARACTERS / characters)));
  }
}

/** The first so many in order of due time. */
async function first(operator: Operator, limit: number, isWhole: boolean): Promise<ScheduledMessage[]> {
  const found: ScheduledMessage[] = [];
  const order = () => found.sort((a, b) => a.dueAt - b.dueAt || (a.key < b.key ? -1 : 1)).splice(limit);
  for await (const one of all(operator)) {
    // Payloads may be large, and a table does not show them.
    const kept = isWhole ? one : { ...one, message: { ...one.message, data: "" } };
    if (found.push(kept) >= 2 * limit + PAGE) order();
  }
  order();
  return found;
}

/** Changes a scheduled message, as it was read. */
async function change(
  operator: Operator,
  key: string,
  changes: (found: ScheduledMessage) => Commit,
): Promise<ScheduledMessage> {
  const { message: { id } } = await find(operator, key);
  for (let tries = 1;; tries++) {
    const found = await find(operator, key);
    if (found.message.id !== id) {
      throw new UsageError(
        `What was scheduled as "${key}" was sent or replaced meanwhile; there is another one now: annals schedule show ${
          JSON.stringify(key)
        }`,
      );
    }
    const as = { key: found.key, dueAt: found.dueAt, id: found.message.id };
    try {
      await operator.store.commit({ release: [as], ...changes(found) });
      return found;
    } catch (error) {
      // It was replaced or sent in between.
      if (!(error instanceof ScheduleChangedError) || tries === 10) throw error;
    }
  }
}

/** A time as an operator writes it: ISO 8601, or a length of time from now on, like `2h`. */
function timeOf(text: string): number {
  const time = /^\d+(\.\d+)?[a-z]+$/.test(text) ? Date.now() + millisecondsOf(text) : new Date(text).getTime();
  if (Number.isFinite(time)) return time;
  throw new UsageError(`"${text}" is no time; write it like 2026-01-31T09:00Z, or like 2h from now on`);
}

function plain({ key, dueAt, stream, message }: ScheduledMessage) {
  return { key: shownKey(key), due: stamp(dueAt), type: message.type, stream, message };
}

function describe({ key, dueAt, stream, message }: ScheduledMessage): string {
  return [
    `scheduled    ${shownKey(key)}`,
    `due          ${stamp(dueAt)}`,
    `message      ${message.type} version ${message.schemaVersion}, ${message.id}`,
    `stream       ${stream}`,
    `made         ${stamp(message.time)}`,
    `correlation  ${message.correlationId}`,
    `payload      ${message.data}`,
    ...(message.metadata === null ? [] : [`metadata     ${message.metadata}`]),
  ].join("\n");
}

/** `annals schedule …` */
export function addSchedule(program: Command): void {
  const run = (work: (operator: Operator) => Promise<void>) => withOperator(program.opts<GlobalOptions>(), work);
  const schedule = program.command("schedule").description("inspect, move or cancel what is sent later");

  schedule.command("list").description("list scheduled commands and timers, the next first")
    .option("--limit <n>", "the maximum number", whole, 100)
    .option("--json", "print one JSON document")
    .action((options) =>
      run(async (operator) => {
        const found = await first(operator, options.limit, options.json === true);
        const rows = found.map(({ key, dueAt, stream, message }) => [
          shownKey(key),
          stamp(dueAt),
          message.type,
          stream,
        ]);
        print(
          options.json,
          found.map(plain),
          () => rows.length === 0 ? "Nothing is scheduled." : table(["key", "due", "type", "stream"], rows),
        );
      })
    );

  schedule.command("show").description("show one in full").argument("<key>")
    .option("--json", "print one JSON document")
    .action((key: string, options) =>
      run(async (operator) => {
        const found = await find(operator, key);
        print(options.json, plain(found), () => describe(found));
      })
    );

  schedule.command("move").description("send one at another time").argument("<key>")
    .requiredOption("--to <time>", "a time like 2026-01-31T09:00Z, or 2h from now on")
    .option("--json", "print one JSON document")
    .action((key: string, options) =>
      run(async (operator) => {
        const at = timeOf(options.to);
        await change(operator, key, (found) => ({ schedule: [{ ...entryOf(found), due: { at } }] }));
        print(options.json, { key, due: stamp(at) }, () => `Moved to ${stamp(at)}.`);
      })
    );

  schedule.command("cancel").description("do not send one").argument("<key>")
    .option("--json", "print one JSON document")
    .action((key: string, options) =>
      run(async (operator) => {
        const { message, stream } = await change(operator, key, () => ({}));
        const note = message.type === TIMER.type
          ? ` It was a timer of a process: the instance of ${stream} does not hear of it, and waits for something else, or for good.`
          : "";
        print(options.json, { key, cancelled: true }, () => `Cancelled.${note}`);
      })
    );

  schedule.command("run").description("send one now").argument("<key>")
    .option("--json", "print one JSON document")
    .action((key: string, options) =>
      run(async (operator) => {
        await change(operator, key, (found) => ({ schedule: [{ ...entryOf(found), due: { after: 0 } }] }));
        const note = (await operator.store.members()).length > 0
          ? ""
          : " No server is running; it is sent when one is.";
        print(options.json, { key, due: "now" }, () => `Due now.${note}`);
      })
    );
}

function entryOf({ key, category, stream, message }: ScheduledMessage) {
  return { key, category, stream, message };
}

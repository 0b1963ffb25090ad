import type { Command } from "commander";
import { shownKey } from "../domain/scheduling.ts";
import { millisecondsOf } from "../lib/duration.ts";
import { TIMER } from "../processes/names.ts";
import {
  cancelScheduled,
  findScheduled,
  moveScheduled,
  nextScheduled,
  type ScheduleChange,
} from "../operating/schedule.ts";
import type { Due, ScheduledMessage } from "../store/port.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { print, stamp, table } from "./output.ts";
import { recorded } from "./recorded.ts";
import { UsageError, whole } from "./run.ts";

function absent(key: string): UsageError {
  return new UsageError(`Nothing is scheduled as "${key}"; see: annals schedule list`);
}

/** What was changed, or why not. */
function changed(key: string, { found, fault }: ScheduleChange): ScheduledMessage {
  if (found) return found;
  if (fault === "absent") throw absent(key);
  throw new UsageError(
    `What was scheduled as "${key}" was sent or replaced meanwhile; there is another one now: annals schedule show ${
      JSON.stringify(key)
    }`,
  );
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

/** Sends one at another time. */
async function move(operator: Operator, action: string, key: string, due: Due): Promise<void> {
  changed(key, await recorded(operator, action, { key, ...due }, () => moveScheduled(operator, key, due)));
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
        const found = await nextScheduled(operator, options.limit, options.json === true);
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
        const found = await findScheduled(operator, key);
        if (!found) throw absent(key);
        print(options.json, plain(found), () => describe(found));
      })
    );

  schedule.command("move").description("send one at another time").argument("<key>")
    .requiredOption("--to <time>", "a time like 2026-01-31T09:00Z, or 2h from now on")
    .option("--json", "print one JSON document")
    .action((key: string, options) =>
      run(async (operator) => {
        const at = timeOf(options.to);
        await move(operator, "schedule move", key, { at });
        print(options.json, { key, due: stamp(at) }, () => `Moved to ${stamp(at)}.`);
      })
    );

  schedule.command("cancel").description("do not send one").argument("<key>")
    .option("--json", "print one JSON document")
    .action((key: string, options) =>
      run(async (operator) => {
        const found = await recorded(operator, "schedule cancel", { key }, () => cancelScheduled(operator, key));
        const { message, stream } = changed(key, found);
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
        await move(operator, "schedule run", key, { after: 0 });
        const note = (await operator.store.members()).length > 0
          ? ""
          : " No server is running; it is sent when one is.";
        print(options.json, { key, due: "now" }, () => `Due now.${note}`);
      })
    );
}

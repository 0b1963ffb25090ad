import type { Command } from "commander";
import { didYouMean } from "../lib/did_you_mean.ts";
import {
  abandonInstance,
  inspectorOf,
  instancesOf,
  managersOf,
  outcomesOf,
  STATUSES,
  timersOf,
} from "../operating/processes.ts";
import type { HandledInput, InstanceStatus } from "../processes/inspect.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { print, stamp, table } from "./output.ts";
import type { RehearsalSummary, Rehearsed } from "../processes/rehearsal.ts";
import { rehearse } from "./rehearse.ts";
import { recorded } from "./recorded.ts";
import { since, UsageError, whole } from "./run.ts";

function checkManager(operator: Operator, name: string): void {
  const known = managersOf(operator);
  if (known.includes(name)) return;
  throw new UsageError(
    `Domain "${operator.domain.name}" has no process manager "${name}"${didYouMean(name, known)}`,
  );
}

async function waitsFor(operator: Operator, one: InstanceStatus): Promise<string> {
  const { waiting, error } = one;
  const parts = waiting > 0 ? [`its start (${waiting} events)`] : [];
  for (const { name, dueAt } of error === undefined ? await timersOf(operator, one) : []) {
    parts.push(`timer ${name} ${dueAt === null ? "(fired, or cancelled)" : `at ${stamp(dueAt)}`}`);
  }
  const text = error ?? parts.join(", ");
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

/** How much of what an input has led to is shown in a table. */
const MOST_LED = 20;

function lineOf({ at, input, did, why, sent = [], set = [], unset = [], undo = [], status }: HandledInput) {
  return (outcomes: ReadonlyMap<string, string>): (string | number)[] => {
    const led = [
      ...sent.map(({ id, type, to }) => `${type} to ${to}: ${outcomes.get(id)}`),
      ...set.map(({ name }) => `timer ${name} set`),
      ...unset.map((name) => `timer ${name} over`),
      ...undo.map(({ type }) => `undone by ${type}`),
    ];
    const shown = led.length > MOST_LED ? [...led.slice(0, MOST_LED), `and ${led.length - MOST_LED} more`] : led;
    return [stamp(at), input.type, input.position, why ? `${did}: ${why}` : did, shown.join("; "), status];
  };
}

/** What a rehearsal came to, in words. */
function textOf(sent: readonly Rehearsed[], { events, instances, sent: counts, timers, failures }: RehearsalSummary) {
  const rows = sent.map(({ at, instance, input, position, command, to, payload }) => [
    stamp(at),
    instance,
    position === null ? input : `${input} ${position}`,
    command,
    to,
    JSON.stringify(payload),
  ]);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const lines = rows.length === 0 ? [] : [table(["at", "instance", "because of", "command", "to", "payload"], rows)];
  if (total > rows.length) lines.push(`… and ${total - rows.length} more; see --limit`);
  for (const { instance, position, error } of failures) {
    lines.push(
      `Instance "${instance}" would be set aside${position > 0 ? ` by the event at ${position}` : ""}: ${error}`,
    );
  }
  const each = Object.entries(counts).map(([command, count]) => `${count} ${command}`).join(", ");
  lines.push(
    `${events} events, ${instances} instances; ${
      total === 0 ? "nothing would have been sent" : `would have been sent: ${each}`
    }; ${timers} timers would wait. Nothing was sent.`,
  );
  return lines.join("\n");
}

/** `annals processes …` */
export function addProcesses(program: Command): void {
  const run = (work: (operator: Operator) => Promise<void>) => withOperator(program.opts<GlobalOptions>(), work);
  const processes = program.command("processes").description("inspect and repair the instances of process managers");

  processes.command("list").description("list instances that have not ended")
    .option("--manager <name>", "only of this process manager")
    .option("--status <status>", `only these: ${STATUSES.join(", ")}`)
    .option("--state <status>", "the same")
    .option("--limit <n>", "the maximum number", whole, 100)
    .option("--json", "print one JSON document")
    .action(({ manager, state, status = state, limit, json }) =>
      run(async (operator) => {
        if (manager !== undefined) checkManager(operator, manager);
        if (status !== undefined && !(STATUSES as readonly string[]).includes(status)) {
          throw new UsageError(`There is no status "${status}"${didYouMean(status, STATUSES)}`);
        }
        const { chosen, total } = await instancesOf(operator, { manager, status });
        const shown = chosen.slice(0, limit);
        const rows: string[][] = [];
        for (const one of shown) {
          rows.push([one.manager, one.id, one.status, stamp(one.at), await waitsFor(operator, one)]);
        }
        const head = ["manager", "id", "status", "last input", "waits for"];
        const more = chosen.length > limit ? `\n… and ${chosen.length - limit} more; see --limit, --status` : "";
        const none = status === undefined && total > 0
          ? `No instances but ${total} that have ended; see --status ended.`
          : "No instances.";
        print(json, shown, () => rows.length === 0 ? none : `${table(head, rows)}${more}`);
      })
    );

  processes.command("show").description("show what an instance has handled, and what came of it")
    .argument("<manager>").argument("<id>")
    .option("--limit <n>", "the most inputs, the last ones", whole, 1_000)
    .option("--json", "print one JSON document")
    .action((manager: string, id: string, { limit, json }) =>
      run(async (operator) => {
        checkManager(operator, manager);
        const history = await inspectorOf(operator).history(manager, id, limit);
        if (history.length === 0) {
          const found = (await inspectorOf(operator).instances(manager)).find((one) => one.id === id);
          throw new UsageError(
            found?.error
              ? `Instance "${id}" of "${manager}" was set aside by its first input: ${found.error}`
              : `"${manager}" has no instance "${id}"`,
          );
        }
        const outcomes = await outcomesOf(operator, history);
        const rows = history.map((input) => lineOf(input)(outcomes));
        const value = history.map(({ sent = [], ...input }) => ({
          ...input,
          sent: sent.map((command) => ({ ...command, outcome: outcomes.get(command.id) })),
        }));
        print(json, value, () => table(["at", "input", "position", "did", "led to", "status"], rows));
      })
    );

  processes.command("dry-run").description("say what a process manager would have sent over history; sends nothing")
    .argument("<manager>")
    .option("--since <time>", "only events from then on: a time, or an age like 3d", since, 0)
    .option("--limit <n>", "the most commands to show", whole, 100)
    .option("--json", "print one JSON document")
    .action((manager: string, { since, limit, json }) =>
      run(async (operator) => {
        checkManager(operator, manager);
        const sent: Rehearsed[] = [];
        const summary = await rehearse(operator, manager, since, (one) => void (sent.length < limit && sent.push(one)));
        print(json, { ...summary, commands: sent }, () => textOf(sent, summary));
      })
    );

  processes.command("retry").description("let an instance try again what has set it aside")
    .argument("<manager>").argument("<id>")
    .option("--json", "print one JSON document")
    .action((manager: string, id: string, { json }) =>
      run(async (operator) => {
        checkManager(operator, manager);
        const retry = () => inspectorOf(operator).retry(manager, id);
        if (!await recorded(operator, "processes retry", { manager, id }, retry)) {
          throw new UsageError(`Instance "${id}" of "${manager}" is not set aside`);
        }
        print(json, { manager, id, retried: true }, () => "It is tried again.");
      })
    );

  processes.command("abandon").description("end an instance as it is: nothing is sent or undone")
    .argument("<manager>").argument("<id>")
    .option("--json", "print one JSON document")
    .action((manager: string, id: string, { json }) =>
      run(async (operator) => {
        checkManager(operator, manager);
        const abandon = () => abandonInstance(operator, manager, id);
        if (!await recorded(operator, "processes abandon", { manager, id }, abandon)) {
          throw new UsageError(`"${manager}" has no instance "${id}" that has not ended`);
        }
        print(json, { manager, id, abandoned: true }, () => "Abandoned.");
      })
    );
}

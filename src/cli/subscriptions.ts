import { REPLAY } from "../store/port.ts";
import type { Command } from "commander";
import { leaseName } from "../groups/partition.ts";
import { type GroupStatus, groupStatuses, runningProcesses } from "../operating/groups.ts";
import { type GlobalOptions, withOperator } from "./operator.ts";
import { COLORS, print, span, table } from "./output.ts";
import { paint } from "../telemetry/colors.ts";
import { escapeControl } from "../telemetry/escape.ts";

/** Formats one line per resting partition. */
function rests(groups: readonly GroupStatus[]): string {
  return groups.flatMap(({ group, workers, resting }) =>
    resting.map(({ partition, until, reason }) =>
      `\n${
        leaseName(group, partition, workers)
      } rests until ${until}: its worker ended again and again, at last with: ` +
      `${
        escapeControl(reason)
      }\nMend the cause and restart the server; without that it is tried again when the rest is over.`
    )
  ).join("");
}

/** One line per version of a type that nobody knows. */
function awaiting(groups: readonly GroupStatus[]): string {
  return groups.flatMap(({ group, awaiting }) =>
    Object.entries(awaiting).map(([name, count]) =>
      name === REPLAY
        ? `\n${group}: ${count} instances are set aside; see: annals processes list --status "set aside"`
        : `\n${group}: ${count} messages wait for code that knows ${
          name.replace("@", " version ")
        }; start a server with code that declares it`
    )
  ).join("");
}

/** One line per process: what it works on. */
function processes(members: readonly string[], groups: readonly GroupStatus[]): string {
  if (members.length === 0) return "No server is running.\n\n";
  const lines = members.map((member) => {
    const held = groups.flatMap(({ group, workers, held }) =>
      held.filter(({ process }) => process === member).map(({ partition }) => leaseName(group, partition, workers))
    );
    return `process ${member}: ${held.length === 0 ? "standing by" : held.join(", ")}\n`;
  });
  return `${lines.join("")}\n`;
}

/** `annals subscriptions …` */
export function addSubscriptions(program: Command): void {
  const group = program.command("subscriptions").description("inspect the consumer groups");
  group.command("status").description("show checkpoint, lag and workers of each group")
    .option("--json", "print one JSON document")
    .action((options) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const found = await groupStatuses(operator);
        const members = await runningProcesses(operator);
        print(options.json, found, () =>
          processes(members, found) + table(
            ["group", "kind", "checkpoint", "lag", "behind", "pending", "retrying", "dead", "workers"],
            found.map((status) => [
              status.group,
              status.kind,
              status.checkpoint,
              status.lagMessages,
              status.lagMessages === 0 ? "-" : span(status.lagSeconds * 1000),
              status.pending,
              status.retrying,
              status.dead,
              status.running < status.workers
                ? paint(`${status.running}/${status.workers}`, "red", COLORS)
                : `${status.running}/${status.workers}`,
            ]),
          ) + awaiting(found) + rests(found));
      })
    );
}

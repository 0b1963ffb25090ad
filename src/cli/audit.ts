import type { Command } from "commander";
import { auditRecords } from "../operating/audit.ts";
import { paint } from "../telemetry/colors.ts";
import { type GlobalOptions, withOperator } from "./operator.ts";
import { COLORS, print, stamp, table } from "./output.ts";
import { whole } from "./run.ts";

/** `annals audit` */
export function addAudit(program: Command): void {
  program.command("audit").description("show what operators did, at the command line or in the dashboard, newest first")
    .option("--limit <n>", "the maximum number", whole, 100)
    .option("--before <position>", "only records before this position", whole)
    .option("--json", "print one JSON document")
    .action(({ limit, before, json }) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const found = await auditRecords(operator, { limit, ...(before !== undefined && { before }) });
        print(json, found, () =>
          found.length === 0 ? "No operator has done anything." : table(
            ["position", "at", "who", "what", "to", "failed with"],
            found.map(({ position, at, who, action, details, error }) => [
              position,
              stamp(at),
              who,
              action,
              Object.entries(details).map(([name, value]) =>
                `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`
              ).join(", "),
              error === null ? "" : paint(error, "red", COLORS),
            ]),
          ));
      })
    );
}

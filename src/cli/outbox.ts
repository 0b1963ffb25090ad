import type { Command } from "commander";
import { outboxStatus } from "../operating/outbox.ts";
import { type GlobalOptions, withOperator } from "./operator.ts";
import { print, span } from "./output.ts";

/** `annals outbox …` */
export function addOutbox(program: Command): void {
  program.command("outbox").description("show messages that have not reached the broker yet")
    .command("status").description("show how many are waiting, and for how long")
    .option("--json", "print one JSON document")
    .action((options) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const status = await outboxStatus(operator);
        const { waiting, oldestSeconds, published, relay } = status;
        print(options.json, status, () =>
          [
            `waiting    ${waiting}${waiting === 0 ? "" : `, the oldest for ${span(oldestSeconds * 1000)}`}`,
            `published  up to position ${published}`,
            `relay      ${relay ? `running in ${relay}` : "not running; start the server"}`,
          ].join("\n"));
      })
    );
}

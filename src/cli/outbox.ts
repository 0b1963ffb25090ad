import type { Command } from "commander";
import { type GlobalOptions, withOperator } from "./operator.ts";
import { print, span } from "./output.ts";

/** `annals outbox …` */
export function addOutbox(program: Command): void {
  program.command("outbox").description("show messages that have not reached the broker yet")
    .command("status").description("show how many are waiting, and for how long")
    .option("--json", "print one JSON document")
    .action((options) =>
      withOperator(program.opts<GlobalOptions>(), async ({ store }) => {
        const { waiting, oldest, published } = await store.outboxStatus();
        const seconds = oldest === null ? 0 : Math.max(0, Date.now() - oldest) / 1000;
        const relay = (await store.leases()).find((lease) => lease.name === "$relay" && lease.isHeld);
        const value = { waiting, oldestSeconds: seconds, published, relay: relay?.owner ?? null };
        print(options.json, value, () =>
          [
            `waiting    ${waiting}${oldest === null ? "" : `, the oldest for ${span(seconds * 1000)}`}`,
            `published  up to position ${published}`,
            `relay      ${relay ? `running in ${relay.owner}` : "not running; start the server"}`,
          ].join("\n"));
      })
    );
}

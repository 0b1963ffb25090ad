import type { Command } from "commander";
import { isOfThisMachine } from "../cluster/process_id.ts";
import { type GlobalOptions, withOperator } from "./operator.ts";
import { HealthError } from "./run.ts";

/** `annals health` */
export function addHealth(program: Command): void {
  program.command("health").description(
    "check that a server is running on this machine; exits with 1 if not",
  )
    .action(() =>
      withOperator(program.opts<GlobalOptions>(), async ({ store, domain }) => {
        const members = (await store.members()).filter(({ owner }) => isOfThisMachine(owner));
        if (members.length === 0) throw new HealthError(`No server on this machine runs "${domain.name}"`);
        console.log(`${members.length === 1 ? "A server runs" : `${members.length} servers run`} "${domain.name}"`);
      })
    );
}

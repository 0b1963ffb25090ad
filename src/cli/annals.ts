/**
 * The operator's command-line tool: `deno task annals …`.
 *
 * @module
 */
import { Command } from "commander";
import denoJson from "../../deno.json" with { type: "json" };
import { addAudit } from "./audit.ts";
import { addConfig } from "./config.ts";
import { addDlq } from "./dlq.ts";
import { addDoctor } from "./doctor.ts";
import { addEvents } from "./events.ts";
import { addHealth } from "./health.ts";
import { addOutbox } from "./outbox.ts";
import { addProcesses } from "./processes.ts";
import { addProjections } from "./projections.ts";
import { runCommand } from "./run.ts";
import { addSchedule } from "./schedule.ts";
import { addStore } from "./store.ts";
import { addSubscriptions } from "./subscriptions.ts";
import { addTop } from "./top.ts";
import { addTrace } from "./trace.ts";
import { addTransfer } from "./transfer.ts";

/**
 * Runs one command.
 *
 * @param args Its arguments.
 * @returns The exit code: 0 success, 1 failure, 2 wrong usage or configuration.
 */
export async function annalsCommand(args: readonly string[]): Promise<number> {
  return await runCommand(async () => {
    const program = new Command("annals")
      .description("Inspects and operates a domain.")
      .version(denoJson.version)
      .option("--config <file>", "the server's configuration (default: domain.toml)")
      .option(
        "--domain <name>",
        "the domain: a name or the path of its module (default: the only one in [domains], or ./domain.ts)",
      )
      .addHelpText("after", "\nExit codes: 0 success, 1 failure, 2 wrong usage or configuration.")
      .allowExcessArguments(false)
      .showHelpAfterError("(run with --help for usage)")
      .exitOverride();
    const parts = [
      addSubscriptions,
      addDlq,
      addProjections,
      addProcesses,
      addSchedule,
      addOutbox,
      addEvents,
      addTrace,
      addTop,
      addStore,
      addTransfer,
      addAudit,
      addConfig,
      addHealth,
      addDoctor,
    ];
    for (const add of parts) add(program);
    await program.parseAsync([...args], { from: "user" });
  });
}

if (import.meta.main) Deno.exit(await annalsCommand(Deno.args));

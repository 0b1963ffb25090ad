import { Command, InvalidArgumentError, Option } from "commander";
import denoJson from "../../deno.json" with { type: "json" };
import { loadConfig } from "../config/load.ts";
import { findDomain } from "../engine/domain_path.ts";
import { Engine } from "../engine/engine.ts";
import { logTo } from "../telemetry/log_lines.ts";
import { logLine } from "../telemetry/log_line.ts";
import { configureLogging } from "../telemetry/logging.ts";
import { announceDryRun } from "./dry_run.ts";
import { UsageError } from "./run.ts";

interface Options {
  readonly domain?: string;
  readonly config?: string;
  readonly dryRun?: boolean;
  readonly logFormat: "text" | "json";
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly migrate: boolean;
  readonly acceptNewGroups?: boolean;
  readonly workers?: number;
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d?$/.test(text) || Number(text) > 64) {
    throw new InvalidArgumentError("Expected a whole number from 1 to 64.");
  }
  return Number(text);
}

/**
 * Runs the server's command line.
 *
 * @param args Its arguments.
 * @returns The exit code.
 */
export async function serverCommand(args: readonly string[]): Promise<number> {
  const program = new Command("server.ts")
    .description("Runs a domain: the relay, the subscriptions, and the host processes that run its handlers.")
    .version(denoJson.version)
    .option(
      "--domain <name>",
      "a name from [domains] in domain.toml, the path or URL of a module, or NAME for ./NAME.ts",
    )
    .option("--config <file>", "the configuration file (default: domain.toml, if it exists)")
    .option("--dry-run", "print what would run and with which permissions, then exit")
    .addOption(new Option("--log-format <format>", "format of log lines").choices(["text", "json"]).default("text"))
    .addOption(
      new Option("--log-level <level>", "minimum severity to log").choices(["debug", "info", "warn", "error"]).default(
        "info",
      ),
    )
    .option("--no-migrate", "do not create or update tables: run `annals store migrate` instead")
    .option(
      "--accept-new-groups",
      "run new handlers from the beginning of the log, although others that read the same are gone",
    )
    .option("--workers <n>", "workers per group, unless [server.workers] names the group", wholeNumber)
    .addOption(
      new Option("--no-launcher", "accepted for older start scripts: the launcher no longer exists").hideHelp(),
    )
    .addHelpText(
      "after",
      "\nExit codes: 0 stopped on request, 1 cannot start, 2 wrong usage or configuration, 70 internal error, safe to restart.",
    )
    .allowExcessArguments(false)
    .showHelpAfterError("(run with --help for usage)")
    .exitOverride();
  const options = program.parse([...args], { from: "user" }).opts<Options>();
  configureLogging({ format: options.logFormat, level: options.logLevel });
  const config = loadConfig({
    file: options.config,
    ...(options.workers !== undefined && { workers: options.workers }),
  });
  if (options.domain === undefined) {
    const names = Object.keys(config.domains);
    throw new UsageError(
      `Name a domain, like --domain=${names[0] ?? "./domain.ts"}${
        names.length > 0 ? `; known: ${names.join(", ")}` : ""
      }`,
    );
  }
  const module = findDomain(options.domain, config);
  const engine = new Engine({
    module,
    config,
    migrate: options.migrate,
    acceptNewGroups: options.acceptNewGroups ?? false,
    socket: true,
    http: true,
    print: (line) => console.log(line),
    report: logTo(logLine),
  });
  if (options.dryRun) {
    for (const line of await announceDryRun(await engine.describe(), engine, config)) console.log(line);
    return 0;
  }
  return await runEngine(engine);
}

/** The exit code of an internal error: the service manager should restart the server. */
const CRASHED = 70;

/** Runs until a signal; a second signal exits at once. */
async function runEngine(engine: Engine): Promise<number> {
  let asked!: () => void;
  const stopAsked = new Promise<void>((resolve) => asked = resolve);
  let signals = 0;
  const onSignal = (): void => {
    if (++signals > 1) Deno.exit(0);
    asked();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  const crash = (error: unknown): void => {
    logLine("", "error", `Internal error; nothing is lost and it is safe to restart: ${Deno.inspect(error)}`);
    Deno.exit(CRASHED);
  };
  globalThis.addEventListener("unhandledrejection", (event) => (event.preventDefault(), crash(event.reason)));
  globalThis.addEventListener("error", (event) => (event.preventDefault(), crash(event.error)));
  const started = engine.start();
  try {
    // Stop requested during startup: stop whatever has started.
    await Promise.race([started, stopAsked]);
    await stopAsked;
    console.log("Stopping…");
  } finally {
    engine.stopWaiting();
    await Promise.allSettled([started]);
    await engine.stop();
  }
  console.log("Stopped.");
  Deno.exit(0);
}

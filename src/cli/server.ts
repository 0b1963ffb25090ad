import { Command, InvalidArgumentError, Option } from "commander";
import denoJson from "../../deno.json" with { type: "json" };
import { loadConfig } from "../config/load.ts";
import { findDomain } from "../engine/domain_path.ts";
import { Engine } from "../engine/engine.ts";
import { launch, LAUNCHED, listenToLauncher, START_AGAIN } from "../engine/launcher.ts";
import { configureLogging, logLine } from "../telemetry/logging.ts";
import { announceDryRun } from "./dry_run.ts";
import { UsageError } from "./run.ts";

interface Options {
  readonly domain?: string;
  readonly config?: string;
  readonly dryRun?: boolean;
  readonly logFormat: "text" | "json";
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly launcher: boolean;
  readonly migrate: boolean;
  readonly workers?: number;
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d?$/.test(text) || Number(text) > 64) {
    throw new InvalidArgumentError("Expected a whole number from 1 to 64.");
  }
  return Number(text);
}

/**
 * The command line of the server.
 *
 * @param args Its arguments.
 * @param server The server's module, to start the engine from: a URL.
 * @returns The exit code.
 */
export async function serverCommand(args: readonly string[], server: string): Promise<number> {
  const program = new Command("server.ts")
    .description("Runs a domain: the relay, and one isolated worker for each consumer group.")
    .version(denoJson.version)
    .option("--domain <name>", "a name of [domains] in domain.toml, the path or URL of a module, or NAME for ./NAME.ts")
    .option("--config <file>", "the configuration (default: domain.toml, when there is one)")
    .option("--dry-run", "print what would run and with which permissions, then end")
    .addOption(new Option("--log-format <format>", "how log lines look").choices(["text", "json"]).default("text"))
    .addOption(
      new Option("--log-level <level>", "what is logged").choices(["debug", "info", "warn", "error"]).default("info"),
    )
    .option("--no-migrate", "do not make or update tables: somebody runs `annals store migrate`")
    .option("--workers <n>", "how many workers each group has, where domain.toml does not say", wholeNumber)
    .option("--no-launcher", "do not watch over the engine: systemd, compose or Kubernetes do")
    .addHelpText(
      "after",
      "\nExit codes: 0 stopped as asked, 1 cannot start, 2 wrong usage or configuration, 75 start me again.",
    )
    .allowExcessArguments(false)
    .showHelpAfterError("(--help shows what there is)")
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
  if (options.launcher && !options.dryRun) {
    const log = (level: "warn" | "error", text: string) => logLine("", level, text);
    return await launch({ server, args: [...args, "--no-launcher"], maxHeapMb: config.maxHeapMb, log });
  }
  const engine = new Engine({
    module,
    config,
    migrate: options.migrate,
    socket: true,
    print: (line) => console.log(line),
    log: logLine,
  });
  if (options.dryRun) {
    for (const line of announceDryRun(await engine.describe(), engine, config)) console.log(line);
    return 0;
  }
  return await runEngine(engine);
}

/** Runs until asked to stop; a second signal ends at once. */
async function runEngine(engine: Engine): Promise<number> {
  const launched = Deno.env.get(LAUNCHED) !== undefined;
  let asked!: () => void;
  const stopAsked = new Promise<void>((resolve) => asked = resolve);
  let signals = 0;
  const onSignal = (): void => {
    // A launcher hands on every signal: it counts them.
    if (++signals > 1 && !launched) Deno.exit(0);
    asked();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  if (launched) {
    void listenToLauncher({ stop: asked, abort: () => Deno.exit(0), orphaned: () => Deno.exit(1) });
  }
  const started = engine.start();
  // Asked to stop while it starts: what has begun is stopped all the same.
  await Promise.race([started, stopAsked]);
  const why = await Promise.race([stopAsked.then(() => "asked"), engine.blocked.then(() => "blocked")]);
  if (why === "asked") console.log("Stopping…");
  engine.stopWaiting();
  await Promise.allSettled([started]);
  await engine.stop();
  if (why === "asked") console.log("Stopped.");
  // Threads that cannot be stopped end with the process.
  Deno.exit(why === "blocked" ? START_AGAIN : 0);
}

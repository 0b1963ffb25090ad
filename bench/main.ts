/**
 * Measures the figures in the README, next to the floor: `deno task bench [--only NAME] [--json]`.
 *
 * @module
 */
import { Command } from "commander";
import { table } from "../src/cli/output.ts";
import { didYouMean } from "../src/lib/did_you_mean.ts";
import { append } from "./append.ts";
import { boundaries } from "./boundary.ts";
import { delivery, postgresAppend, relayCheck } from "./distributed.ts";
import { faults, handlers, handlersDistributed } from "./hosts.ts";
import { load } from "./load.ts";
import { processes } from "./process.ts";
import { projections } from "./projections.ts";
import { relay } from "./relay.ts";
import type { Result } from "./result.ts";
import { growth } from "./growth.ts";
import { schedule } from "./schedule.ts";
import { idle, idleDistributed, simulate, simulateDistributed, size, sizeDistributed } from "./server.ts";
import { subscription } from "./subscription.ts";
import { tracing } from "./tracing.ts";

const BENCHES: Record<string, () => Promise<Result[]>> = {
  append,
  subscription,
  relay,
  load,
  simulate,
  size,
  idle,
  handlers,
  "postgres-append": postgresAppend,
  delivery,
  "relay-check": relayCheck,
  boundaries,
  schedule,
  processes,
  projections,
  tracing,
  "distributed-simulate": simulateDistributed,
  "distributed-size": sizeDistributed,
  "distributed-idle": idleDistributed,
  "distributed-handlers": handlersDistributed,
  faults,
};

/** Also those that take minutes and many gigabytes: only when asked for. */
const KNOWN: Record<string, () => Promise<Result[]>> = { ...BENCHES, growth };

const program = new Command("bench")
  .option("--only <name>", `one of ${Object.keys(KNOWN).join(", ")}`)
  .option("--json", "print one JSON object");
const { only, json } = program.parse(Deno.args, { from: "user" }).opts<{ only?: string; json?: boolean }>();
if (only !== undefined && !(only in KNOWN)) {
  console.error(`There is no bench "${only}"${didYouMean(only, Object.keys(KNOWN))}`);
  Deno.exit(2);
}
const results: Result[] = [];
for (const [name, bench] of Object.entries(only === undefined ? BENCHES : { [only]: KNOWN[only] })) {
  if (Deno.stderr.isTerminal()) console.error(`measuring ${name}…`);
  results.push(...await bench());
}
if (json) console.log(JSON.stringify({ results }));
else {
  console.log(table(
    ["what", "value", "unit", "floor", "ratio", "goal", "met"],
    results.map(({ name, value, unit, floor, ratio, goal, met }) => [
      name,
      value.toLocaleString("en"),
      unit,
      floor === null ? "-" : floor.toLocaleString("en"),
      ratio ?? "-",
      goal,
      met ? "yes" : "NO",
    ]),
  ));
}
Deno.exit(0);

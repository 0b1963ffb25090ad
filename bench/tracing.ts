import { command } from "../tests/support/command.ts";
import { type Server, Site } from "../tests/support/server.ts";
import { median, ratioAtLeast, type Result } from "./result.ts";

const MODULE = new URL("../examples/fidelis/domain.ts", import.meta.url);
const WARM = ["--accounts", "100", "--operations", "2000", "--transfers", "0"];
const FULL = ["--accounts", "100", "--operations", "5000", "--transfers", "0"];

/** The number of alternating measurements of each setting; the medians are compared. */
const ROUNDS = 7;

/** The least that is to be left of the throughput: when one command in ten is traced, and when all are. */
const GOALS = { tenth: 0.9, all: 0.7 };

/** Compares the throughput of the ledger with and without traces; whoever takes them drops them. */
export async function tracing(): Promise<Result[]> {
  await using collector = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    await request.arrayBuffer();
    return new Response();
  });
  const on = {
    OTEL_DENO: "true",
    OTEL_DENO_CONSOLE: "ignore",
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.addr.port}`,
  };
  const settings = [
    { env: {}, toml: "" },
    { env: on, toml: "[server.telemetry]\nsample = 0.1\n" },
    { env: on, toml: "" },
  ];
  const grounds: { site: Site; server: Server; env: Record<string, string>; rates: number[] }[] = [];
  for (const { env, toml } of settings) {
    const site = Site.make("fidelis", MODULE, toml, env);
    const server = await site.start().running();
    await simulate(site, env, WARM);
    grounds.push({ site, server, env, rates: [] });
  }
  // Alternate, so that other load on the machine affects all alike.
  for (let round = 0; round < ROUNDS; round++) {
    for (const { site, env, rates } of grounds) rates.push(await simulate(site, env, FULL));
  }
  for (const { site, server } of grounds) {
    await server.stop();
    await site[Symbol.asyncDispose]();
  }
  const [off, tenth, all] = grounds.map(({ rates }) => median(rates));
  const name = "SQLite: simulate --transfers 0";
  return [
    ratioAtLeast(`${name}, one in ten traced; floor: none is taken`, tenth, "operations/s", GOALS.tenth, off),
    ratioAtLeast(`${name}, all traced; floor: none is taken`, all, "operations/s", GOALS.all, off),
  ];
}

async function simulate(site: Site, env: Record<string, string>, args: readonly string[]): Promise<number> {
  const { stdout, stderr } = await command(
    "fidelis",
    ["--config", site.file, "simulate", "--json", ...args],
    site.folder,
    env,
  );
  const { balanced, operationsPerSecond } = JSON.parse(stdout);
  if (!balanced) throw new Error(`The books do not balance: ${stdout}${stderr}`);
  return operationsPerSecond;
}

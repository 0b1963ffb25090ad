import { command } from "../tests/support/command.ts";
import { type Server, Site } from "../tests/support/server.ts";
import { median, ratioAtLeast, type Result } from "./result.ts";

const MODULE = new URL("../examples/fidelis/domain.ts", import.meta.url);
const OPERATIONS = 5_000;

/** The number of alternating measurements of each setting; the medians are compared. */
const ROUNDS = 5;

/** The least that is to be left: when one command in ten is traced, and when all are. */
const GOALS = { tenth: 0.9, all: 0.9 };

/**
 * Compares what a server does with its CPU time with and without traces, in the engine and its hosts; whoever takes the traces
 * drops them. Throughput depends on what else the machine does, and more than traces cost.
 */
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
    const site = Site.make("fidelis", MODULE, `[server.http]\nlisten = "off"\n${toml}`, env);
    const server = await site.start().running();
    await simulate(site, env);
    grounds.push({ site, server, env, rates: [] });
  }
  // Alternate, so that other load on the machine affects all alike.
  for (let round = 0; round < ROUNDS; round++) {
    for (const { site, server, env, rates } of grounds) {
      const before = cpuOf(server);
      await simulate(site, env);
      rates.push(OPERATIONS / (cpuOf(server) - before));
    }
  }
  for (const { site, server } of grounds) {
    await server.stop();
    await site[Symbol.asyncDispose]();
  }
  const [off, tenth, all] = grounds.map(({ rates }) => median(rates));
  const unit = "operations per second of the server's CPU time";
  return [
    ratioAtLeast("SQLite: simulate, one command in ten traced; floor: none is", tenth, unit, GOALS.tenth, off),
    ratioAtLeast("SQLite: simulate, all commands traced; floor: none is", all, unit, GOALS.all, off),
  ];
}

/** The CPU time of a server so far, with its hosts, in seconds. */
function cpuOf(server: Server): number {
  return [server.pid, ...server.hostPids()].reduce((sum, pid) => {
    const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1].split(" ");
    return sum + (Number(fields[11]) + Number(fields[12])) / 100;
  }, 0);
}

async function simulate(site: Site, env: Record<string, string>): Promise<void> {
  const load = ["simulate", "--json", "--accounts", "100", "--operations", String(OPERATIONS), "--transfers", "0"];
  const { stdout, stderr } = await command("fidelis", ["--config", site.file, ...load], site.folder, env);
  if (!JSON.parse(stdout).balanced) throw new Error(`The books do not balance: ${stdout}${stderr}`);
}

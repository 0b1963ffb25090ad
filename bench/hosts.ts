import many, { Ask, Seen } from "./many_domain.ts";
import tally, { Add } from "../tests/fixtures/tally/domain.ts";
import type { Client } from "@annals/annals/client";
import { Redis } from "ioredis";
import postgres from "postgres";
import { type Server, Site } from "../tests/support/server.ts";
import { atMost, type Result } from "./result.ts";
import { startServices } from "./services.ts";

const MODULE = new URL("./many_domain.ts", import.meta.url);
const TALLY = new URL("../tests/fixtures/tally/domain.ts", import.meta.url);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Reads the resource usage of processes from /proc. */
function usage(pids: readonly number[]): { mb: number; files: number; cpuMs: number } {
  let [mb, files, cpuMs] = [0, 0, 0];
  for (const pid of pids) {
    mb += Number(/VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]) / 1024;
    files += [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
    const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ").at(-1)!.split(" ");
    cpuMs += (Number(fields[11]) + Number(fields[12])) * 10;
  }
  return { mb, files, cpuMs };
}

const pidsOf = (server: Server) => [server.pid, ...server.hostPids()];

/** Measures the same number of workers without an engine; see `bare_workers.ts`. */
async function bareWorkers(count: number): Promise<{ seconds: number; mb: number; files: number }> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--unstable-worker-options", "--config", new URL("../deno.json", import.meta.url).pathname],
      ...[new URL("./bare_workers.ts", import.meta.url).href, MODULE.href, String(count)],
    ],
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Measures a hundred handlers, with one or 25 per worker. */
async function hundred(on: string, toml: string, perWorker: number, goals: [s: number, mb: number]): Promise<Result[]> {
  await using site = Site.make("many", MODULE, `${toml}\n[server]\nhandlers_per_worker = ${perWorker}\n`);
  await (await site.start().running()).stop();
  const floor = await bareWorkers(100 / perWorker);
  const began = performance.now();
  const server = await site.start().running();
  const seconds = (performance.now() - began) / 1000;
  await pause(5_000);
  const before = usage(pidsOf(server));
  await pause(10_000);
  const after = usage(pidsOf(server));
  await server.stop();
  const what = `${on}: 100 handlers${perWorker === 1 ? "" : `, ${perWorker} to a worker`}`;
  return [
    atMost(`${what}, start`, seconds, "s", goals[0], floor.seconds),
    atMost(`${what}, memory of all processes`, after.mb, "MB", goals[1], floor.mb),
    atMost(`${what}, open files`, after.files, "files", 300, floor.files),
    atMost(`${what}, idle`, (after.cpuMs - before.cpuMs) / 100, "% of a core", 5),
  ];
}

/** Measures a hundred handlers with embedded services. */
export const handlers = async (): Promise<Result[]> => [
  ...await hundred("SQLite", "", 1, [8, 1_300]),
  ...await hundred("SQLite", "", 25, [3, 350]),
];

/** The same on Redis and PostgreSQL with the default number of connections. */
export async function handlersDistributed(): Promise<Result[]> {
  const services = await startServices();
  const sql = postgres(services.postgres.url, { max: 1, fetch_types: false });
  const redis = new Redis(services.redis.url);
  const results = [
    ...await hundred("Redis + PostgreSQL", services.toml, 1, [8, 1_300]),
    ...await hundred("Redis + PostgreSQL", services.toml, 25, [3, 350]),
  ];
  await using site = Site.make("many", MODULE, services.toml);
  const server = await site.start().running();
  const queries = async () =>
    Number((await sql`select sum(xact_commit) as n from pg_stat_database where datname = current_database()`)[0].n);
  await pause(2_000);
  const [{ n }] = await sql`select count(*)::int as n from pg_stat_activity where application_name like 'annals%'`;
  const clients =
    (await redis.client("LIST") as string).split("\n").filter((line) => line.includes("name=annals")).length;
  const asked = await queries();
  await pause(10_000);
  const rate = (await queries() - asked) / 10;
  await server.stop();
  await redis.quit();
  await sql.end();
  await services.stop();
  return [
    ...results,
    atMost("Redis + PostgreSQL: 100 handlers, connections", n + clients, "connections", 10),
    atMost("Redis + PostgreSQL: 100 handlers, queries of an idle server", rate, "a second", 30),
  ];
}

/** Returns the longest time a counter did not grow while something was done. */
async function longestPause(figure: () => Promise<number>, feed: () => Promise<unknown>, work: () => Promise<unknown>) {
  let [longest, last, seen, going] = [0, performance.now(), await figure(), true];
  const feeding = (async () => {
    while (going) await Promise.all([feed(), pause(25)]);
  })();
  const watching = (async () => {
    while (going) {
      const now = await figure();
      if (now > seen) {
        longest = Math.max(longest, performance.now() - last);
        [seen, last] = [now, performance.now()];
      }
      await pause(10);
    }
  })();
  await work();
  going = false;
  await Promise.all([feeding, watching]);
  return longest / 1000;
}

/** Measures the pause of other groups when a handler ends its host, and when a server is killed. */
export async function faults(): Promise<Result[]> {
  const results: Result[] = [];
  {
    await using site = Site.make("many", new URL("./few_domain.ts", import.meta.url));
    const server = await site.start().running();
    const client: Client = await site.connect(many);
    let n = 0;
    const send = (kind: string) => client.process(Ask({ id: `${n++ % 20}`, kind }));
    const seconds = await longestPause(
      async () => (await client.row(Seen, "all"))?.n ?? 0,
      () => send("fine"),
      async () => {
        await pause(1_000);
        await send("kill");
        await pause(5_000);
      },
    );
    await client.close();
    await server.stop();
    results.push(atMost("SQLite: a handler kills its host, longest pause of another group", seconds, "s", 1));
  }
  const services = await startServices();
  {
    await using site = Site.make("tally", TALLY, services.toml);
    const servers = [await site.start().running(), await site.start().running()];
    const client: Client = await site.connect(tally);
    await pause(3_000);
    let n = 0;
    const owner = async () =>
      (await client.store.leases()).find(({ group, expiresAt }) => group === "SeenProjector" && expiresAt > 0)?.owner;
    const holder = parseInt((await owner())!.split(":")[1]);
    const seconds = await longestPause(
      async () => (await client.store.checkpoints("SeenProjector"))[0]?.position ?? 0,
      () => client.process(Add({ id: `${n % 20}`, n: n++ })),
      async () => {
        await pause(1_000);
        Deno.kill(holder, "SIGKILL");
        await pause(8_000);
      },
    );
    await client.close();
    for (const server of servers) await server.kill();
    results.push(
      atMost("Redis + PostgreSQL: one of two servers is killed, longest pause of its groups", seconds, "s", 2),
    );
  }
  await services.stop();
  return results;
}

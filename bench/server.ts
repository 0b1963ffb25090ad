import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { PostgresEventStore } from "@annals/annals/store/postgres";
import type { EventStore } from "@annals/annals/store";
import { DatabaseSync } from "node:sqlite";
import postgres from "postgres";
import { command } from "../tests/support/command.ts";
import { type Server, Site } from "../tests/support/server.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { atLeast, atMost, median, ratioAtLeast, type Result } from "./result.ts";
import { startServices } from "./services.ts";

const MODULE = new URL("../examples/fidelis/domain.ts", import.meta.url);

interface Simulated {
  readonly balanced: boolean;
  readonly operationsPerSecond: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
}

async function run(site: Site, ...args: string[]): Promise<Simulated> {
  const { stdout, stderr } = await command(
    "fidelis",
    ["--config", site.file, "simulate", "--json", ...args],
    site.folder,
  );
  const result = JSON.parse(stdout) as Simulated;
  if (!result.balanced) throw new Error(`The books do not balance: ${stdout}${stderr}`);
  return result;
}

// Transfers are several operations each, and are measured by themselves.
const NO_TRANSFERS = ["--transfers", "0"];
const WARM = ["--accounts", "100", "--operations", "2000", ...NO_TRANSFERS];
const FULL = ["--accounts", "100", "--operations", "10000", ...NO_TRANSFERS];
const SLOW = ["--accounts", "100", "--operations", "1500", "--rate", "100", ...NO_TRANSFERS];
const TRANSFERS = ["--accounts", "100", "--operations", "3000", "--transfers", "100", "--concurrency", "200"];

/** How many transfers a second are to end, of five messages each. */
const TRANSFER_GOAL = 300;

/** The services that the ledger runs on. */
interface Setting {
  readonly on: string;
  readonly toml: string;
  readonly open: (site: Site) => Promise<EventStore>;
  readonly stop: () => Promise<void>;
  /** Runs maintenance now, so that cleaning up after filling the log does not disturb the measurement. */
  readonly settle: () => Promise<void>;
  /** The number of queries so far; `null` if unknown. */
  readonly queries: () => Promise<number | null>;
  readonly goals: { readonly rate: number; readonly p50: number; readonly p99: number };
}

function embedded(): Promise<Setting> {
  return Promise.resolve({
    on: "SQLite",
    toml: "",
    open: (site) =>
      Promise.resolve(new SqliteEventStore({ path: `${site.folder}/.annals/fidelis.db`, synchronous: "normal" })),
    stop: () => Promise.resolve(),
    settle: () => Promise.resolve(),
    queries: () => Promise.resolve(null),
    goals: { rate: 2_000, p50: 15, p99: 60 },
  });
}

async function distributed(): Promise<Setting> {
  const services = await startServices();
  const sql = postgres(services.postgres.url, { max: 1, fetch_types: false });
  return {
    on: "Redis + PostgreSQL",
    toml: services.toml,
    open: async () => {
      const store = new PostgresEventStore({ url: services.postgres.url });
      await store.migrate();
      return store;
    },
    stop: async () => {
      await sql.end();
      await services.stop();
    },
    settle: () => services.settle(),
    queries: async () =>
      Number((await sql`select sum(xact_commit) as n from pg_stat_database where datname = current_database()`)[0].n),
    goals: { rate: 2_500, p50: 10, p99: 50 },
  };
}

/** One row per transaction, synced to disk: the least that an operation costs, several times over. */
function commits(folder: string): { perSecond: number; ms: number } {
  const db = new DatabaseSync(`${folder}/floor.db`);
  db.exec("pragma journal_mode = wal; pragma synchronous = full; create table t (data text)");
  const insert = db.prepare("insert into t values (?)");
  const began = performance.now();
  let count = 0;
  for (; performance.now() - began < 1_500; count++) insert.run("x".repeat(300));
  const seconds = (performance.now() - began) / 1000;
  db.close();
  return { perSecond: count / seconds, ms: seconds * 1000 / count };
}

/** The number of alternating measurements of each of two settings; the medians are compared. */
const ROUNDS = 5;

/** Measures the ledger under load, with the real server and command line. */
export const simulate = (): Promise<Result[]> => simulateOn(embedded);
/** The same on Redis and PostgreSQL. */
export const simulateDistributed = (): Promise<Result[]> => simulateOn(distributed);

async function simulateOn(make: () => Promise<Setting>): Promise<Result[]> {
  const setting = await make();
  await using site = Site.make("fidelis", MODULE, setting.toml);
  const server = await site.start().running();
  const floor = commits(site.folder);
  await run(site, ...WARM);
  const full = await run(site, ...FULL);
  const transfers = await run(site, ...TRANSFERS);
  const slow = await run(site, ...SLOW);
  await server.stop();
  await setting.stop();
  const { on, goals } = setting;
  const name = `${on}: simulate --accounts 100 --operations 10000 --transfers 0`;
  return [
    atLeast(
      `${name}; floor: durable one-row commits`,
      full.operationsPerSecond,
      "operations/s",
      goals.rate,
      floor.perSecond,
    ),
    atMost(
      `${on}: command to projection at 100 operations/s, p50; floor: one durable commit`,
      slow.latencyMs.p50,
      "ms",
      goals.p50,
      floor.ms,
    ),
    atMost(
      `${on}: command to projection at 100 operations/s, p99; floor: one durable commit`,
      slow.latencyMs.p99,
      "ms",
      goals.p99,
      floor.ms,
    ),
    atLeast(`${on}: transfers, from end to end`, transfers.operationsPerSecond, "transfers/s", TRANSFER_GOAL),
  ];
}

/** Fills the log with events of other accounts, as if handled long ago. */
async function fill(store: EventStore, events: number): Promise<void> {
  let accounts = 0;
  while (await store.lastPosition() < events) {
    await store.commit({
      appends: Array.from({ length: 500 }, () => {
        const accountId = `old-${accounts++}`;
        const opened = { accountId, accountNumber: accountId, holderName: "Old", openingDeposit: 0 };
        return {
          category: "fidelis::account",
          stream: `fidelis::account-${accountId}`,
          expected: "none" as const,
          publish: false,
          messages: Array.from(
            { length: 10 },
            (_, n) =>
              n === 0
                ? sampleMessage(opened, { type: "AccountOpened" })
                : sampleMessage({ accountId, amount: n, sourceType: "x" }, { type: "DepositMade", schemaVersion: 2 }),
          ),
        };
      }),
      rows: Array.from({ length: 500 }, (_, i) => {
        const accountId = `old-${accounts - 500 + i}`;
        const row = {
          accountId,
          accountNumber: accountId,
          holderName: "Old",
          balance: 45,
          transactionCount: 9,
          lastTransactionAt: null,
          status: "active",
        };
        return { projection: "AccountSummary", key: accountId, row: JSON.stringify(row), position: events + 10_000 };
      }),
    });
  }
  const position = await store.lastPosition();
  await store.markPublished(position);
  for (
    const group of ["AccountCommandHandler", "AccountSummaryProjector", "ComplianceAlertHandler", "NotificationHandler"]
  ) {
    const category = group === "AccountCommandHandler" ? "fidelis::account:command" : "fidelis::account";
    await store.commit({ checkpoint: { group, category, partitions: 1, partition: 0, position } });
  }
  await store.close();
}

/** Compares the throughput with a small and a large log. */
export const size = (): Promise<Result[]> => sizeOn(embedded);
/** The same on Redis and PostgreSQL. */
export const sizeDistributed = (): Promise<Result[]> => sizeOn(distributed);

async function sizeOn(make: () => Promise<Setting>): Promise<Result[]> {
  const grounds = [];
  for (const events of [10_000, 1_000_000]) {
    const setting = await make();
    const site = Site.make("fidelis", MODULE, setting.toml);
    await fill(await setting.open(site), events);
    await setting.settle();
    const server = await site.start().running();
    await run(site, ...WARM);
    grounds.push({ setting, site, server, rates: [] as number[] });
  }
  // Alternate, so that other load on the machine affects both alike.
  for (let round = 0; round < ROUNDS; round++) {
    for (const { site, rates } of grounds) rates.push((await run(site, ...FULL)).operationsPerSecond);
  }
  for (const { setting, site, server } of grounds) {
    await server.stop();
    await setting.stop();
    await site[Symbol.asyncDispose]();
  }
  const [few, many] = grounds.map(({ rates }) => median(rates));
  const what = `${grounds[0].setting.on}: simulate with 1,000,000 events stored; floor: with 10,000`;
  return [ratioAtLeast(what, many, "operations/s", 0.9, few)];
}

/** CPU time of a process and its threads so far, in milliseconds. */
function cpu(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function started(site: Site): Promise<{ server: Server; seconds: number }> {
  const began = performance.now();
  const server = await site.start().running();
  return { server, seconds: (performance.now() - began) / 1000 };
}

/** Measures startup time and idle cost. */
export const idle = (): Promise<Result[]> => idleOn(embedded);
/** The same on Redis and PostgreSQL. */
export const idleDistributed = (): Promise<Result[]> => idleOn(distributed);

async function idleOn(make: () => Promise<Setting>): Promise<Result[]> {
  const setting = await make();
  await using site = Site.make("fidelis", MODULE, setting.toml);
  await (await started(site)).server.stop();
  const { server, seconds } = await started(site);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const pids = [server.pid, ...server.hostPids()];
  const before = pids.reduce((sum, pid) => sum + cpu(pid), 0);
  const asked = await setting.queries();
  await new Promise((resolve) => setTimeout(resolve, 20_000));
  const used = pids.reduce((sum, pid) => sum + cpu(pid), 0) - before;
  const queries = asked === null ? null : (await setting.queries())! - asked;
  await server.stop();
  await setting.stop();
  const empty = await new Deno.Command(Deno.execPath(), { args: ["eval", "performance.now()"] }).output().then(
    async () => {
      const began = performance.now();
      await new Deno.Command(Deno.execPath(), { args: ["eval", "0"] }).output();
      return (performance.now() - began) / 1000;
    },
  );
  return [
    atMost(`${setting.on}: idle server`, used / 20_000 * 100, "% of a core", 2),
    ...(queries === null ? [] : [atMost(`${setting.on}: queries of an idle server`, queries / 20, "a second", 20)]),
    atMost(`${setting.on}: start to “Engine running”; floor: an empty Deno process`, seconds, "s", 1.5, empty),
  ];
}

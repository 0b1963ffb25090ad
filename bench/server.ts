import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { DatabaseSync } from "node:sqlite";
import { command } from "../tests/support/command.ts";
import { type Server, Site } from "../tests/support/server.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { atLeast, atMost, ratioAtLeast, type Result } from "./result.ts";

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

const WARM = ["--accounts", "100", "--operations", "2000"];
const FULL = ["--accounts", "100", "--operations", "10000"];
const SLOW = ["--accounts", "100", "--operations", "1500", "--rate", "100"];

/** One row a transaction, waiting for the disk: what an operation costs at the very least, several times over. */
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

/** The ledger under load: the real server and the real command line. */
export async function simulate(): Promise<Result[]> {
  await using site = Site.make("fidelis", MODULE);
  const server = await site.start().running();
  const floor = commits(site.folder);
  await run(site, ...WARM);
  const full = await run(site, ...FULL);
  const slow = await run(site, ...SLOW);
  await server.stop();
  const name = "simulate --accounts 100 --operations 10000";
  return [
    atLeast(
      `${name}; floor: durable one-row commits`,
      full.operationsPerSecond,
      "operations/s",
      2_000,
      floor.perSecond,
    ),
    atMost(
      "command to projection at 100 operations/s, p50; floor: one durable commit",
      slow.latencyMs.p50,
      "ms",
      15,
      floor.ms,
    ),
    atMost(
      "command to projection at 100 operations/s, p99; floor: one durable commit",
      slow.latencyMs.p99,
      "ms",
      60,
      floor.ms,
    ),
  ];
}

/** Fills the log with other accounts' events, as if the server had handled them long ago. */
async function fill(site: Site, events: number): Promise<void> {
  const store = new SqliteEventStore({ path: `${site.folder}/.annals/fidelis.db`, synchronous: "normal" });
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

/** The same rate with little and with much in the log. */
export async function size(): Promise<Result[]> {
  const rates: number[] = [];
  for (const events of [10_000, 1_000_000]) {
    await using site = Site.make("fidelis", MODULE);
    await fill(site, events);
    const server = await site.start().running();
    await run(site, ...WARM);
    // The better of two: the machine is not alone.
    const [first, second] = [await run(site, ...FULL), await run(site, ...FULL)];
    rates.push(Math.max(first.operationsPerSecond, second.operationsPerSecond));
    await server.stop();
  }
  return [
    ratioAtLeast("simulate with 1,000,000 events stored; floor: with 10,000", rates[1], "operations/s", 0.9, rates[0]),
  ];
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

/** How long the start takes, and what doing nothing costs. */
export async function idle(): Promise<Result[]> {
  await using site = Site.make("fidelis", MODULE);
  await (await started(site)).server.stop();
  const { server, seconds } = await started(site);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const pids = [server.pid, server.enginePid()!];
  const before = pids.reduce((sum, pid) => sum + cpu(pid), 0);
  await new Promise((resolve) => setTimeout(resolve, 20_000));
  const used = pids.reduce((sum, pid) => sum + cpu(pid), 0) - before;
  await server.stop();
  const empty = await new Deno.Command(Deno.execPath(), { args: ["eval", "performance.now()"] }).output().then(
    async () => {
      const began = performance.now();
      await new Deno.Command(Deno.execPath(), { args: ["eval", "0"] }).output();
      return (performance.now() - began) / 1000;
    },
  );
  return [
    atMost("idle server", used / 20_000 * 100, "% of a core", 2),
    atMost("start to “Engine running”; floor: an empty Deno process", seconds, "s", 1.5, empty),
  ];
}

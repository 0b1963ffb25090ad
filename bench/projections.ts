import { DatabaseSync } from "node:sqlite";
import { Client } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { PostgresEventStore } from "@annals/annals/store/postgres";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import postgres from "postgres";
import { indexesOf } from "../src/engine/generation_runner.ts";
import { placeWorkers } from "../src/engine/placement.ts";
import { Capability } from "../src/isolation/capability.ts";
import { codeOf, inspect, poolFor } from "../src/isolation/inspect.ts";
import { workerPermissions } from "../src/isolation/permissions.ts";
import { REAL_CLOCK } from "../src/lib/clock.ts";
import { Builder } from "../src/projections/builder.ts";
import { placeGenerations } from "../src/projections/place.ts";
import type { EventStore } from "../src/store/port.ts";
import { rowsSql } from "../src/store/sqlite/rows.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import domain, { Balance } from "./balance_domain.ts";
import { atLeast, atMost, median, type Result } from "./result.ts";
import { startServices } from "./services.ts";

const MODULE = import.meta.resolve("./balance_domain.ts");
const EVENTS = 1_000_000;
const ACCOUNTS = 10_000;
const ROWS = 1_000_000;
const TOGETHER = 5_000;
const PAGE = 50;
const QUERIES = 200;
const CATEGORY = "balances::account";

async function fill(store: EventStore): Promise<void> {
  for (let n = 0; n < EVENTS; n += TOGETHER) {
    const byStream = Map.groupBy(
      Array.from({ length: TOGETHER }, (_, i) => (n + i) * 7_919 % ACCOUNTS),
      (account) => `a${account}`,
    );
    await store.commit({
      appends: [...byStream].map(([accountId, those]) => ({
        category: CATEGORY,
        stream: `${CATEGORY}-${accountId}`,
        expected: "any",
        publish: false,
        messages: those.map(() =>
          sampleMessage({ accountId, amount: 1, reference: "a deposit of some length" }, { type: "Deposited" })
        ),
      })),
    });
  }
}

/** Builds the rows from the log, in a host; events per second. */
async function build(store: EventStore): Promise<number> {
  const config = loadConfig({ text: "", env: () => undefined });
  const code = codeOf(MODULE, config);
  const pool = poolFor(code, config, () => {});
  const described = await inspect(pool, code, config);
  const { units, unitOf } = placeWorkers(described, config, () => ({
    module: MODULE,
    permissions: workerPermissions(code, {}),
    env: {},
  }));
  for (const unit of units) pool.add(unit);
  const [handler] = described.handlers;
  const worker = (readRows: EventStore["readRows"]) =>
    pool.workerOf(unitOf(handler.name, 0), {
      group: handler.name,
      capability: new Capability(described, handler, false),
      timeout: 30_000,
      sql: false,
      store: {
        readStream: store.readStream.bind(store),
        readAt: store.readAt.bind(store),
        readTagged: store.readTagged.bind(store),
        readSnapshot: store.readSnapshot.bind(store),
        outcome: store.outcome.bind(store),
        readRows,
      },
      now: Date.now,
    });
  await worker(store.readRows.bind(store)).load();
  await placeGenerations(store, described.projections);
  const request = { name: "$build#0/1", group: "$build", partitions: 1, owner: "bench", ttl: 600_000 };
  const { token } = (await store.acquireLease(request))!;
  const builder = new Builder({
    store,
    group: handler.name,
    categories: handler.categories,
    handles: new Set(handler.handles),
    fence: { lease: request.name, token },
    share: () => 1,
    clock: REAL_CLOCK,
    open: (readRows) => worker(readRows).open(),
  });
  const begunAt = performance.now();
  await builder.run(new AbortController().signal);
  const rate = EVENTS / ((performance.now() - begunAt) / 1000);
  await pool.stop();
  const rows = await store.countRows({ projection: "Balance@1", where: [] });
  if (rows !== ACCOUNTS) throw new Error(`${rows} rows instead of ${ACCOUNTS}`);
  return rate;
}

/** Fills a million rows. */
async function fillRows(store: EventStore): Promise<void> {
  const known = { ...Balance, version: 1, group: "BalanceProjector", fields: [...Balance.fields] };
  for (let n = 0; n < ROWS; n += TOGETHER) {
    await store.commit({
      rows: Array.from({ length: TOGETHER }, (_, i) => {
        const accountId = `r${String(n + i).padStart(7, "0")}`;
        const row = { accountId, balance: (n + i) * 7_919 % 1_000_003, count: 1, status: i % 2 ? "open" : "closed" };
        return { projection: "Balance@1", key: accountId, row: JSON.stringify(row), position: 1 };
      }),
    });
  }
  await store.keepIndexes(["Balance@1"], indexesOf(known, "1"));
}

/** Milliseconds of a query for a page of rows, and of the same by the bare driver. */
async function query(store: EventStore, bare: (from: number) => Promise<unknown>): Promise<[number, number]> {
  const client = new Client(domain, store, loadConfig({ text: "", env: () => undefined }));
  const time = async (work: (from: number) => Promise<unknown>) => {
    const times: number[] = [];
    for (let i = 0; i < QUERIES; i++) {
      const begunAt = performance.now();
      await work(i * 4_001);
      times.push(performance.now() - begunAt);
    }
    return median(times);
  };
  const through = (from: number) =>
    client.query(Balance, {
      where: { status: "open", balance: { gte: from } },
      orderBy: [["balance", "asc"]],
      limit: PAGE,
    });
  return [await time(through), await time(bare)];
}

const SHAPE = (from: number) => ({
  projection: "Balance",
  where: [
    { field: { name: "status", type: "string" as const, isKey: false }, is: "eq" as const, value: "open" },
    { field: { name: "balance", type: "number" as const, isKey: false }, is: "gte" as const, value: from },
  ],
  orderBy: [{ field: { name: "balance", type: "number" as const, isKey: false }, descending: false }],
  limit: PAGE + 1,
});

/** Builds and queries projections, on both stores. */
export async function projections(): Promise<Result[]> {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  const path = `${folder}/log.db`;
  const sqlite = new SqliteEventStore({ path, autoCheckpoint: 8_000 });
  await fill(sqlite);
  const embedded = await build(sqlite);
  await fillRows(sqlite);
  const reader = new DatabaseSync(path, { readOnly: true });
  const { sql } = rowsSql("Balance", SHAPE(0));
  const statement = reader.prepare(sql);
  const [own, bare] = await query(
    sqlite,
    (from) => Promise.resolve(statement.all("open", from, PAGE + 1).map(({ row }) => JSON.parse(String(row)))),
  );
  reader.close();
  await sqlite.close();
  await Deno.remove(folder, { recursive: true });

  const services = await startServices();
  const store = new PostgresEventStore({ url: services.postgres.url });
  await store.migrate();
  await fill(store);
  const distributed = await build(store);
  await fillRows(store);
  await services.settle();
  const driver = postgres(services.postgres.url, { max: 1 });
  const text = `select "row"::text from annals.projections where projection = 'Balance'
    and ((case when json_typeof("row"->'status') = 'string' then "row"->>'status' else '' end) collate "C") = $1
    and (case when json_typeof("row"->'balance') = 'number' then ("row"->>'balance')::double precision
      else '-infinity'::double precision end) >= $2
    order by 1 limit 51`.replace(
    "order by 1",
    `order by (case when json_typeof("row"->'balance') = 'number' then ("row"->>'balance')::double precision
      else '-infinity'::double precision end), key`,
  );
  const [ownPg, barePg] = await query(
    store,
    async (from) =>
      (await driver.unsafe(text, ["open", from], { prepare: true }).values()).map(([row]) => JSON.parse(row as string)),
  );
  await driver.end();
  await store.close();
  await services.stop();
  return [
    atLeast("building a projection, embedded", embedded, "events/s", 60_000),
    atLeast("building a projection, PostgreSQL", distributed, "events/s", 60_000),
    atMost(`a query for ${PAGE} of 1,000,000 rows, embedded`, own, "ms", 5, bare),
    atMost(`a query for ${PAGE} of 1,000,000 rows, PostgreSQL`, ownPg, "ms", 5, barePg),
  ];
}

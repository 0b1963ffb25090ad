import { aggregate, domain, event, eventHandler, type } from "@annals/annals";
import { PostgresEventStore } from "@annals/annals/store/postgres";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import type { EventStore } from "@annals/annals/store";
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { describe } from "../../../src/isolation/describe.ts";
import { EventStoreSubscription } from "../../../src/subscriptions/mod.ts";
import fidelis from "../../../examples/fidelis/domain.ts";
import { tick } from "../../support/ticking.ts";
import { connectPostgres, withSchema } from "../../support/postgres.ts";
import { until } from "../../support/server.ts";
import { databaseUrl } from "../../support/services.ts";

const Ticked = event("Ticked", { schema: type<{ n: number }>() });
const Clock = aggregate("Clock", {
  events: [Ticked],
  initial: () => 0,
  evolve: { Ticked: (_, { payload }) => payload.n },
});

/** Writes each number into a table of its own; some statements are wrong, some handlers fail after recording. */
function auditing(table: string) {
  return domain("test", {
    aggregates: [Clock],
    handlers: [eventHandler("Auditor", {
      events: [Ticked],
      on: {
        Ticked: ({ payload: { n } }, context) => {
          // A table cannot be a value: it is put in as a template of its own.
          const parts = Object.assign([`insert into ${table} (n, text) values (`, ", ", ")"], { raw: [] });
          if (n === 2) context.sql`insert into nowhere values (${n})`;
          else context.sql(parts as unknown as TemplateStringsArray, n, `it's ${n}`);
          if (n === 3) throw new Error("told to");
        },
      },
    })],
  });
}

async function audited(store: EventStore, table: string): Promise<void> {
  await tick(store, ["a", "b", "c", "d", "e"]);
  const domain = auditing(table);
  const settings = { maxRetries: 0, blockingTimeoutMs: 1 };
  await new EventStoreSubscription({ domain, handler: domain.handlers.get("Auditor")!, store, settings })
    .runUntil(5, new AbortController().signal);
  const dead = (await store.deadLetters()).map(({ message, error }) => [JSON.parse(message.data).n, error]);
  assert.deepEqual(dead.map(([n]) => n).sort(), [2, 3]);
  assert.match(
    dead.find(([n]) => n === 2)![1],
    /Cannot run the handler's statement "insert into nowhere values \(.*nowhere/,
  );
  assert.equal((await store.checkpoints("Auditor"))[0].position, 5);
}

Deno.test("statements of a handler run with its checkpoint, or not at all: SQLite", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  const path = `${folder}/log.db`;
  const store = new SqliteEventStore({ path });
  const db = new DatabaseSync(path);
  db.exec("create table audit (n integer primary key, text text)");
  await audited(store, "audit");
  assert.deepEqual(db.prepare("select n, text from audit order by n").all().map((row) => ({ ...row })), [
    { n: 0, text: "it's 0" },
    { n: 1, text: "it's 1" },
    { n: 4, text: "it's 4" },
  ]);
  db.close();
  await store.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("statements of a handler run with its checkpoint, or not at all: PostgreSQL", async () => {
  await using schema = await withSchema();
  const store = new PostgresEventStore({ url: databaseUrl(), schema: schema.name });
  await store.migrate();
  const admin = connectPostgres();
  const table = `"${schema.name}".audit`;
  await admin.unsafe(`create table ${table} (n integer primary key, text text)`);
  await audited(store, table);
  assert.deepEqual([...await admin.unsafe(`select n, text from ${table} order by n`)], [
    { n: 0, text: "it's 0" },
    { n: 1, text: "it's 1" },
    { n: 4, text: "it's 4" },
  ]);
  // A commit that is refused takes its statements with it.
  const statements = [{ parts: [`insert into ${table} values (99, null)`], values: [] }];
  await assert.rejects(store.commit({ statements, fence: { lease: "none", token: 1 } }), { name: "FencedError" });
  assert.deepEqual([...await admin.unsafe(`select n from ${table} where n = 99`)], []);
  await admin.end();
  await store.close();
});

Deno.test("projections can be read with plain SQL, typed as their schemas say", async () => {
  await using schema = await withSchema();
  const store = new PostgresEventStore({ url: databaseUrl(), schema: schema.name });
  await store.migrate();
  const { projections } = describe(fidelis);
  await store.publishViews(projections);
  await store.publishViews(projections);
  const row = {
    accountId: "1",
    accountNumber: "A-1",
    holderName: "O'Hara",
    balance: 1250,
    transactionCount: 2,
    lastTransactionAt: null,
    status: "active",
  };
  await store.commit({ rows: [{ projection: "AccountSummary", key: "1", row: JSON.stringify(row), position: 7 }] });
  const admin = connectPostgres();
  const [found] = await admin.unsafe(
    `select holder_name, sum(balance)::int as cents, max(position)::int as position from "${schema.name}".projection_account_summary group by 1`,
  );
  assert.deepEqual(found, { holder_name: "O'Hara", cents: 1250, position: 7 });
  const columns = await admin.unsafe(
    `select column_name, data_type from information_schema.columns where table_schema = $1 and table_name = 'projection_account_summary'`,
    [schema.name],
  );
  const types = Object.fromEntries(columns.map(({ column_name, data_type }) => [column_name, data_type]));
  assert.equal(types.balance, "bigint");
  assert.equal(types.account_number, "text");
  // A schema that was changed makes the view anew.
  await store.publishViews([{ name: "AccountSummary", fields: [{ name: "balance", type: "number" }] }]);
  const [again] = await admin.unsafe(`select * from "${schema.name}".projection_account_summary`);
  assert.deepEqual(again, { key: "1", position: "7", balance: 1250 });
  await admin.end();
  await store.close();
});

Deno.test("neither a report nor a row of another shape stops a projection's view, or the start of a server", async () => {
  await using schema = await withSchema();
  const store = new PostgresEventStore({ url: databaseUrl(), schema: schema.name });
  await store.migrate();
  const view = `"${schema.name}".projection_note`;
  const fields = (...types: string[]) => types.map((type, i) => ({ name: `f${i}`, type }));
  const publish = (...types: string[]) => store.publishViews([{ name: "Note", fields: fields(...types) }]);
  const admin = connectPostgres();
  const rows = async () => (await admin.unsafe(`select * from ${view} order by key`)).map((row) => ({ ...row }));
  assert.deepEqual(await publish("integer", "number", "boolean"), []);
  const put = (key: string, row: unknown) => ({ projection: "Note", key, row: JSON.stringify(row), position: 1 });
  await store.commit({
    rows: [
      put("a", { f0: 1, f1: 1.5, f2: true }),
      put("b", { f0: 1e21, f1: "?", f2: 3 }),
      put("c", { f0: { deep: 1 }, f2: null }),
    ],
  });
  const nothing = { position: "1", f0: null, f1: null, f2: null };
  assert.deepEqual(await rows(), [
    { key: "a", position: "1", f0: "1", f1: 1.5, f2: true },
    { key: "b", ...nothing },
    { key: "c", ...nothing },
  ]);
  // Built on by others: new fields are added, others leave it as it is.
  await admin.unsafe(`create view "${schema.name}".report as select f0 from ${view}`);
  assert.deepEqual(await publish("integer", "number", "boolean", "string"), []);
  const [warning, ...more] = await publish("string");
  assert.equal(more.length, 0);
  assert.match(warning, /projection_note.*stays as it is: .*other objects depend on it; drop what is built on it/);
  assert.equal(Object.keys((await rows())[0]).length, 6);
  await admin.unsafe(`drop view "${schema.name}".report`);
  // In use by a long report.
  let done!: () => void;
  const reading = admin.begin(async (report) => {
    await report.unsafe(`select * from ${view}`);
    await new Promise<void>((resolve) => done = resolve);
  });
  await until(() => done !== undefined, () => "the report");
  assert.match((await publish("string"))[0], /lock timeout.*wait for the report/);
  done();
  await reading;
  assert.deepEqual(await publish("string"), []);
  const two = ["AccountSummary", "Account_Summary"].map((name) => ({ name, fields: [] }));
  assert.match((await store.publishViews(two))[0], /"Account_Summary" has no view: .* that of "AccountSummary"/);
  await admin.end();
  await store.close();
});

Deno.test("a trigger in the store is refused when it is opened", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  const path = `${folder}/log.db`;
  await new SqliteEventStore({ path }).close();
  const db = new DatabaseSync(path);
  db.exec("create trigger sly before update on leases begin select 1; end");
  db.close();
  assert.throws(() => new SqliteEventStore({ path }), /has a trigger that is not Annals' own, "sly" on "leases"/);
  await Deno.remove(folder, { recursive: true });
  await using schema = await withSchema();
  const store = new PostgresEventStore({ url: databaseUrl(), schema: schema.name });
  await store.migrate();
  const admin = connectPostgres();
  await admin.unsafe(
    `create function "${schema.name}".sly() returns trigger language plpgsql as 'begin return new; end';
    create trigger sly before insert on "${schema.name}".messages for each row execute function "${schema.name}".sly()`,
  );
  await assert.rejects(() => store.verify(), /has a trigger that is not Annals' own: "sly" on "messages"/);
  await admin.end();
  await store.close();
});

Deno.test("a statement that always takes too long is the failure of its message, and of no other", async () => {
  await using schema = await withSchema();
  const patient = new PostgresEventStore({ url: databaseUrl(), schema: schema.name });
  await patient.migrate();
  await patient.close();
  const store = new PostgresEventStore({
    url: `${databaseUrl()}?options=-c%20statement_timeout%3D1000`,
    schema: schema.name,
  });
  const slow = { parts: ["select pg_sleep(5)"], values: [] };
  await assert.rejects(
    () => store.commit({ statements: [slow] }),
    /Cannot run the handler's statement.*statement timeout/,
  );
  const two = { parts: ["select 1; delete from x"], values: [] };
  await assert.rejects(() => store.commit({ statements: [two] }), /more than one statement/);
  await assert.rejects(
    () => store.commit({ statements: [{ parts: ["commit"], values: [] }] }),
    /"commit" is not allowed/,
  );
  await store.close();
});

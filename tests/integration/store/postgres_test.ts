import { PostgresEventStore } from "@annals/annals/store/postgres";
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { rangesOf } from "../../../src/store/behind.ts";
import { lags, LAST_POSITION, type Query, readLog, readStream } from "../../../src/store/postgres/queries.ts";
import { CALL, encodeCommits } from "../../../src/store/postgres/commit.ts";
import type { StreamAppend } from "../../../src/store/port.ts";
import { channelOf, forSchema } from "../../../src/store/postgres/schema.ts";
import { sampleAppend, sampleMessage } from "../../../src/testing/store_suite.ts";
import { connectPostgres, withSchema } from "../../support/postgres.ts";
import { Proxy } from "../../support/proxy.ts";
import { until } from "../../support/server.ts";
import { databaseUrl } from "../../support/services.ts";

async function open(options: { migrate?: boolean; listen?: boolean } = {}) {
  const schema = await withSchema();
  const store = new PostgresEventStore({ url: databaseUrl(), schema: schema.name, listen: options.listen ?? true });
  if (options.migrate ?? true) await store.migrate();
  return {
    store,
    schema: schema.name,
    [Symbol.asyncDispose]: async () => {
      await store.close();
      await schema[Symbol.asyncDispose]();
    },
  };
}

Deno.test("no reader ever passes a position that appears later: slow, parked and rolled-back writers, many processes", async () => {
  await using ground = await open();
  const { store, schema } = ground;
  const writers = ["a", "b", "c"].map((name) =>
    new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        fileURLToPath(new URL("../../fixtures/append_postgres.ts", import.meta.url)),
        databaseUrl(),
        schema,
        name,
        "60",
      ],
      stdin: "null",
    }).spawn()
  );
  let writing = true;
  const done = Promise.all(writers.map((writer) => writer.status)).then((all) => {
    writing = false;
    return all;
  });
  // Transactions that take positions, stand still, and then commit or do not.
  const admin = connectPostgres();
  const deferred = (async () => {
    for (let i = 0; writing; i++) {
      await admin.begin(async (sql) => {
        await sql.unsafe(parkedAppend(schema, `parked-${i}`));
        await new Promise((resolve) => setTimeout(resolve, 60));
        if (i % 2 === 1) throw new Error("rolled back");
      }).catch((error) => assert.equal(error.message, "rolled back"));
    }
  })();
  const seen: number[] = [];
  const read = async () => {
    const found = await store.readLog({ after: seen.at(-1) ?? 0, limit: 50 });
    seen.push(...found.map((message) => message.position));
    return found.length;
  };
  while (writing || await read() > 0) await read();
  assert.ok((await done).every(({ success }) => success));
  await deferred;
  await admin.end();
  while (await read() > 0);
  const all: number[] = [];
  for (let found; (found = await store.readLog({ after: all.at(-1) ?? 0 })).length > 0;) {
    all.push(...found.map((message) => message.position));
  }
  assert.deepEqual(seen, all);
  assert.deepEqual(all, Array.from({ length: all.length }, (_, i) => i + 1), "there are gaps");
  assert.ok(all.length >= 3 * 60 * 3, String(all.length));
});

/** One message, appended as the store does it, in a transaction of somebody else's. */
function parkedAppend(schema: string, stream: string): string {
  const append = { stream, category: "test", expected: "any", messages: [sampleMessage()], publish: true } as const;
  const values = encodeCommits([{ appends: [append] }]);
  return forSchema(`select ${CALL}`, schema).replaceAll(/\$(\d)/g, (_, n) => {
    const value = values[n - 1];
    return value === null ? "null" : `'${String(value).replaceAll("'", "''")}'`;
  });
}

// Nothing is to be published: statistics must not lead the outbox away from its index.
Deno.test("every hot query uses its index with 1,000,000 messages, with statistics and without", async () => {
  await using ground = await open();
  const { schema } = ground;
  const admin = connectPostgres();
  await admin.unsafe(`alter table "${schema}".messages set (autovacuum_enabled = false)`);
  await admin.unsafe(`insert into "${schema}".messages
    select n, gen_random_uuid(), 'T', 1, 'c' || n % 4, 'c' || n % 4 || '-' || n % 10000, n / 10000, n, 'x', null, '{}', null, false
    from generate_series(1, 1000000) n`);
  await admin.unsafe(`update "${schema}".relay set published = 999990`);
  const queries: Record<string, Query> = {
    "a stream": readStream("c1-1", {}),
    "the end of a stream": readStream("c1-1", { backward: true, limit: 1 }),
    "a stream from a version": readStream("c1-1", { from: 90 }),
    "the log": readLog({ after: 500_000 }),
    "the end of the log": readLog({ backward: true, limit: 1 }),
    "a category": readLog({ after: 500_000, category: "c1", limit: 100 }),
    "a category up to a position": readLog({ after: 500_000, upTo: 900_000, category: "c1", limit: 100 }),
    "a category backward": readLog({ after: 500_000, upTo: 900_000, category: "c1", backward: true, limit: 100 }),
    "the end of a category": readLog({ category: "c1", upTo: 999_999, limit: 1, backward: true }),
    "a category that ended long ago": readLog({ after: 500_000, category: "none", limit: 100 }),
    "one message": readLog({ after: 500_000, upTo: 500_001, limit: 1 }),
    "the last position": { sql: LAST_POSITION, values: [] },
    "the lag": lags(rangesOf([{ category: "c1", after: 999_000 }, { category: "c1", after: 999_500 }])),
  };
  const check = async (mode: string): Promise<void> => {
    await admin.unsafe(`set plan_cache_mode = ${mode}`);
    for (const [name, { sql, values }] of Object.entries(queries)) {
      const given = values.map((value) => typeof value === "string" ? `'${value}'` : String(value)).join(", ");
      await admin.unsafe(`prepare query as ${forSchema(sql, schema)}`);
      const rows = await admin.unsafe(`explain execute query${given === "" ? "" : `(${given})`}`);
      await admin.unsafe("deallocate query");
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      assert.match(plan, /Index (Only )?Scan/, `${name}, ${mode}:\n${plan}`);
      // The relay has one row; the rows of one stream may be sorted when found; the lag is counted for operators only.
      const wrong = name === "the lag"
        ? /Seq Scan/
        : name.includes("stream")
        ? /Seq Scan|Gather/
        : /Seq Scan|Sort|Gather|Bitmap/;
      assert.doesNotMatch(plan.replace("Seq Scan on relay", ""), wrong, `${name}, ${mode}:\n${plan}`);
    }
  };
  // As they are planned at first, when the log was just filled: with values, but no idea of how many rows have them.
  await check("force_custom_plan");
  await admin.unsafe(`analyze "${schema}".messages`);
  // As they are planned once they were asked a few times: without knowing the values.
  await check("force_generic_plan");
  await check("force_custom_plan");
  const status = await admin.unsafe(`explain analyze select * from "${schema}".outbox_status()`);
  const ms = Number(/Execution Time: ([\d.]+)/.exec(status.map((row) => row["QUERY PLAN"]).join("\n"))![1]);
  assert.ok(ms < 100, `the outbox was counted by reading all of the log: ${ms} ms`);
  await admin.end();
});

Deno.test("a commit of another process is heard of at once, and again after the connection was killed", async () => {
  await using ground = await open();
  const { store, schema } = ground;
  const other = new PostgresEventStore({ url: databaseUrl(), schema, listen: false });
  const admin = connectPostgres();
  const listeners = () =>
    admin.unsafe<{ pid: number }[]>(
      `select pid from pg_stat_activity where query ilike 'listen%${schema}%' and pid <> pg_backend_pid()`,
    );
  await store.changed(10);
  const hears = async (name: string) => {
    await until(async () => (await listeners()).length === 1, () => "a connection that listens");
    const changed = store.changed(60_000);
    const began = performance.now();
    await other.commit({ appends: [sampleAppend(name)] });
    await changed;
    // Polling would have found it only after a second, on average after half of one.
    return performance.now() - began;
  };
  const before = Math.min(...[await hears("a"), await hears("b"), await hears("c")]);
  for (const { pid } of await listeners()) await admin`select pg_terminate_backend(${pid})`;
  const after = Math.min(...[await hears("d"), await hears("e"), await hears("f")]);
  assert.ok(before < 400 && after < 400, `${before} ms, ${after} ms`);
  await admin.end();
  await other.close();
});

Deno.test("what is written besides messages is told of after its commit, which so keeps no other one waiting", async () => {
  await using ground = await open({ listen: false });
  const { store, schema } = ground;
  const other = new PostgresEventStore({ url: databaseUrl(), schema });
  const admin = connectPostgres();
  const told: string[] = [];
  await admin.listen(channelOf(schema), (payload) => void told.push(payload));
  const checkpoint = { group: "g", category: "c", partitions: 1, partition: 0, position: 1 };
  const write = (appends: StreamAppend[]) =>
    admin.unsafe(
      forSchema(`select * from ${CALL}`, schema),
      encodeCommits([{ appends, checkpoint }], "me") as any[],
    );
  await write([]);
  await write([sampleAppend("a")]);
  await until(() => told.length > 0, () => "a notification of the message");
  assert.deepEqual(told, ["me messages"]);
  // One that was written by the store, however many commits there are at the same time.
  await other.changed(10);
  await until(async () => (await other.inspect()).every((warning) => !/Notifications/.test(warning)), () => "hearing");
  const began = performance.now();
  const changed = other.changed(20_000);
  await Promise.all([1, 2, 3].map((n) => store.commit({ checkpoint: { ...checkpoint, group: `g${n}` } })));
  await changed;
  assert.ok(performance.now() - began < 900, "it was found by looking");
  // Also of one whose call was made again without the message that failed beside it.
  const message = sampleMessage({});
  const append = { ...sampleAppend("b"), messages: [message] };
  await store.commit({ appends: [append] });
  await until(() => told.filter((payload) => payload.endsWith(" messages")).length === 2, () => "the second message");
  told.length = 0;
  const [again, row] = await Promise.allSettled([
    store.commit({ appends: [{ ...append, stream: "test-c" }] }),
    store.commit({ checkpoint: { ...checkpoint, group: "g4" } }),
  ]);
  assert.deepEqual([again.status, row.status], ["rejected", "fulfilled"]);
  await until(() => told.length > 0, () => "a notification of the checkpoint", 5_000);
  await admin.end();
  await other.close();
});

Deno.test("two processes that migrate at once make the tables once; a newer schema is refused", async () => {
  await using ground = await open({ migrate: false });
  const { store, schema } = ground;
  const other = new PostgresEventStore({ url: databaseUrl(), schema });
  await assert.rejects(store.verify(), { reason: "missing", message: /run `annals store migrate`/ });
  const applied = await Promise.all([store.migrate(), other.migrate()]);
  assert.equal(applied.flat().length, Math.max(...applied.map((names) => names.length)));
  await store.verify();
  const admin = connectPostgres();
  await admin.unsafe(`insert into "${schema}".migrations values (999, 'from the future', now())`);
  await admin.end();
  await assert.rejects(other.migrate(), { reason: "newer", message: /update Annals/ });
  await other.close();
});

Deno.test("one commit with JSON that is nested too deeply fails alone", async () => {
  await using ground = await open();
  const { store } = ground;
  const deep = "[".repeat(30_000) + "]".repeat(30_000);
  const bad = { ...sampleAppend("bad"), messages: [sampleMessage({}, { data: deep })] };
  const results = await Promise.allSettled(
    [sampleAppend("a"), bad, sampleAppend("b")].map((append) => store.commit({ appends: [append] })),
  );
  assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
});

Deno.test("a statement of a handler that takes its time holds up no other commit", async () => {
  await using ground = await open();
  const { store } = ground;
  await store.commit({ appends: [sampleAppend("a")] });
  const order: string[] = [];
  const slow = store.commit({
    statements: [{ parts: ["select pg_sleep(1)"], values: [] }],
    appends: [sampleAppend("s")],
  })
    .then(() => void order.push("slow"));
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (let i = 0; i < 3; i++) await store.commit({ appends: [sampleAppend("a")] }).then(() => void order.push("quick"));
  await slow;
  assert.deepEqual(order, ["quick", "quick", "quick", "slow"]);
});

Deno.test("one commit with text that PostgreSQL cannot store fails alone", async () => {
  await using ground = await open();
  const { store } = ground;
  const bad = { ...sampleAppend("bad"), messages: [sampleMessage({}, { data: "not json" })] };
  const [one, two, three] = await Promise.allSettled([
    store.commit({ appends: [sampleAppend("a")] }),
    store.commit({ appends: [bad] }),
    store.commit({ appends: [sampleAppend("b")] }),
  ]);
  assert.deepEqual([one.status, two.status, three.status], ["fulfilled", "rejected", "fulfilled"]);
});

Deno.test("a message that is stored already is refused, so that an append can be repeated safely", async () => {
  await using ground = await open();
  const { store } = ground;
  const append = sampleAppend("a");
  await store.commit({ appends: [append] });
  await assert.rejects(store.commit({ appends: [append] }), { name: "DuplicateMessageError" });
  assert.equal(await store.lastPosition(), 1);
});

Deno.test("connections that have fallen silent are given up, and what was asked is not known to be done", async () => {
  await using ground = await open();
  const target = new URL(databaseUrl());
  await using proxy = new Proxy(Number(target.port));
  target.port = String(proxy.port);
  const store = new PostgresEventStore({
    url: target.href,
    schema: ground.schema,
    listen: false,
    connections: 1,
    timeout: 2_000,
  });
  await store.commit({ appends: [sampleAppend("a")] });
  proxy.silence();
  const asked = [store.lastPosition(), store.commit({ appends: [sampleAppend("a")] })];
  const [read, written] = await Promise.allSettled(asked);
  assert.equal(read.status === "rejected" && read.reason.reason, "unreachable");
  assert.equal(written.status === "rejected" && written.reason.reason, "unsure");
  await store.commit({ appends: [sampleAppend("a")] });
  assert.equal(await store.lastPosition(), 2);
  await store.close();
});

Deno.test("others see the session of a process while it lives", async () => {
  await using ground = await open({ listen: false });
  const owners = ["host/1/2:10.1:" + crypto.randomUUID(), "host/1/2:11.1:" + crypto.randomUUID()];
  const process = new PostgresEventStore({ url: databaseUrl(), schema: ground.schema, owner: owners[0] });
  await process.changed(1);
  await until(async () => (await ground.store.present(owners)).length > 0, () => "its session to be seen");
  assert.deepEqual(await ground.store.present(owners), [owners[0]]);
  await process.close();
  await until(async () => (await ground.store.present(owners)).length === 0, () => "its session to be gone");
});

Deno.test("a query that fails after it has sent rows leaves nothing of itself in the answer to the next one", async () => {
  class Asked extends PostgresEventStore {
    async query(sql: string): Promise<unknown[]> {
      return [...await this.ask(sql, [])];
    }
  }
  const store = new Asked({ url: databaseUrl(), listen: false, connections: 1 });
  await store.query("select 1");
  await assert.rejects(store.query("select 1 / (3 - g) from generate_series(1, 5) g"), /division by zero/);
  assert.deepEqual(await store.query("select g from generate_series(1, 2) g"), [[1], [2]]);
  assert.deepEqual(await store.query("select 7"), [[7]]);
  await store.close();
});

Deno.test("connections that break in the middle of transactions end nothing, and leave nothing half done", async () => {
  await using schema = await withSchema();
  const admin = connectPostgres();
  const { port } = new URL(databaseUrl());
  await using proxy = new Proxy(Number(port));
  const url = databaseUrl().replace(`:${port}/`, `:${proxy.port}/`);
  const store = new PostgresEventStore({ url, schema: schema.name, listen: false });
  await store.migrate();
  await admin.unsafe(`create table "${schema.name}".noted (n int)`);
  const note = (n: number) => ({ parts: [`insert into "${schema.name}".noted values (`, ")"], values: [n] });
  const slow = { parts: ["select pg_sleep(0.005)"], values: [] };
  const told: number[] = [];
  for (let n = 0; n < 80; n++) {
    const message = sampleMessage({ n });
    const append = sampleAppend("a", 0, "any", { messages: [message] });
    const commit = store.commit({ appends: [append], statements: [slow, note(n), slow] }).then(
      () => void told.push(n),
      // Cut three times in a row in the same statement, it passes for one that ends its session.
      (error) => assert.match(error.name, /^(StoreUnavailable|Statement)Error$/),
    );
    await new Promise((resolve) => setTimeout(resolve, n * 7 % 20));
    proxy.cut();
    await commit;
  }
  const noted = (await admin.unsafe(`select n from "${schema.name}".noted order by n`)).map(({ n }) => n);
  // The last cut may still be under way on the connections of the other one.
  const direct = new PostgresEventStore({ url: databaseUrl(), schema: schema.name, listen: false });
  const log = (await direct.readLog()).map(({ data }) => JSON.parse(data).n);
  await direct.close();
  assert.deepEqual(noted, log);
  assert.deepEqual(told.filter((n) => !log.includes(n)), []);
  assert.ok(told.length < 80);
  await store.close();
  await admin.end();
});

Deno.test("members that enroll at the same time after the clock was set back do not wait for each other", async () => {
  const schema = await withSchema();
  let now = Date.now();
  const stores = ["a", "b", "c", "d"].map((owner) => ({
    owner,
    store: new PostgresEventStore({ url: databaseUrl(), schema: schema.name, listen: false, now: () => now }),
  }));
  await stores[0].store.migrate();
  for (let round = 0; round < 20; round++) {
    for (const { owner, store } of stores) await store.enroll({ owner, types: {} }, 4_000);
    now -= 3_600_000;
    // A deadlock rejects one of them.
    await Promise.all(stores.map(({ owner, store }) => store.enroll({ owner, types: {} }, 4_000)));
    assert.equal((await stores[0].store.members()).length, stores.length);
  }
  for (const { store } of stores) await store.close();
  await schema[Symbol.asyncDispose]();
});

Deno.test("of processes that write the same key at the same time, one writes it, and the others are told of it", async () => {
  await using schema = await withSchema();
  const stores = Array.from({ length: 4 }, () => new PostgresEventStore({ url: databaseUrl(), schema: schema.name }));
  await stores[0].migrate();
  for (let i = 0; i < 30; i++) {
    const checkpoint = { group: "g", category: `c${i}`, partitions: 1, partition: 0, position: 1 };
    const written = await Promise.all(
      stores.map((store, n) => store.commit({ checkpoint, once: { key: `k${i}`, value: String(n) } })),
    );
    const [first] = written.filter(({ repeated }) => repeated === null);
    const values = new Set(written.map(({ repeated }, n) => repeated ?? String(n)));
    assert.ok(first && values.size === 1, `${[...values]}`);
  }
  for (const store of stores) await store.close();
});

Deno.test("a swap that is taken back, because a commit holds what it needs and waits for what it holds, is made again", async () => {
  await using ground = await open();
  const { store, schema } = ground;
  const generation = (name: string, isActive: boolean) => ({
    projection: "p",
    generation: name,
    group: `g@${name}`,
    state: "fed" as const,
    isActive,
    isPinned: false,
    swappedAt: null,
    error: null,
  });
  await store.addGeneration(generation("1", true));
  await store.addGeneration(generation("2", false));
  const checkpoints = ["1", "2"].flatMap((of) =>
    ["a", "b"].map((category) => ({ group: `g@${of}`, category, partitions: 1, partition: 0, position: 5 }))
  );
  await store.commit({ checkpoints });
  const sql = connectPostgres();
  const move = (category: string) =>
    sql.unsafe(`update "${schema}".checkpoints set position = 6 where category = '${category}'`);
  await sql.unsafe("begin");
  await move("b");
  const swapped = store.swapGenerations({ projection: "p", from: "1", to: "2", categories: ["a", "b"], pin: false });
  // It has the first ones by now, and waits for the others.
  await until(async () => {
    const [{ waiting }] = await sql.unsafe("select count(*)::int as waiting from pg_locks where not granted");
    return waiting > 0;
  }, () => "the swap to wait");
  await move("a");
  await sql.unsafe("commit");
  assert.equal(await swapped, null);
  assert.equal((await store.generations()).find(({ isActive }) => isActive)?.generation, "2");
  await sql.end();
});

import { loadConfig } from "@annals/annals/config";
import { Engine } from "@annals/annals/engine";
import assert from "node:assert/strict";
import { audited, auditRecords } from "../../../src/operating/audit.ts";
import { DuplicateMessageError, WrongExpectedVersionError } from "../../../src/store/errors.ts";
import { PostgresEventStore } from "../../../src/store/postgres/store.ts";
import { sampleAppend, sampleMessage } from "../../../src/testing/store_suite.ts";
import { sleep } from "../../../src/lib/sleep.ts";
import { newId } from "../../../src/messages/ids.ts";
import { connectPostgres, withSchema } from "../../support/postgres.ts";
import { until } from "../../support/server.ts";
import { databaseUrl } from "../../support/services.ts";

/** A migrated store, and a connection beside it. */
async function make() {
  const stack = new AsyncDisposableStack();
  const schema = stack.use(await withSchema());
  const sql = connectPostgres();
  stack.defer(() => sql.end());
  const open = (): PostgresEventStore => {
    const store = new PostgresEventStore({ url: databaseUrl(), schema: schema.name });
    stack.defer(() => store.close());
    return store;
  };
  const store = open();
  await store.migrate();
  const run = (text: string) => sql.unsafe(text.replaceAll("annals.", `"${schema.name}".`));
  /** Makes a role that may use the schema; it goes with the rest. */
  const makeRole = async (attributes = ""): Promise<string> => {
    const role = `role_${schema.name}`;
    await run(`create role "${role}" ${attributes}`);
    stack.defer(async () => {
      await run("reset role");
      await run(`drop owned by "${role}"`);
      await run(`drop role "${role}"`);
    });
    await run(`grant usage on schema "${schema.name}" to "${role}"`);
    return role;
  };
  return { store, open, run, makeRole, schema: schema.name, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

Deno.test("a log is partitioned under load: no commit fails, no position is missing, no version twice", async () => {
  await using made = await make();
  const { store, open } = made;
  for (let i = 0; i < 50; i++) await store.commit({ appends: [sampleAppend(`s${i % 7}`, 40)] });
  let going = true;
  let sent = 2_000;
  const writers = [open(), open(), open()].map(async (writer, w) => {
    for (let i = 0; going; i++) {
      // Streams from before, and new ones.
      await writer.commit({ appends: [sampleAppend(i % 3 ? `s${i % 7}` : `n${w}-${i}`, 3)] });
      sent += 3;
    }
  });
  const reader = open();
  let read = 0;
  const reading = (async () => {
    while (going || read < sent) {
      for (const { position } of await reader.readLog({ category: "test", after: read, limit: 500 })) {
        assert.equal(position, ++read);
      }
    }
  })();
  const parts = await store.partition({ size: 1_000, margin: 1 });
  while (sent < parts.at(-1)!.from + 500) await new Promise((resolve) => setTimeout(resolve, 20));
  // The last part is written to: it is closed, and parts are added behind it.
  const more = await store.partition({ size: 1_000, margin: 1 });
  going = false;
  await Promise.all([...writers, reading]);
  assert.ok(more.length > parts.length);
  assert.deepEqual(more.map(({ from }) => from), [0, ...more.slice(0, -1).map(({ to }) => to)]);
  assert.equal(more.at(-1)!.to, null);
  assert.ok(more.filter(({ from }) => from > sent).length >= 3, JSON.stringify(more));
  assert.equal(await store.lastPosition(), sent);
  for (let i = 0; i < 7; i++) {
    const versions = (await store.readStream(`test-s${i}`)).map(({ version }) => version);
    assert.deepEqual(versions, versions.map((_, n) => n));
    await assert.rejects(
      store.commit({ appends: [sampleAppend(`s${i}`, 1, versions.length)] }),
      WrongExpectedVersionError,
    );
    await store.commit({ appends: [sampleAppend(`s${i}`, 1, versions.length - 1)] });
  }
  // Once more: there is nothing to do.
  assert.deepEqual(
    (await store.partition({ size: 1_000, margin: 1 })).map(({ name }) => name),
    more.map(({ name }) => name),
  );
});

Deno.test("an id that is stored in any part of a partitioned log is recognised", async () => {
  await using made = await make();
  const { store } = made;
  const first = sampleMessage({ n: 1 });
  const append = (stream: string, message = sampleMessage({ n: 2 })) => ({
    stream: `test-${stream}`,
    category: "test",
    expected: "any" as const,
    publish: true,
    messages: [message],
  });
  await store.commit({ appends: [append("a", first)] });
  await store.partition({ size: 10, margin: 1 });
  const second = sampleMessage({ n: 3 });
  for (let i = 0; i < 25; i++) await store.commit({ appends: [append("b", i === 12 ? second : undefined)] });
  for (const message of [first, second]) {
    // One of several that share a call: the others are written.
    const fates = await Promise.allSettled([
      store.commit({ appends: [append("c")] }),
      store.commit({ appends: [append("d", message)] }),
      store.commit({ appends: [append("c")] }),
    ]);
    assert.deepEqual(fates.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
    assert.ok((fates[1] as PromiseRejectedResult).reason instanceof DuplicateMessageError);
  }
  assert.equal((await store.readStream("test-d")).length, 0);
  assert.equal((await store.readStream("test-c")).length, 4);
});

Deno.test("reads of a partitioned log take the parts in order and sort nothing", async () => {
  await using made = await make();
  const { store, run } = made;
  await store.partition({ size: 100, ahead: 3, margin: 1 });
  for (let i = 0; i < 30; i++) await store.commit({ appends: [sampleAppend(`s${i}`, 10)] });
  await run("analyze annals.messages");
  await run("set enable_seqscan = off");
  const plan = async (text: string) => (await run(`explain ${text}`)).map((row) => row["QUERY PLAN"]).join("\n");
  for (
    const text of [
      "select max(position) from annals.messages",
      "select * from annals.messages where position > 150 order by position limit 10",
      "select * from annals.messages where category = 'test' and position > 150 order by category, position limit 10",
    ]
  ) {
    const found = await plan(text);
    assert.doesNotMatch(found, /Sort|Seq Scan/, found);
  }
  assert.doesNotMatch(await plan("select * from annals.messages where position > 250 limit 1"), /messages_from_0/);
});

Deno.test("partitioning keeps rights, and refuses what depends on the table", async () => {
  await using made = await make();
  const { store, run, makeRole } = made;
  const role = await makeRole();
  await run(`grant select on annals.messages to "${role}"`);
  await run(`create view annals.report as select count(*) from annals.messages`);
  await store.commit({ appends: [sampleAppend("a", 5)] });
  await assert.rejects(
    store.partition({ size: 10, margin: 1 }),
    /view .*report: would be lost, or go on with the first part of the log only; drop what/,
  );
  assert.deepEqual(await store.parts(), []);
  await run("drop view annals.report");
  await store.partition({ size: 10, margin: 1 });
  await store.commit({ appends: [sampleAppend("a", 20)] });
  const [{ count }] = await run("select count(*)::int from annals.outbox");
  assert.equal(count, 25);
  await run(`set role "${role}"`);
  assert.equal((await run("select count(*)::int from annals.messages"))[0].count, 25);
});

Deno.test("partitioning that was interrupted is said, stops no commit for good, and is finished by the next run", async () => {
  await using made = await make();
  const { store, run } = made;
  await store.commit({ appends: [sampleAppend("a", 5)] });
  assert.ok(!(await store.inspect()).some((warning) => /partition/.test(warning)));
  // What a killed command leaves behind.
  await run("alter table annals.messages add constraint messages_part_end check (position < 8) not valid");
  await run("insert into annals.message_ids select id from annals.messages where position <= 2");
  await run(
    "insert into annals.stream_heads select stream, max(version) from annals.messages where position <= 2 group by stream",
  );
  await run("update annals.identity set heads_upto = 2");
  assert.ok((await store.inspect()).some((warning) => /partitioning it was interrupted/.test(warning)));
  await store.commit({ appends: [sampleAppend("a", 2)] });
  await assert.rejects(store.commit({ appends: [sampleAppend("a", 1)] }), /annals store partition.* was interrupted/);
  await store.partition({ size: 10, margin: 1 });
  await store.commit({ appends: [sampleAppend("a", 20, 6)] });
  assert.ok(!(await store.inspect()).some((warning) => /interrupted/.test(warning)));
  assert.equal(await store.lastPosition(), 27);
  // Until the last part is written to.
  await store.commit({ appends: [sampleAppend("a", (await store.parts()).at(-1)!.from - 27)] });
  assert.ok((await store.inspect()).some((warning) => /has reached its last part/.test(warning)));
});

Deno.test("partitioning waits for a report, and holds nobody up meanwhile", async () => {
  await using made = await make();
  const { store, open, run } = made;
  await store.commit({ appends: [sampleAppend("a", 5)] });
  await run("begin");
  await run("select count(*) from annals.messages");
  const partitioned = store.partition({ size: 100_000 });
  const other = open();
  const until = performance.now() + 3_000;
  for (let i = 0; performance.now() < until; i++) await other.commit({ appends: [sampleAppend(`b${i}`, 1)] });
  assert.deepEqual(await other.parts(), []);
  await run("commit");
  assert.ok((await partitioned).length > 1);
});

Deno.test("what operators did keeps no part from being detached, and goes on after it", async () => {
  await using made = await make();
  const { store } = made;
  const at = { store, domain: { name: "bank" } };
  const act = (what: string) => audited(at, "cli:ann@db", what, {}, () => Promise.resolve());
  await act("first");
  await store.commit({ appends: [sampleAppend("a", 5)] });
  const [{ name, to }] = await store.partition({ size: 8, margin: 1 });
  await store.commit({ appends: [sampleAppend("b", to! - 1 - await store.lastPosition())] });
  await act("second");
  await store.markPublished(await store.lastPosition());
  await store.detach(name, { forgetStreams: true });
  await act("third");
  assert.deepEqual((await auditRecords(at)).map(({ action }) => action), ["third", "second"]);
});

Deno.test("a part is detached when nothing needs it, and says what does", async () => {
  await using made = await make();
  const { store } = made;
  await assert.rejects(store.detach("messages_from_0"), /not partitioned/);
  await store.commit({ appends: [sampleAppend("a", 5), sampleAppend("b", 3)] });
  const checkpoint = { group: "G", category: "test", partitions: 1, partition: 0, position: 4 };
  await store.commit({ checkpoint });
  const [{ name, to }, second, third] = await store.partition({ size: 8, margin: 1 });
  assert.deepEqual([name, to], ["messages_from_0", 24]);
  await assert.rejects(store.detach(second.name), /only the oldest part/);
  await assert.rejects(store.detach(name), /still written to/);
  await store.commit({ appends: [sampleAppend("c", 15)] });
  // Positions would begin again.
  assert.equal(await store.lastPosition(), to! - 1);
  await assert.rejects(store.detach(name), /still written to/);
  await store.commit({ appends: [sampleAppend("d", 8)] });
  await assert.rejects(store.detach(name), /the relay has not published/);
  await store.markPublished(31);
  await assert.rejects(store.detach(name), /"G" has not handled/);
  await store.commit({ checkpoint: { ...checkpoint, position: 31 } });
  // One that has not read anything yet.
  await assert.rejects(store.detach(name, { readers: new Map([["New", ["test"]]]) }), /"New" has not handled/);
  // One of code that the caller does not have, which may run or be gone.
  const other = { ...checkpoint, group: "Other", position: 3 };
  await store.commit({ checkpoint: other });
  const given = { readers: new Map([["G", ["test"]]]) };
  await assert.rejects(store.detach(name, given), /"Other" has not handled yet; it is not in this code/);
  await assert.rejects(
    store.detach(name, { ...given, forgetGroups: ["Other"] }),
    /3 aggregates have all their events in messages_from_0, like "test-a"/,
  );
  await assert.rejects(store.detach(name, { ...given, forgetGroups: ["Othr"] }), /no group "Othr" has read anything/);
  // What it has still to try again keeps nobody, once it is gone.
  const deferred = { group: "Other", category: "test", stream: "test-b", position: 6, attempts: 1, dueAt: 0 };
  await store.commit({ defer: [{ ...deferred, failures: [], replayed: false, awaits: null }] });
  await store.commit({ checkpoint: { ...other, position: 31 } });
  await assert.rejects(store.detach(name, given), /has messages that "Other" has still to try again/);
  await assert.rejects(store.detach(name, { ...given, forgetGroups: ["Other"] }), /3 aggregates have all their events/);
  await store.commit({ resume: [{ group: "Other", position: 6 }] });
  // A group of the code that other servers let read more: it is asked of that as well, and what it reads is never forgotten.
  await store.commit({ checkpoint: { ...checkpoint, category: "old", position: 3 } });
  await store.commit({ appends: [{ ...sampleAppend("a", 1), category: "old", stream: "old-a" }] });
  assert.equal(await store.lastPosition(), 32);
  await store.markPublished(32);
  await store.detach(name, given).then(
    () => assert.fail("detached"),
    ({ message }) => assert.match(message, /3 aggregates have all their events/, "it has nothing there"),
  );
  await store.commit({ checkpoint: { ...checkpoint, position: 3 } });
  await assert.rejects(store.detach(name, { ...given, forgetGroups: ["G"] }), /"G" has not handled yet$/);
  await assert.rejects(
    store.detach(name, { readers: new Map([["G", ["old"]]]) }),
    /"G" has not handled yet in test, which this code does not read: unless other servers do, --forget-group it/,
  );
  await assert.rejects(
    store.detach(name, { readers: new Map([["G", ["old"]]]), forgetGroups: ["G"] }),
    /3 aggregates have all their events/,
  );
  await store.commit({ checkpoint: { ...checkpoint, position: 32 } });
  await store.commit({ checkpoint: { ...checkpoint, category: "old", position: 32 } });
  const [message] = await store.readLog({ limit: 1 });
  const dead = { id: newId(), group: "G", message, reason: "handler failed", error: "", stack: null, deadAt: 0 };
  await store.commit({ deadLetters: [{ ...dead, attempts: [] }] });
  await assert.rejects(store.detach(name), /has dead letters of "G"; replay or purge them first/);
  await store.purgeDeadLetters({ group: "G" });
  // What a rename leaves behind, and what the relay keeps.
  await store.commit({ checkpoint: { ...checkpoint, group: "$retired", position: 0 } });
  await assert.rejects(store.detach(name), /3 aggregates have all their events .* may decide wrongly/);
  await store.commit({
    tag: [7, 25, 26].map((position) => ({ position, type: message.type, tags: ["course:1"] })),
  });
  await assert.rejects(
    store.detach(name),
    /events of messages_from_0 have tags, like "course:1": without them boundaries/,
  );
  await store.detach(name, { forgetStreams: true });
  assert.deepEqual((await store.readLog()).map(({ position }) => position), [24, 25, 26, 27, 28, 29, 30, 31, 32]);
  assert.deepEqual((await store.parts())[0].name, second.name);
  // A page is not cut short by what is not there any more.
  const { messages } = await store.readTagged([{ tag: "course:1", types: [message.type] }], { limit: 1 });
  assert.deepEqual(messages.map(({ position }) => position), [25]);
  // Nothing is written to their streams, neither by who has the state in a cache nor by who finds none.
  for (const expected of ["none", 4] as const) {
    await assert.rejects(store.commit({ appends: [sampleAppend("a", 1, expected)] }), WrongExpectedVersionError);
  }
  await store.commit({ appends: [sampleAppend("d", 1, 7)] });
  await store.markPublished(33);
  await store.commit({ checkpoint: { ...checkpoint, position: 33 } });
  await store.commit({ checkpoint: { ...checkpoint, category: "old", position: 33 } });
  await store.commit({ checkpoint: { ...other, position: 33 } });
  await assert.rejects(
    store.detach(second.name, { forgetStreams: true }),
    /1 streams of messages_from_24 go on after it, like "test-d"/,
  );
  assert.equal(third.from, 32);
});

/** A log whose first part nothing needs. */
async function detachable(store: PostgresEventStore): Promise<string> {
  await store.commit({ appends: [sampleAppend("a", 9), sampleAppend("b", 1)] });
  const [{ name, to }] = await store.partition({ size: 10, margin: 1 });
  await store.commit({ appends: [sampleAppend("c", to! - 11)] });
  await store.commit({ appends: [sampleAppend("d", 1)] });
  await store.markPublished(to! - 1);
  await store.commit({ checkpoint: { group: "G", category: "test", partitions: 1, partition: 0, position: to! - 1 } });
  return name;
}

Deno.test("what begins while a part is looked through, or while it is detached, is not lost", async () => {
  for (const what of ["a replay", "an event"] as const) {
    await using made = await make();
    const { store, open, run } = made;
    const name = await detachable(store);
    const [message] = await store.readLog({ limit: 1 });
    // Detaching waits for a report, after it has looked for what is needed.
    await run("begin; select count(*) from annals.messages");
    const detached = store.detach(name, { forgetStreams: true }).then(() => "detached", String);
    const waiting =
      `select count(*) as n from pg_stat_activity where query like '%access exclusive%' and wait_event_type = 'Lock'`;
    const other = open();
    // Not from the transaction, which would see the same all the time.
    const sql = connectPostgres();
    const waits = async () => Number((await sql.unsafe(waiting))[0].n) > 0;
    await until(waits, () => "detaching to wait");
    await sql.end();
    const letter = { id: newId(), group: "G", message, reason: "handler failed", error: "", stack: null, deadAt: 0 };
    const happened = (async () => {
      if (what === "an event") await other.commit({ appends: [sampleAppend("a", 1)] });
      else {
        await other.commit({ deadLetters: [{ ...letter, attempts: [] }] });
        await other.replayDeadLetters([letter.id]);
      }
    })();
    await happened;
    await run("commit");
    assert.match(await detached, what === "an event" ? /go on after it, like "test-a"/ : /"G" has still to try again/);
    assert.equal((await store.parts())[0].name, name);
  }
});

Deno.test("a schema may have any name", async () => {
  const schema = `o'br"ien $& ${newId().slice(-12)}`;
  const store = new PostgresEventStore({ url: databaseUrl(), schema, listen: false });
  const sql = connectPostgres();
  try {
    await store.migrate();
    const name = await detachable(store);
    await store.detach(name, { forgetStreams: true });
    assert.notEqual((await store.parts())[0].name, name);
  } finally {
    await store.close();
    await sql.unsafe(`drop schema if exists "${schema.replaceAll('"', '""')}" cascade`);
    await sql.end();
  }
});

Deno.test("partitioning refuses what it could not keep, by name", async () => {
  await using made = await make();
  const { store, run, schema } = made;
  await store.commit({ appends: [sampleAppend("a", 5)] });
  const cases: [make: string, drop: string, name: RegExp][] = [
    [
      "alter table annals.messages enable row level security",
      "alter table annals.messages disable row level security",
      /row-level security/,
    ],
    [
      "create function annals.n() returns bigint begin atomic select count(*) from annals.messages; end",
      "drop function annals.n()",
      /function .*n\(\)/,
    ],
    [`create publication p_${schema} for table annals.messages`, `drop publication p_${schema}`, /publication p_/],
    [
      "grant select (id) on annals.messages to public",
      "revoke select (id) on annals.messages from public",
      /privileges on column id/,
    ],
    [
      "create function annals.sum(m annals.messages) returns bigint language sql as 'select 1::bigint'",
      "drop function annals.sum(annals.messages)",
      /function .*sum\(/,
    ],
    [
      "alter table annals.messages add constraint mine check (position > 0)",
      "alter table annals.messages drop constraint mine",
      /constraint mine/,
    ],
    ["create table annals.child () inherits (annals.messages)", "drop table annals.child", /table .*child/],
  ];
  for (const [make, drop, name] of cases) {
    await run(make);
    await assert.rejects(store.partition({ size: 10, margin: 1 }), name);
    assert.ok(Array.isArray(await store.inspect()));
    await run(drop);
  }
  for (const wrong of [{ size: 0 }, { size: 2.5 }, { size: 1e16 }, { ahead: 0 }, { ahead: -1 }, { ahead: 101 }]) {
    await assert.rejects(store.partition({ margin: 1, ...wrong }), /is not a (size|number) of parts/);
  }
  assert.deepEqual(await store.parts(), []);
  const single = new PostgresEventStore({ url: databaseUrl(), schema, connections: 1, listen: false });
  await assert.rejects(single.partition(), /with a single connection/);
  await assert.rejects(single.detach("messages_from_0"), /with a single connection/);
  await single.close();
  await store.partition({ size: 10, margin: 1 });
});

Deno.test("a role that could append before can append to a partitioned log", async () => {
  await using made = await make();
  const { store, run, makeRole, schema } = made;
  // As after an upgrade: the rights were granted before the tables for partitions were made.
  await run("drop table annals.stream_heads; drop table annals.message_ids");
  await run("alter table annals.identity drop column partitioned, drop column heads_upto");
  const role = await makeRole("login password 'secret'");
  await run(`grant select, insert, update, delete on all tables in schema "${schema}" to "${role}"`);
  await run("alter table annals.leases drop column granted");
  await run("drop function annals.grant_lease(text, text, int, text, bigint, bigint, bigint)");
  await run(
    "drop table annals.schedule; drop table annals.tags; drop table annals.snapshots; drop table annals.generations",
  );
  await run("alter table annals.outcomes drop column at");
  await run("alter table annals.once drop column at");
  await run("delete from annals.migrations where version > 6");
  assert.deepEqual(await store.migrate(), [
    "the log can be partitioned",
    "what was said when a lease was granted",
    "messages that are appended later",
    "when outcomes and keys were made",
    "tags of messages",
    "snapshots of states",
    "generations of projections",
  ]);
  await store.partition({ size: 2, margin: 1 });
  const url = new URL(databaseUrl());
  [url.username, url.password] = [role, "secret"];
  const theirs = new PostgresEventStore({ url: url.href, schema });
  try {
    for (let i = 0; i < 10; i++) await theirs.commit({ appends: [sampleAppend("a", 1)] });
  } finally {
    await theirs.close();
  }
  assert.equal(await store.lastPosition(), 10);
});

Deno.test("of those that partition at the same time, one is let, and the others are told", async () => {
  await using made = await make();
  const { store, open } = made;
  await store.commit({ appends: [sampleAppend("a", 5)] });
  const fates = await Promise.allSettled([1_000, 10, 70].map((size) => open().partition({ size, margin: 1 })));
  const refused = fates.filter((fate) => fate.status === "rejected").map(({ reason }) => String(reason));
  assert.ok(refused.length < 3);
  for (const reason of refused) assert.match(reason, /being partitioned by another process/);
  assert.equal((await store.parts())[0].name, "messages_from_0");
});

Deno.test("a running server says that partitioning its log was interrupted", async () => {
  await using made = await make();
  const warnings: string[] = [];
  const hour = new AbortController();
  const { promise: warned, resolve } = Promise.withResolvers<void>();
  const engine = new Engine({
    module: new URL("../../fixtures/tally/domain.ts", import.meta.url).href,
    config: loadConfig({
      text: `[event_store]\nurl = "${databaseUrl()}"\nschema = "${made.schema}"\n[brokers.default]\nurl = "memory:"\n`,
    }),
    clock: {
      sleep: (milliseconds, signal) =>
        sleep(
          milliseconds,
          milliseconds < 3_600_000 || hour.signal.aborted ? signal : AbortSignal.any([signal!, hour.signal]),
        ),
    },
    report: (event) => {
      if (event.type !== "service.warned") return;
      warnings.push(event.warning);
      if (/partitioning it was interrupted; run `annals store partition`/.test(event.warning)) resolve();
    },
  });
  await engine.start();
  const before = warnings.length;
  await made.run("alter table annals.messages add constraint messages_part_end check (position < 1000000) not valid");
  hour.abort();
  await warned;
  // What was said at the start is not said again.
  assert.equal(warnings.length, before + 1);
  await engine.stop();
});

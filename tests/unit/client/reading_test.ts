import { aggregate, command, commandHandler, domain, event, projection, projector, type } from "@annals/annals";
import { type Client, connect } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { inMemory } from "@annals/annals/testing";
import assert from "node:assert/strict";
import { z } from "zod";

const Moved = event("Moved", { schema: z.object({ id: z.string(), by: z.int() }) });
const Account = aggregate("Account", {
  events: [Moved],
  initial: () => 0,
  evolve: { Moved: (balance, { payload }) => balance + payload.by },
  invariants: { "not below zero": (balance) => balance >= 0 },
});
const Move = command("Move", { schema: z.object({ id: z.string(), by: z.int() }), target: ({ id }) => id });
const Balance = projection("Balance", {
  key: "id",
  schema: z.object({
    id: z.string(),
    balance: z.int(),
    status: z.enum(["open", "empty"]),
    note: z.string().nullable(),
    tags: z.array(z.string()),
  }),
  indexes: ["balance", ["status", "balance"], "note"],
});
const Untyped = projection("Untyped", { key: "id", schema: type<{ id: string; n: number }>() });
const bank = domain("bank", {
  aggregates: [Account],
  handlers: [
    commandHandler("Mover", Account, { commands: [Move], handle: { Move: (_, { payload }) => Moved(payload) } }),
    projector("BalanceProjector", Balance, {
      events: [Moved],
      on: {
        Moved: (row, { payload: { id, by } }) => {
          const balance = (row?.balance ?? 0) + by;
          const status = balance > 0 ? "open" as const : "empty" as const;
          return { id, balance, status, note: by > 5 ? `by ${by}` : null, tags: [] };
        },
      },
    }),
    projector("UntypedProjector", Untyped, {
      events: [Moved],
      on: { Moved: (row, { payload: { id } }) => ({ id, n: (row?.n ?? 0) + 1 }) },
    }),
  ],
});

async function filled(): Promise<Client> {
  const client = await inMemory(bank);
  for (let n = 0; n < 10; n++) await client.process(Move({ id: `a${n}`, by: n }));
  return client;
}

Deno.test("rows are found by their fields, in order, a page at a time", async () => {
  await using client = await filled();
  const { rows, cursor } = await client.query(Balance, {
    where: { status: "open", balance: { gte: 3, lt: 9 } },
    orderBy: [["balance", "desc"]],
    limit: 4,
  });
  assert.deepEqual(rows.map(({ balance }) => balance), [8, 7, 6, 5]);
  // A row that comes in front of the page shifts nothing.
  await client.process(Move({ id: "b", by: 8 }));
  const next = await client.query(Balance, {
    where: { status: "open", balance: { gte: 3, lt: 9 } },
    orderBy: [["balance", "desc"]],
    limit: 4,
    cursor: cursor!,
  });
  assert.deepEqual(next.rows.map(({ balance }) => balance), [4, 3]);
  assert.equal(next.cursor, null);
  assert.equal((await client.first(Balance, { orderBy: [["balance", "asc"]] }))?.id, "a0");
  assert.equal(await client.first(Balance, { where: { balance: 1_000 } }), null);
  assert.equal(await client.count(Balance, { where: { note: { prefix: "by " } } }), 5);
  assert.equal(await client.count(Balance, { where: { note: null } }), 6);
  assert.equal(await client.count(Balance), 11);
  assert.deepEqual(
    (await client.query(Balance, { where: { id: { in: ["a3", "a1", "x"] } } })).rows.map(({ id }) => id),
    [
      "a1",
      "a3",
    ],
  );
});

Deno.test("a query that asks for what there is not is refused, with what to do", async () => {
  await using client = await filled();
  const refused = (options: object, message: RegExp) =>
    assert.rejects(client.query(Balance, options as never), { name: "DomainDefinitionError", message });
  await refused({ where: { balanc: 1 } }, /no field "balanc"; did you mean "balance"\?/);
  await refused({ where: { balance: { above: 1 } } }, /no condition "above" on "balance"/);
  await refused({ where: { balance: "1" } }, /"balance" is a number, and is compared with "1"/);
  await refused({ where: { balance: NaN } }, /cannot be NaN/);
  await refused({ where: { balance: undefined } }, /"balance" is undefined; leave it out, or say null/);
  await refused({ where: { tags: "x" } }, /"tags" is neither text nor number nor boolean/);
  await refused({ where: { id: "\u0000" } }, /a text that cannot be stored/);
  await refused({ orderBy: [["balance", "up"]] }, /"asc" or "desc"/);
  for (const value of [{}, [], new Date(), new Set(["open"])]) {
    await refused({ where: { status: value } }, /"status" is neither a value nor an object of conditions/);
  }
  await refused({ where: { statsu: {} } }, /"statsu" is neither a value/);
  await refused({ where: new Map() }, /where is no object of conditions/);
  await refused({ orderBy: "balance" }, /orderBy is a list of fields/);
  await refused({ where: { balance: 1n } }, /is a number, and is compared with 1/);
  await refused({ scan: "no" }, /scan is true or false/);
  await refused({ cursor: btoa(JSON.stringify(["Balance", "\u0000"])) }, /the cursor is not of this query/);
  await refused({ limit: 0 }, /limit is a whole number from 1 to 10000/);
  await refused({ limt: 1 }, /no option "limt"; did you mean "limit"\?/);
  await refused({ cursor: "x" }, /the cursor is not of this query/);
  await refused({ where: { status: "open" }, orderBy: [["note", "asc"]] }, /declare indexes: \[\["status", "note"\]\]/);
  assert.equal(
    (await client.query(Balance, { where: { status: "open" }, orderBy: [["note", "asc"]], scan: true })).rows.length,
    9,
  );
  await assert.rejects(client.query(Untyped, { where: { n: 1 } }), /no index answers it/);
  assert.equal((await client.query(Untyped, { where: { n: 1 }, scan: true })).rows.length, 10);
  await assert.rejects(client.query(Untyped, { orderBy: [["n", "asc"]], scan: true }), /does not say what type/);
  assert.throws(
    () => projection("Bad", { key: "id", schema: type<{ id: string }>(), indexes: ["id"] }),
    /can have no indexes; use one that does, like zod's/,
  );
  assert.throws(
    () => projection("Bad", { key: "id", schema: z.object({ id: z.string(), at: z.array(z.int()) }), indexes: ["at"] }),
    /"at" is neither text nor number nor boolean/,
  );
});

Deno.test("wrong fields and values do not compile", async () => {
  await using client = await filled();
  const compiled = () => {
    // @ts-expect-error there is no such field
    void client.query(Balance, { where: { balanc: 1 } });
    // @ts-expect-error it is a number
    void client.query(Balance, { where: { balance: "1" } });
    // @ts-expect-error it is never null
    void client.query(Balance, { where: { balance: null } });
    // @ts-expect-error there is no such status
    void client.query(Balance, { where: { status: "closed" } });
    // @ts-expect-error a list cannot be compared
    void client.query(Balance, { where: { tags: "x" } });
    // @ts-expect-error only texts have a beginning
    void client.query(Balance, { where: { balance: { prefix: "1" } } });
    // @ts-expect-error there is no such field
    projection("P", { key: "id", schema: z.object({ id: z.string() }), indexes: ["ip"] });
    void client.query(Balance, { where: { note: null, balance: { in: [1] } } });
  };
  assert.equal(typeof compiled, "function");
});

Deno.test("a row can be read as it was", async () => {
  await using client = await inMemory(bank);
  const positions: number[] = [];
  for (const by of [5, 2, 6]) {
    await client.process(Move({ id: "a", by }));
    await client.process(Move({ id: "b", by: 1 }));
    positions.push(await client.store.lastPosition());
  }
  const balances = await Promise.all(
    positions.map(async (asOf) => (await client.row(Balance, "a", { asOf }))?.balance),
  );
  assert.deepEqual(balances, [5, 7, 13]);
  assert.equal(await client.row(Balance, "a", { asOf: 0 }), null);
  assert.equal((await client.row(Balance, "b", { asOf: new Date() }))?.balance, 3);
  await assert.rejects(client.row(Balance, "a", { asOf: new Date(NaN) }), /neither a valid Date nor a position/);
});

Deno.test("what came of a command is seen by its token, whoever has it; without a server, it is said", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  const config = (text: string) => loadConfig({ text: `${text}[event_store]\nurl = "sqlite:${folder}/log.db"\n` });
  const sync = await connect(bank, {
    config: config('command_processing = "sync"\nevent_processing = "sync"\n'),
  });
  const receipt = await sync.process(Move({ id: "a", by: 5 }), { until: [Balance] });
  assert.deepEqual([receipt.reached, receipt.behind, receipt.outcome?.status], [true, [], "accepted"]);
  assert.match(receipt.token, /^[\w-]+$/);
  assert.equal((await sync.row(Balance, "a", { after: receipt.token }))?.balance, 5);
  const refused = await sync.process(Move({ id: "a", by: -10 }), { until: [Balance] });
  assert.deepEqual([refused.reached, refused.outcome?.status], [true, "refused"]);
  await assert.rejects(sync.row(Balance, "a", { after: "nonsense" }), /as a token; pass the "token"/);
  await using other = await inMemory(bank);
  const foreign = await other.process(Move({ id: "a", by: 5 }));
  await assert.rejects(sync.row(Balance, "a", { after: foreign.token }), /it is of another log/);
  await assert.rejects(
    sync.process(Move({ id: "a", by: 5 }), { until: [projection("Nobodys", { key: "id", schema: Balance.schema })] }),
    /has no projector that keeps it/,
  );
  // Events that nobody handles.
  await using late = await connect(bank, { config: config("") });
  const record = {
    id: crypto.randomUUID(),
    type: "Moved",
    schemaVersion: 1,
    time: 1,
    correlationId: "c",
    causationId: null,
  };
  const { lastPosition } = await late.store.commit({
    appends: [{
      category: "bank::account",
      stream: "bank::account-z",
      expected: "any",
      publish: true,
      messages: [{ ...record, data: '{"id":"z","by":1}', metadata: null }],
    }],
  });
  const token = btoa(`${(await late.store.logId()).split("/")[0]}~${lastPosition}`).replaceAll("=", "");
  await assert.rejects(late.row(Balance, "z", { after: token, timeout: 50 }), {
    name: "ProjectionBehindError",
    message: /did not show position \d+ within 0.05 s: it is not running/,
  });
  await sync.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a watcher sees a row now and after each change, and many watchers cost one reader", async () => {
  await using client = await inMemory(bank);
  let reads = 0;
  const { readRow } = client.store;
  client.store.readRow = (...given) => {
    reads++;
    return readRow.apply(client.store, given);
  };
  const stop = new AbortController();
  const seen = await Promise.all(Array.from({ length: 50 }, async () => {
    const balances: (number | undefined)[] = [];
    const rows = client.watch(Balance, { key: "a", signal: stop.signal });
    assert.equal((await rows.next()).value, null);
    return { rows, balances };
  }));
  assert.ok(reads < 10, `${reads} reads`);
  for (const by of [1, 2]) {
    await client.process(Move({ id: "a", by }));
    for (const { rows, balances } of seen) balances.push((await rows.next()).value?.balance);
  }
  for (const { balances } of seen) assert.deepEqual(balances, [1, 3]);
  assert.ok(reads < 30, `${reads} reads`);
  stop.abort();
  for (const { rows } of seen) assert.equal((await rows.next()).done, true);
  const before = reads;
  await client.process(Move({ id: "a", by: 1 }));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(reads, before);
  // Whoever comes just after the last one has left, and what others do with what they got.
  for await (const row of client.watch(Balance, { key: "a" })) {
    row!.balance = 99;
    break;
  }
  for await (const row of client.watch(Balance, { key: "a" })) {
    assert.equal(row?.balance, 4);
    break;
  }
  await assert.rejects(client.watch(Balance, { key: undefined } as never).next(), /the key from watch\(\) is wrong/);
  await assert.rejects(client.watch(Balance, { key: "a", where: {} } as never).next(), /by key and by where/);
  for await (const rows of client.watch(Balance, { where: { balance: { gt: 3 } } })) {
    assert.deepEqual(rows.map(({ id }) => id), ["a"]);
    break;
  }
});

Deno.test("a program follows events from a token on, each once, as fast as it takes them", async () => {
  await using client = await filled();
  const got: number[] = [];
  let last = "";
  for await (const { event, token } of client.events({ after: "start", types: ["Moved"] })) {
    got.push((event.payload as { by: number }).by);
    last = token;
    if (got.length === 6) break;
  }
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5]);
  const stop = new AbortController();
  const more = (async () => {
    for await (const { event } of client.events({ after: last, signal: stop.signal })) {
      got.push((event.payload as { by: number }).by);
      if (got.length === 11) stop.abort();
    }
  })();
  await client.process(Move({ id: "a0", by: 10 }));
  await more;
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const { token } = await client.process(Move({ id: "last", by: 1 }));
  await client.process(Move({ id: "later", by: 7 }));
  for await (const { event } of client.events({ after: token })) {
    assert.equal(event.aggregateId, "later");
    break;
  }
  await assert.rejects(client.events({ category: "nope" }).next(), /of category "nope", which domain "bank" has not/);
  await assert.rejects(client.events({ types: ["Mooved"] }).next(), /has not; did you mean "Moved"\?/);
});

Deno.test("a watcher that waits can be left at once", async () => {
  await using client = await inMemory(bank);
  const leave = async (all: AsyncGenerator<unknown, void, undefined>, first: number) => {
    for (let n = 0; n < first; n++) assert.equal((await all.next()).done, false);
    const waiting = all.next();
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal((await all.return()).done, true);
    assert.equal((await waiting).done, true);
    assert.equal((await all.next()).done, true);
  };
  // If they were left with the next change, these would never end.
  await leave(client.watch(Balance, { key: "a" }), 1);
  await leave(client.events(), 0);
  const reader = ReadableStream.from(client.watch(Balance, { key: "a" })).getReader();
  assert.equal((await reader.read()).value, null);
  await reader.cancel();
});

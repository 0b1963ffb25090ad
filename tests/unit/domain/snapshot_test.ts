import { aggregate, command, commandHandler, domain, event, processManager, type } from "@annals/annals";
import { inMemory } from "@annals/annals/testing";
import assert from "node:assert/strict";
import type { Client } from "../../../src/client/client.ts";
import { LocalRunner } from "../../../src/handling/runner.ts";
import { MemoryEventStore } from "../../../src/store/memory.ts";

const Put = event("Put", { schema: type<{ by: number }>() });
const Fill = command("Fill", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });

function purses(evolve: (n: number, by: number) => number = (n, by) => n + by, snapshot = {}) {
  const Purse = aggregate("Purse", {
    events: [Put],
    initial: () => ({ n: 0 }),
    evolve: { Put: ({ n }, { payload }) => ({ n: evolve(n, payload.by) }) },
    snapshot: { every: 10, version: 1, ...snapshot },
  });
  const handlers = [
    commandHandler("Filler", Purse, { commands: [Fill], handle: { Fill: (_n, { payload: { by } }) => Put({ by }) } }),
  ];
  return { domain: domain("purses", { aggregates: [Purse], handlers }), Purse };
}

/** Counts the events that are read. */
function counting(client: Client): { read: number } {
  const counted = { read: 0 };
  const readStream = client.store.readStream.bind(client.store);
  client.store.readStream = async (...given) => {
    const found = await readStream(...given);
    counted.read += found.length;
    return found;
  };
  return counted;
}

const fingerprint = (Purse: ReturnType<typeof purses>["Purse"]) => Purse.snapshots!.fingerprint;

Deno.test("a state is kept after so many events, and folded from there", async () => {
  const { domain, Purse } = purses();
  await using client = await inMemory(domain);
  for (let i = 1; i <= 25; i++) await client.process(Fill({ id: "a", by: i }));
  const snapshot = await client.store.readSnapshot("purses::purse-a", fingerprint(Purse));
  assert.deepEqual([snapshot?.version, snapshot?.state], [19, `{"n":210}`]);
  const counted = counting(client);
  assert.deepEqual((await client.load(Purse, "a")).state, { n: 325 });
  // The one that is in it, and those after it.
  assert.equal(counted.read, 6);
  assert.equal((await client.process(Fill({ id: "a", by: 1 }))).outcome?.status, "accepted");
  assert.deepEqual(await client.load(Purse, "a"), { state: { n: 326 }, version: 25 });
  // As it was: from the events.
  assert.deepEqual(await client.load(Purse, "a", { atVersion: 3 }), { state: { n: 10 }, version: 3 });
});

Deno.test("snapshots of other code are ignored: another version, or another evolve", async () => {
  const { Purse } = purses();
  assert.equal(fingerprint(purses().Purse), fingerprint(Purse));
  assert.notEqual(fingerprint(purses(undefined, { version: 2 }).Purse), fingerprint(Purse));
  const changed = aggregate("Purse", {
    events: [Put],
    initial: () => ({ n: 0 }),
    evolve: { Put: ({ n }, { payload }) => ({ n: n - payload.by }) },
    snapshot: { every: 10, version: 1 },
  });
  assert.notEqual(changed.snapshots!.fingerprint, fingerprint(Purse));
  const newer = event("Put", { schema: type<{ by: number }>(), version: 2, upcast: { 1: (payload) => payload } });
  const upcast = aggregate("Purse", {
    events: [newer],
    initial: () => ({ n: 0 }),
    evolve: { Put: ({ n }, { payload }) => ({ n: n + payload.by }) },
    snapshot: { every: 10, version: 1 },
  });
  assert.notEqual(upcast.snapshots!.fingerprint, fingerprint(Purse));
});

/** Handles the commands of a stream by a runner of its own. */
async function handled(
  { domain }: ReturnType<typeof purses>,
  store: MemoryEventStore,
  by: number,
): Promise<{ complaints: string[]; status: string; state: string | undefined }> {
  const { id: command } = { id: crypto.randomUUID() };
  const message = {
    id: command,
    type: "Fill",
    schemaVersion: 1,
    time: 0,
    correlationId: command,
    causationId: null,
    data: JSON.stringify({ id: "a", by }),
    metadata: null,
  };
  const stream = "purses::purse:command-a";
  const category = "purses::purse:command";
  await store.commit({ appends: [{ stream, category, expected: "any", messages: [message], publish: true }] });
  const complaints: string[] = [];
  const runner = new LocalRunner(domain, domain.handlers.get("Filler")!, {
    reading: {
      readStream: (stream, from) => store.readStream(stream, { from }),
      readRows: () => Promise.resolve([]),
      readSnapshot: (stream, fingerprint) => store.readSnapshot(stream, fingerprint),
      random: () => 0.05,
    },
    timeout: 1_000,
    log: { debug() {}, info() {}, warn() {}, error: (text) => void complaints.push(text) },
  });
  const record = (await store.readStream(stream)).at(-1)!;
  const result = await runner.run([{ record, attempt: 1 }], new AbortController().signal);
  assert(result !== "apart");
  const { appends, outcomes, snapshots } = result.effects;
  await store.commit({ appends, outcomes });
  await store.writeSnapshots(snapshots);
  runner.settle(true);
  return { complaints, status: outcomes[0]?.status, state: snapshots[0]?.state };
}

Deno.test("a sample of snapshots is compared with the events, which count", async () => {
  const store = new MemoryEventStore();
  const first = purses((n, by) => n + by, { verify: "1 in 10" });
  for (let i = 0; i < 10; i++) await handled(first, store, 1);
  const right = await handled(first, store, 1);
  assert.deepEqual(right.complaints, []);
  // What evolve calls has changed, and nobody has raised the version.
  const second = purses((n, by) => n + 2 * by, { verify: "1 in 10" });
  const wrong = await handled(second, store, 1);
  assert.equal(wrong.complaints.length, 1);
  assert.match(
    wrong.complaints[0],
    /The snapshot of "purses::purse-a" at version 9 differs from its events, which count/,
  );
  // A right one takes its place.
  assert.equal(wrong.state, `{"n":24}`);
  assert.deepEqual((await handled(second, store, 1)).complaints, []);
  const never = purses((n, by) => n + 3 * by);
  assert.deepEqual((await handled(never, store, 1)).complaints, []);
});

Deno.test("a snapshot beyond its stream is not taken: the store was set back", async () => {
  const store = new MemoryEventStore();
  const one = purses();
  for (let i = 0; i < 3; i++) await handled(one, store, 1);
  const stream = "purses::purse-a";
  const wrong = (version: number) => ({
    stream,
    version,
    message: crypto.randomUUID(),
    fingerprint: fingerprint(one.Purse),
    state: `{"n":1000}`,
  });
  await store.writeSnapshots([wrong(50)]);
  for (let i = 0; i < 8; i++) await handled(one, store, 1);
  assert.equal((await store.readStream(stream)).length, 11);
  // Nor one of a message that another one has taken the place of.
  await store.writeSnapshots([{ ...wrong(10), fingerprint: "other" }, wrong(3)]);
  const { state } = await handled({ ...one, domain: purses(undefined, { every: 1 }).domain }, store, 1);
  assert.equal(state, `{"n":12}`);
});

Deno.test("what cannot be kept is refused when it is defined, or said when it is due", async () => {
  const define = (initial: () => unknown, snapshot: object) => () =>
    aggregate("Purse", { events: [], initial, evolve: {}, snapshot: snapshot as never });
  const good = { every: 1, version: 1 };
  assert.throws(define(() => new Map(), good), /its state cannot be kept in a snapshot, because it is not JSON/);
  assert.throws(define(() => ({ at: new Date() }), good), /it is not JSON \(at: /);
  assert.throws(define(() => 0, { every: 0, version: 1 }), /"snapshot.every" is 0; expected a whole number from 1 on/);
  assert.throws(define(() => 0, { every: 5 }), /"snapshot.version" is undefined/);
  assert.throws(define(() => 0, { ...good, verify: "sometimes" }), /"snapshot.verify" is "sometimes"; write it like/);
  const store = new MemoryEventStore();
  // It becomes something else later.
  const odd = purses((n, by) => n + by > 5 ? new Map() as never : n + by, { every: 2 });
  const said: string[] = [];
  for (let i = 0; i < 8; i++) said.push(...(await handled(odd, store, 1)).complaints);
  assert.match(said[0], /There can be no snapshot of "purses::purse-a": its state is not JSON/);
});

Deno.test("a long instance of a process is folded from a snapshot", async () => {
  const Ended = event("Ended", { schema: type<{ id: string }>() });
  const Purse = aggregate("Purse", {
    events: [Put, Ended],
    initial: () => 0,
    evolve: { Put: (n) => n + 1, Ended: (n) => n },
  });
  const Count = processManager("Count", {
    events: [Put],
    commands: [],
    starts: ["Put"],
    correlate: { Put: () => "one" },
    initial: () => ({ n: 0 }),
    evolve: { Put: ({ n }, { payload }) => ({ n: n + payload.by }) },
    react: { Put: () => [] },
    refused: {},
  });
  const filler = commandHandler("Filler", Purse, {
    commands: [Fill],
    handle: { Fill: (_n, { payload: { by } }) => Array.from({ length: 50 }, () => Put({ by })) },
  });
  const counts = domain("counts", { aggregates: [Purse], handlers: [filler, Count] });
  await using client = await inMemory(counts);
  for (let i = 0; i < 10; i++) await client.process(Fill({ id: String(i), by: 1 }));
  const journal = "counts::count:process-one";
  const found = await client.store.readStream(journal);
  assert.equal(found.length, 500);
  const counted = counting(client);
  await client.process(Fill({ id: "x", by: 1 }));
  // Each run of the group begins without a memory: from a snapshot, not from five hundred inputs.
  assert(counted.read < 350, String(counted.read));
  assert.equal((await client.store.readStream(journal)).length, 550);
  assert.deepEqual(await client.store.deadLetters(), []);
});

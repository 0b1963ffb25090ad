import {
  aggregate,
  command,
  commandHandler,
  domain,
  event,
  eventHandler,
  projection,
  projector,
  type,
} from "@annals/annals";
import assert from "node:assert/strict";
import { RowCache } from "../../../src/handling/row_cache.ts";
import { LocalRunner } from "../../../src/handling/runner.ts";
import type { BatchResult } from "../../../src/handling/executor.ts";
import { LONGEST_JSON } from "../../../src/messages/json.ts";
import { createGuard } from "../../../src/isolation/timeout.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

Deno.test("effects that were dropped leave no state behind, whatever is said of their batch later", async () => {
  const In = event("In", { schema: type<{ by: number }>() });
  const Purse = aggregate("Purse", {
    events: [In],
    initial: () => 0,
    evolve: { In: (n, { payload }) => n + payload.by },
  });
  const Fill = command("Fill", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
  const seen: number[] = [];
  const filler = commandHandler("Filler", Purse, {
    commands: [Fill],
    handle: { Fill: (level, { payload: { by } }) => (seen.push(level), In({ by })) },
  });
  const purses = domain("purses", { aggregates: [Purse], handlers: [filler] });
  // A promise that the handler forgot rejects while its message is in hand.
  let stray: unknown;
  const runner = new LocalRunner(purses, filler, {
    reading: { readStream: () => Promise.resolve([]), readRows: () => Promise.resolve([]) },
    timeout: 1_000,
    log: SILENT,
    execution: { watch: () => ({ started() {}, takeStray: () => stray }) },
  });
  let position = 0;
  const run = async (): Promise<BatchResult> => {
    const record = {
      ...sampleMessage({ id: "a", by: 60 }, { type: "Fill" }),
      category: "purses::purse:command",
      stream: "purses::purse:command-a",
      version: position,
      position: ++position,
    };
    return await runner.run([{ record, attempt: 1 }], new AbortController().signal) as BatchResult;
  };
  stray = new Error("forgotten");
  assert.match((await run()).failures.get(0)!.error, /forgotten/);
  // What is written is that the message failed: the engine settles its batch all the same.
  runner.settle(true);
  stray = undefined;
  const { effects } = await run();
  assert.deepEqual(seen, [0, 0]);
  assert.equal(effects.appends[0].expected, -1);
});

Deno.test("the time limit is that of one message, however many a batch has", async () => {
  const Ticked = event("Ticked", { schema: type<{ ms: number }>() });
  const Clock = aggregate("Clock", { events: [Ticked], initial: () => 0, evolve: { Ticked: (n) => n + 1 } });
  const busy = eventHandler("Busy", {
    events: [Ticked],
    on: {
      Ticked: ({ payload }) => {
        for (const until = performance.now() + payload.ms; performance.now() < until;);
      },
    },
  });
  const clocks = domain("clocks", { aggregates: [Clock], handlers: [busy] });
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const runner = new LocalRunner(clocks, busy, {
    reading: { readStream: () => Promise.resolve([]), readRows: () => Promise.resolve([]) },
    timeout: 150,
    log: SILENT,
    execution: { guard: createGuard() },
  });
  const item = (ms: number, i: number) => ({
    record: {
      ...sampleMessage({ ms }, { type: "Ticked" }),
      category: "clocks::clock",
      stream: `clocks::clock-${i}`,
      version: 0,
      position: i + 1,
    },
    attempt: 1,
  });
  const slow = await runner.run(Array.from({ length: 12 }, (_, i) => item(40, i)), new AbortController().signal);
  assert.equal((slow as BatchResult).failures.size, 0);
  assert.equal((slow as BatchResult).handled.length, 12);
  assert.ok(turns >= 4, `the event loop turned ${turns} times`);
  const loops = await runner.run([item(10, 0), item(1e9, 1), item(1e9, 2), item(10, 3)], new AbortController().signal);
  assert.deepEqual([...(loops as BatchResult).failures.keys()], [1, 2]);
  assert.match((loops as BatchResult).failures.get(1)!.error, /HandlerTimeoutError/);
  clearInterval(timer);
});

Deno.test("a row that is too long fails the message that made it, and no other", async () => {
  const Noted = event("Noted", { schema: type<{ id: string; length: number }>() });
  const Note = aggregate("Note", { events: [Noted], initial: () => 0, evolve: { Noted: (n) => n + 1 } });
  const Notes = projection("Notes", { key: "id", schema: type<{ id: string; text: string }>() });
  const keeper = projector("Keeper", Notes, {
    events: [Noted],
    on: { Noted: (row, { payload: { id, length } }) => ({ id, text: `${row?.text ?? ""}${"x".repeat(length)}` }) },
  });
  const runner = new LocalRunner(domain("notes", { aggregates: [Note], handlers: [keeper] }), keeper, {
    reading: { readStream: () => Promise.resolve([]), readRows: () => Promise.resolve([]) },
    timeout: 10_000,
    log: SILENT,
  });
  const items = [["a", 1], ["b", LONGEST_JSON], ["a", 1], ["c", 1]].map(([id, length], i) => ({
    record: {
      ...sampleMessage({ id, length }, { type: "Noted" }),
      category: "notes::note",
      stream: `notes::note-${id}`,
      version: i,
      position: i + 1,
    },
    attempt: 1,
  }));
  const { effects, failures } = await runner.run(items, new AbortController().signal) as BatchResult;
  assert.deepEqual([...failures.keys()], [1]);
  assert.match(
    failures.get(1)!.error,
    /"Notes" is refused: .*: \d+ bytes of JSON are more than max_message_bytes = 16777216/,
  );
  assert.deepEqual(effects.rows.map(({ key, row }) => [key, JSON.parse(row!).text]), [["a", "xx"], ["c", "x"]]);
  const strict = new LocalRunner(domain("notes", { aggregates: [Note], handlers: [keeper] }), keeper, {
    reading: { readStream: () => Promise.resolve([]), readRows: () => Promise.resolve([]), longest: 22 },
    timeout: 10_000,
    log: SILENT,
  });
  const short = [items[0], { ...items[2], record: { ...items[2].record, data: '{"id":"a","length":2}' } }];
  const refused = await strict.run(short, new AbortController().signal) as BatchResult;
  assert.match(refused.failures.get(1)!.error, /23 bytes of JSON are more than max_message_bytes = 22/);
});

Deno.test("small commands that make large events are not all handled at once", async () => {
  const Made = event("Made", { schema: type<{ text: string }>() });
  const Book = aggregate("Book", { events: [Made], initial: () => 0, evolve: { Made: (n) => n + 1 } });
  const Make = command("Make", { schema: type<{ id: string; length: number }>(), target: ({ id }) => id });
  let made = 0;
  const maker = commandHandler("Maker", Book, {
    commands: [Make],
    handle: { Make: (_, { payload }) => (made++, Made({ text: "x".repeat(payload.length) })) },
  });
  const runner = new LocalRunner(domain("books", { aggregates: [Book], handlers: [maker] }), maker, {
    reading: { readStream: () => Promise.resolve([]), readRows: () => Promise.resolve([]) },
    timeout: 10_000,
    log: SILENT,
  });
  const items = (length: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({
      record: {
        ...sampleMessage({ id: `${i}`, length }, { type: "Make" }),
        category: "books::book:command",
        stream: `books::book:command-${i}`,
        version: 0,
        position: i + 1,
      },
      attempt: 1,
    }));
  const { signal } = new AbortController();
  assert.equal(await runner.run(items(10_000_000, 60), signal), "apart");
  assert.equal(made, 2);
  // One may have as much as it may.
  assert.equal((await runner.run(items(16_000_000, 1), signal) as BatchResult).handled.length, 1);
  assert.equal((await runner.run(items(100_000, 60), signal) as BatchResult).handled.length, 60);
});

Deno.test("a projector reads a row again only if its last batch may not be stored", async () => {
  const Added = event("Added", { schema: type<{ id: string }>() });
  const Tally = aggregate("Tally", { events: [Added], initial: () => 0, evolve: { Added: (n) => n + 1 } });
  const Count = projection("Count", { key: "id", schema: type<{ id: string; n: number }>() });
  const counter = projector("Counter", Count, {
    events: [Added],
    on: { Added: (row, { payload: { id } }) => id === "gone" ? null : { id, n: (row?.n ?? 0) + 1 } },
  });
  const tallies = domain("tallies", { aggregates: [Tally], handlers: [counter] });
  const stored = new Map<string, string>();
  const reads: string[][] = [];
  const runner = new LocalRunner(tallies, counter, {
    reading: {
      readStream: () => Promise.resolve([]),
      readRows: (_projection, keys) => {
        reads.push([...keys]);
        return Promise.resolve(keys.flatMap((key) => stored.has(key) ? [{ key, row: stored.get(key)! }] : []));
      },
    },
    timeout: 1_000,
    log: SILENT,
  });
  let position = 0;
  const project = async (keys: readonly string[], written: boolean | undefined): Promise<void> => {
    const items = keys.map((id) => ({
      record: {
        ...sampleMessage({ id }, { type: "Added" }),
        category: "c",
        stream: `c-${id}`,
        version: 0,
        position: ++position,
      },
      attempt: 1,
    }));
    const { effects } = await runner.run(items, new AbortController().signal) as BatchResult;
    if (written !== undefined) runner.settle(written);
    if (written) { for (const { key, row } of effects.rows) row === null ? stored.delete(key) : stored.set(key, row); }
  };
  await project(["a", "a", "gone"], true);
  await project(["a", "b", "gone"], true);
  assert.deepEqual(reads, [["a", "gone"], ["b"]]);
  assert.equal(stored.get("a"), '{"id":"a","n":3}');
  // It failed: what was made is not there. Or its answer was lost: then it is, and nothing may be built on what was before.
  await project(["a"], false);
  stored.set("a", '{"id":"a","n":40}');
  await project(["a"], true);
  assert.deepEqual(reads.slice(2), [["a"]]);
  assert.equal(stored.get("a"), '{"id":"a","n":41}');
  // Nothing was said of it, because it was run again in parts.
  await project(["a", "b"], undefined);
  await project(["a"], true);
  assert.equal(stored.get("a"), '{"id":"a","n":42}');
});

Deno.test("a cache of rows is bounded by what they take", () => {
  const cache = new RowCache(100);
  for (let i = 0; i < 20; i++) cache.set(`k${i % 10}`, "x".repeat(18));
  assert.deepEqual([0, 5, 6, 7, 8, 9].map((i) => cache.get(`k${i}`)?.length), [undefined, 18, 18, 18, 18, 18]);
  cache.set("none", null);
  assert.equal(cache.get("none"), null);
  cache.set("k9", "x".repeat(1_000));
  assert.deepEqual(["none", "k8", "k9"].map((key) => cache.get(key)), [undefined, undefined, undefined]);
  cache.set("k1", "y");
  assert.equal(cache.get("k1"), "y");
  cache.clear();
  assert.equal(cache.get("k1"), undefined);
});

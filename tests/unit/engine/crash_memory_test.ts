import { MemoryEventStore } from "@annals/annals/store/memory";
import { StoreUnavailableError } from "@annals/annals/store";
import assert from "node:assert/strict";
import { leaseName } from "../../../src/groups/partition.ts";
import { NO_EFFECTS } from "../../../src/handling/batch.ts";
import type { BatchItem } from "../../../src/handling/executor.ts";
import { WorkerEndedError } from "../../../src/handling/errors.ts";
import { REAL_CLOCK } from "../../../src/lib/clock.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { BOOM, Breaking, FAST, handled, withRunner } from "../../support/breaking_group.ts";
import { until } from "../../support/server.ts";

const L = leaseName("G", 0, 1);
const other = { name: L, group: "G", partitions: 1, owner: "you", ttl: 1 };
const at = (stream: string, category = "test::a", type = "Ticked") => ({
  category,
  stream: `${category}-${stream}`,
  expected: "any" as const,
  publish: true,
  messages: [sampleMessage({}, { type })],
});
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));

Deno.test("a crash of another process counts, although this one has counted an attempt before that nothing ended", async () => {
  const attempts: number[] = [];
  let once = true;
  await withRunner((items) => {
    attempts.push(items[0].attempt);
    return Promise.resolve(handled(items, attempts.length === 1 ? [0] : []));
  }, async ({ store }) => {
    store.breaks = ({ resume }) => resume?.length && once ? (once = false, "unsure") : null;
    const release = store.releaseLease.bind(store);
    let first = true;
    store.releaseLease = async (fence, clean) => {
      await release(fence, clean);
      if (!first) return;
      first = false;
      // Another server: takes it, takes the message for innocent, counts its attempt anew, and is killed.
      const granted = await store.acquireLease(other);
      assert.equal(granted!.clean, true);
      const [row] = await store.deferred("G");
      await MemoryEventStore.prototype.commit.call(store, {
        fence: { lease: L, token: granted!.token },
        defer: [{ ...row, attempts: 2 }],
      });
      await sleep(5);
    };
    await store.put("test::a");
    await until(async () => attempts.length > 2 && (await store.deferred("G")).length === 0, () => "handled");
    assert.deepEqual(attempts, [1, 2, 3]);
  }, { clock: FAST });
});

Deno.test("a lease that was given back too late is not an own one", async () => {
  const attempts: number[] = [];
  let once = true;
  await withRunner((items) => {
    attempts.push(items[0].attempt);
    return Promise.resolve(handled(items, attempts.length === 1 ? [0] : []));
  }, async ({ store, runner }) => {
    store.breaks = ({ resume }) => {
      if (!resume?.length || !once) return null;
      once = false;
      // The process was suspended; another took over, tried the same message and was killed.
      void store.renewLeases([runner.fence!], -1);
      void store.acquireLease(other);
      return "unsure";
    };
    await store.put("test::a");
    await until(async () => attempts.length > 2 && (await store.deferred("G")).length === 0, () => "handled");
    assert.equal(store.granted.length, 3);
    assert.equal(store.granted[2], false);
    assert.deepEqual(attempts, [1, 2, 3]);
  }, { clock: FAST });
});

Deno.test("a lease whose grant was not heard of is granted as it was: no innocent message is given up", async () => {
  await withRunner((items) => Promise.resolve(handled(items)), async ({ store }) => {
    await until(async () => (await store.deferred("G")).length === 0, () => "handled");
    assert.deepEqual((await store.deadLetters()).map(({ error }) => error), []);
  }, {
    clock: FAST,
    maxRetries: 0,
    prepare: async (store) => {
      await store.put("test::a");
      const granted = (await store.acquireLease(other))!;
      const fence = { lease: L, token: granted.token };
      await store.commit({
        fence,
        defer: [{
          group: "G",
          category: "test::a",
          stream: "test::a-1",
          position: 1,
          attempts: 1,
          dueAt: 0,
          failures: [],
          replayed: false,
          awaits: null,
        }],
        checkpoint: { group: "G", category: "test::a", partition: 0, partitions: 1, position: 1 },
      });
      await store.releaseLease(fence, true);
      const acquire = store.acquireLease.bind(store);
      let left = 1;
      store.acquireLease = async (request) => {
        const found = await acquire(request);
        if (left-- <= 0) return found;
        throw new StoreUnavailableError("Lost the connection before it answered", "unsure", true);
      };
    },
  });
});

Deno.test("an attempt whose effects could not be written is not charged because a message of another category ends the worker", async () => {
  const attempts: number[] = [];
  let kills = 0, calls = 0;
  await withRunner((items) => {
    const { category } = items[0].record;
    if (calls++ < 2) {
      kills = 1;
      return Promise.reject(new WorkerEndedError("killed", true));
    }
    if (category === "test::b") {
      attempts.push(items[0].attempt);
      return Promise.resolve(handled(items));
    }
    if (attempts.length === 0 || kills === 2) return Promise.resolve(handled(items, kills === 2 ? [] : [0]));
    kills++;
    return Promise.reject(new WorkerEndedError("killed", true));
  }, async ({ store }) => {
    await store.commit({ appends: [at("1"), at("1", "test::b")] });
    await until(
      async () =>
        kills === 2 && (await store.checkpoints("G")).length === 2 && (await store.deferred("G")).length === 0,
      () => "handled",
    );
    assert.ok(store.broken > 0);
    assert.deepEqual([...new Set(attempts)], [1]);
  }, {
    categories: ["test::a", "test::b"],
    maxRetries: 10,
    prepare: (store) => {
      store.breaks = ({ resume }) =>
        kills === 1 && resume?.some(({ position }) => position === 2) ? "unreachable" : null;
      return Promise.resolve();
    },
  });
});

Deno.test("batches that take too long to write stay small while retries succeed in between", async () => {
  const rowsOf = (items: readonly BatchItem[]) =>
    items.map(({ record: { position } }) => ({ projection: "P", key: String(position), row: "{}", position }));
  await withRunner(
    (items) => Promise.resolve({ ...handled(items), effects: { ...NO_EFFECTS, rows: rowsOf(items) } }),
    async ({ store }) => {
      await until(async () => (await store.listRows("P", { limit: 1000 })).length >= 300, () => "all rows", 20_000);
      assert.ok(store.broken < 30, `refused ${store.broken} times`);
    },
    {
      clock: FAST,
      prepare: async (store) => {
        await store.commit({ appends: Array.from({ length: 200 }, (_, i) => at(`r${i}`)) });
        await store.commit({
          defer: Array.from(
            { length: 200 },
            (_, i) => ({
              group: "G",
              category: "test::a",
              stream: `test::a-r${i}`,
              position: i + 1,
              attempts: 1,
              dueAt: 0,
              failures: [{ at: 0, error: "x" }],
              replayed: false,
              awaits: null,
            }),
          ),
          checkpoint: { group: "G", category: "test::a", partition: 0, partitions: 1, position: 200 },
        });
        await store.commit({ appends: Array.from({ length: 100 }, (_, i) => at(`n${i}`)) });
        store.breaks = ({ rows }) => (rows?.length ?? 0) > 3 ? "unreachable" : null;
      },
    },
  );
});

Deno.test("a second crash is not forgotten if the next attempt cannot be counted before the group yields", async () => {
  const attempts: number[] = [];
  let kills = 0;
  await withRunner((items) => {
    kills++;
    attempts.push(items[0].attempt);
    return kills <= 2 ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items));
  }, async ({ store, runner }) => {
    let away = 0, isAway = true;
    store.breaks = ({ defer }) => isAway && kills > 1 && defer ? (away++, "unreachable") : null;
    await store.put("test::a");
    await until(() => away > 2, () => "the store to be away");
    const grants = store.granted.length;
    runner.yield();
    await until(() => store.granted.length > grants, () => "the next lease");
    isAway = false;
    await until(async () => kills > 2 && (await store.deferred("G")).length === 0, () => "handled");
    assert.deepEqual([store.granted.at(-1), attempts], [false, [1, 1, 2]]);
  }, { clock: FAST });
});

Deno.test("quarantine ends although a message waits for code that knows it", async () => {
  let kills = 0;
  await withRunner(
    (items) => kills++ === 0 ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items)),
    async ({ store, runner, seen }) => {
      await store.commit({ appends: [at("1", "test::a", "Unknown")] });
      await until(async () => (await store.deferred("G")).length === 1, () => "it to wait");
      await store.commit({ appends: [at("1"), at("2")] });
      await until(() => seen.includes("batch.handled"), () => "the group to go on");
      await sleep(3000);
      const grants = store.granted.length;
      runner.yield();
      await until(() => store.granted.length > grants, () => "the next lease");
      assert.equal(store.granted.at(-1), true);
    },
  );
});

Deno.test("no batch begins in a worker whose handler is stuck", async () => {
  let kills = 0, stuck = 0;
  const sizes: number[] = [];
  await withRunner(async (items) => {
    const { category } = items[0].record;
    if (category === "test::a") {
      await sleep(100);
      if (stuck++ === 0) return { handled: [], failures: new Map([[0, BOOM]]), effects: NO_EFFECTS, stuck: true };
      return handled(items);
    }
    if (kills++ === 0) throw new WorkerEndedError("killed", true);
    sizes.push(items.length);
    return handled(items);
  }, async ({ store }) => {
    await until(async () => sizes.length > 0 && (await store.deferred("G")).length === 0, () => "handled");
    assert.equal(stuck >= 1 && kills >= 2, true);
    assert.deepEqual(sizes, [1, 1]);
  }, {
    categories: ["test::a", "test::b"],
    prepare: async (store) => {
      await store.put("test::a");
      await store.commit({ appends: [at("1", "test::b"), at("2", "test::b")] });
    },
  });
});

Deno.test("nothing is written under a lease whose work was abandoned", async () => {
  let calls = 0, abandoned = false;
  const after: string[] = [];
  await withRunner((items) => {
    if (abandoned) after.push("handled");
    return Promise.resolve(handled(items, calls++ === 0 ? [0] : []));
  }, async ({ store, runner }) => {
    const readLog = store.readLog.bind(store);
    let open: () => void = () => {};
    const gate = new Promise<void>((r) => open = r);
    let waiting = false;
    store.readLog = async (q) => {
      if (q?.upTo !== undefined && calls === 1 && !waiting) {
        waiting = true;
        await gate;
      }
      return await readLog(q);
    };
    await store.put("test::a");
    await until(() => waiting, () => "the retry to read");
    const token = runner.fence!.token;
    store.breaks = ({ fence }) => {
      if (abandoned && fence?.token === token) after.push("committed under the old token");
      return null;
    };
    abandoned = true;
    runner.abandon("unsure", "The database failed over");
    open();
    await sleep(300);
    assert.deepEqual(after.filter((x) => x !== "handled"), []);
  }, { clock: FAST });
});

Deno.test("handling in a client's process that fails does not forget the crash of a server before it", async () => {
  const { handleInline } = await import("../../../src/client/sync.ts");
  const { loadConfig } = await import("@annals/annals/config");
  const { default: tally } = await import("../../fixtures/tally/domain.ts");
  const store = new Breaking();
  const request = {
    name: leaseName("SeenProjector", 0, 1),
    group: "SeenProjector",
    partitions: 1,
    owner: "server",
    ttl: 1,
  };
  await store.commit({
    appends: [{
      category: "tally::tally",
      stream: "tally::tally-1",
      expected: "any",
      publish: true,
      messages: [sampleMessage({ n: 1 }, { type: "Added" })],
    }],
  });
  // A server is killed while it holds the lease.
  assert.ok(await store.acquireLease(request));
  await sleep(5);
  store.breaks = ({ fence }) => fence ? "unreachable" : null;
  await assert.rejects(handleInline(tally, store, loadConfig({ text: "" }), 1));
  const next = await store.acquireLease({ ...request, owner: "next server" });
  assert.equal(next!.clean, false);
});

Deno.test("rows of a log that lost its last commits are built on what it has", async () => {
  const { EventStoreSubscription } = await import("../../../src/subscriptions/group.ts");
  const { default: tally } = await import("../../fixtures/tally/domain.ts");
  const handler = [...tally.handlers.values()].find(({ name }) => name === "SeenProjector")!;
  const [before, afterwards] = [new MemoryEventStore(), new MemoryEventStore()];
  const add = (store: MemoryEventStore, n: number) =>
    store.commit({
      appends: [{
        category: "tally::tally",
        stream: "tally::tally-1",
        expected: "any",
        publish: true,
        messages: [sampleMessage({ n }, { type: "Added" })],
      }],
    });
  for (const n of [1, 2, 3]) for (const store of [before, afterwards]) await add(store, n);
  // What the database has after it lost two commits: the log, rows and checkpoint up to 3.
  await new EventStoreSubscription({ domain: tally, handler, store: afterwards }).runUntil(
    3,
    new AbortController().signal,
  );
  for (const n of [4, 5]) await add(before, n);
  let current = before, fails = 0;
  const store = new Proxy(before, {
    get: (_, name) => {
      // deno-lint-ignore no-explicit-any
      const value = (current as any)[name];
      if (typeof value !== "function") return value;
      return (...given: unknown[]) => {
        if (fails > 0 && name === "readLog") {
          fails--;
          return Promise.reject(new StoreUnavailableError("away", "unreachable", true));
        }
        return value.apply(current, given);
      };
    },
  });
  const stop = new AbortController();
  const running = new EventStoreSubscription({ domain: tally, handler, store }).run(stop.signal);
  await until(async () => (await before.readRow("Seen", "1"))?.position === 5, () => "rows");
  current = afterwards;
  fails = 1;
  for (const n of [6, 7]) await add(afterwards, n);
  await until(async () => (await afterwards.readRow("Seen", "1"))?.position === 5, () => "rows");
  const row = (await afterwards.readRow("Seen", "1"))!.row;
  stop.abort();
  await running;
  assert.equal(row, '{"id":"1","ns":[1,2,3,6,7]}');
});

Deno.test("a retry whose effects are never known to be written does not keep new messages from being read", async () => {
  const seen = new Set<string>();
  let first = true;
  await withRunner((items) => {
    for (const { record } of items) seen.add(record.stream);
    return Promise.resolve(handled(items, first ? (first = false, [0]) : []));
  }, async ({ store }) => {
    store.breaks = ({ resume }) => resume?.some(({ position }) => position === 1) ? "unsure" : null;
    await store.put("test::a");
    await until(() => store.broken > 2, () => "it to break");
    await store.commit({ appends: [at("other")] });
    await sleep(3000);
    assert.ok(seen.has("test::a-other"), `not read after ${store.broken} retries`);
  }, { clock: FAST });
});

Deno.test("an attempt is not counted of a message that this code does not know", async () => {
  const attempts: number[] = [];

  await withRunner((items) => {
    attempts.push(items[0].attempt);
    return Promise.resolve(handled(items));
  }, async ({ store }) => {
    await sleep(300);

    assert.deepEqual((await store.deferred("G")).map(({ attempts, failures }) => attempts - failures.length), [0]);
  }, {
    clock: FAST,
    prepare: async (store) => {
      await store.put("test::a", "Unknown");
      const granted = (await store.acquireLease(other))!;
      await store.commit({
        fence: { lease: L, token: granted.token },
        defer: [{
          group: "G",
          category: "test::a",
          stream: "test::a-1",
          position: 1,
          attempts: 0,
          dueAt: 0,
          failures: [],
          replayed: false,
          awaits: null,
        }],
        checkpoint: { group: "G", category: "test::a", partition: 0, partitions: 1, position: 1 },
      });
      await sleep(5);
    },
  });
});

Deno.test("the crash of a server with another number of workers is not taken for an own orderly end", async () => {
  const attempts: number[] = [];
  let yieldNow: () => void = () => {};
  await withRunner((items) => {
    attempts.push(items[0].attempt);
    if (attempts.length === 1) yieldNow();
    return Promise.resolve(handled(items, attempts.length === 1 ? [0] : []));
  }, async ({ store, runner }) => {
    yieldNow = () => runner.yield();
    const release = store.releaseLease.bind(store);
    let first = true;
    store.releaseLease = async (fence, clean) => {
      await release(fence, clean);
      if (!first) return;
      first = false;
      const name = leaseName("G", 0, 2);
      const granted = await store.acquireLease({ name, group: "G", partitions: 2, owner: "you", ttl: 1 });
      assert.equal(granted!.clean, true);
      const [row] = await store.deferred("G");
      await MemoryEventStore.prototype.commit.call(store, {
        fence: { lease: name, token: granted!.token },
        defer: [{ ...row, attempts: 2, dueAt: 0 }],
      });
      await sleep(5);
    };
    await store.put("test::a");
    await until(async () => attempts.length > 1 && (await store.deferred("G")).length === 0, () => "handled");
    assert.equal(store.granted.at(-1), false);
    assert.deepEqual(attempts, [1, 3]);
  }, { clock: { ...REAL_CLOCK, random: () => 1 } });
});

Deno.test("in quarantine, a lost answer to the commit of its effects charges no attempt", async () => {
  let calls = 0;
  await withRunner(
    (items) => calls++ === 0 ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items)),
    async ({ store }) => {
      store.breaks = ({ resume }) => resume?.length && store.broken < 2 ? "unsure" : null;
      await store.put("test::a");
      await until(async () => store.broken === 2 && (await store.deferred("G")).length === 0, () => "handled");
      assert.deepEqual(await store.deadLetters(), []);
    },
    { clock: FAST, maxRetries: 0 },
  );
});

Deno.test("in quarantine, another group's fault ends no quarantine", async () => {
  let calls = 0;
  const sizes: number[] = [];
  await withRunner((items) => {
    sizes.push(items.length);
    return calls++ < 2 ? Promise.reject(new WorkerEndedError("killed", calls === 1)) : Promise.resolve(handled(items));
  }, async ({ store }) => {
    for (let i = 0; i < 5; i++) await store.commit({ appends: [at(String(i))] });
    await until(
      async () =>
        (await store.checkpoints("G")).some((c) => c.position === 5) && (await store.deferred("G")).length === 0,
      () => "handled",
    );
    assert.ok(sizes.slice(-5).every((n) => n === 1));
  }, { clock: FAST });
});

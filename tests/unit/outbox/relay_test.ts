import { MemoryBroker } from "@annals/annals/broker/memory";
import { BrokerUnavailableError } from "../../../src/broker/mod.ts";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { Relay, type RelayOptions } from "../../../src/outbox/relay.ts";
import { RELAY_GROUP, watermarkOf } from "../../../src/groups/watermark.ts";
import { LARGE } from "../../../src/store/large.ts";
import { logTo } from "../../../src/telemetry/log_lines.ts";
import { StreamSubscription } from "../../../src/subscriptions/mod.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { seen, tick, tickingDomain } from "../../support/ticking.ts";

const CATEGORY = "test::clock";

function world(over: Partial<RelayOptions> = {}) {
  const store = new MemoryEventStore();
  const broker = new MemoryBroker();
  const lines: string[] = [];
  const report = logTo((_group, _level, text) => void lines.push(text));
  const readers = new Map([[CATEGORY, ["Tally"]]]);
  const relay = new Relay({ store, broker, readers, report, batch: 2, checkInterval: 1, ...over });
  const domain = tickingDomain();
  const subscribe = () =>
    new StreamSubscription({
      domain,
      handler: domain.handlers.get("Tally")!,
      store,
      broker,
      settings: { blockingTimeoutMs: 1 },
    });
  const settle = async () => subscribe().runUntil(await store.lastPosition(), new AbortController().signal);
  return { store, broker, relay, lines, settle };
}

Deno.test("the relay moves what waits, in order, and forgets it", async () => {
  const { store, broker, relay } = world();
  await tick(store, ["a", "b", "a", "c", "b"]);
  assert.equal(await relay.drain(), 5);
  await broker.createGroup(CATEGORY, "g", 0);
  const { messages: found } = await broker.read({ stream: CATEGORY, group: "g", consumer: "c", count: 10, block: 0 });
  assert.deepEqual(found, await store.readLog());
  assert.deepEqual(await store.outboxStatus(), { waiting: 0, oldest: null, published: 5 });
});

Deno.test("large payloads stay in the log, and readers go there for them", async () => {
  const { store, broker, relay, settle } = world();
  const large = { n: 1, text: "x".repeat(LARGE) };
  await tick(store, ["a"]);
  await tick(store, ["a"], 1, { data: JSON.stringify(large) });
  await tick(store, ["a", "b"], 2);
  await relay.drain();
  await broker.createGroup(CATEGORY, "g", 0);
  const { messages } = await broker.read({ stream: CATEGORY, group: "g", consumer: "c", count: 10, block: 0 });
  assert.deepEqual(messages.map(({ data }) => data), ['{"n":0}', "", '{"n":2}', '{"n":3}']);
  await settle();
  assert.deepEqual(await seen(store), { a: [0, 1, 2], b: [3] });
});

Deno.test("a relay that ended between publishing and marking repeats itself without doubling", async () => {
  const { store, broker, relay } = world();
  await tick(store, ["a", "b"]);
  await broker.publish(await store.readLog());
  assert.equal(await relay.drain(), 2);
  assert.equal((await broker.describe(CATEGORY)).length, 2);
});

Deno.test("the relay publishes nothing internal", async () => {
  const { store, broker, relay } = world();
  await store.commit({
    appends: [{
      category: "test::$reservation",
      stream: "test::$reservation-x",
      expected: "any",
      publish: false,
      messages: [sampleMessage()],
    }],
  });
  await tick(store, ["a", "b", "c"]);
  assert.equal(await relay.drain(), 4);
  assert.equal((await broker.describe(CATEGORY)).length, 3);
  assert.equal((await broker.describe("test::$reservation")).length, 0);
  await tick(store, ["a"], 3);
  assert.equal(await relay.drain(), 1);
});

Deno.test("the relay trims what all groups have passed, and says from where on the broker has it first", async () => {
  const { store, broker, relay, settle } = world();
  await tick(store, ["a", "b", "c"]);
  await relay.drain();
  await relay.check();
  await relay.check();
  assert.equal((await broker.describe(CATEGORY)).length, 3, "the group has not passed them");
  await settle();
  await relay.check();
  assert.equal(watermarkOf(await store.checkpoints(RELAY_GROUP), CATEGORY), 3);
  assert.equal((await broker.describe(CATEGORY)).length, 3, "announced, not done");
  await relay.check();
  assert.equal((await broker.describe(CATEGORY)).length, 0);
});

Deno.test("the relay goes on trimming while it holds its lease, and waits for groups of other code", async () => {
  const { store, broker } = world();
  const lease = { name: RELAY_GROUP, group: RELAY_GROUP, partitions: 1, owner: "me", ttl: 5000 };
  const fence = { lease: RELAY_GROUP, token: (await store.acquireLease(lease))!.token };
  const { relay, settle } = world({ store, broker, fence });
  const round = async (n: number) => {
    await tick(store, ["a"], n);
    await relay.drain();
    const checkpoint = { group: "Tally", category: CATEGORY, partitions: 1, partition: 0, position: n + 1 };
    await store.commit({ checkpoint });
    await relay.check();
    await relay.check();
    return (await broker.describe(CATEGORY)).first;
  };
  assert.deepEqual([await round(0), await round(1), await round(2)], [null, null, null]);
  await store.acquireLease({ ...lease, name: "Elsewhere#0/1", group: "Elsewhere" });
  await store.commit({
    checkpoint: { group: "Elsewhere", category: CATEGORY, partitions: 1, partition: 0, position: 3 },
  });
  assert.equal(await round(3), 4);
  await settle();
});

Deno.test("a group that starts after the broker was trimmed reads from the log what is gone", async () => {
  const { store, relay, settle } = world({ readers: new Map([[CATEGORY, []]]) });
  await tick(store, ["a", "b"]);
  await relay.drain();
  await relay.check();
  await relay.check();
  await tick(store, ["a"], 2);
  await relay.drain();
  await settle();
  assert.deepEqual(await seen(store), { a: [0, 2], b: [1] });
});

Deno.test("a broker that goes away costs one line, loses nothing, and costs one line when it is back", async () => {
  const inner = new MemoryBroker();
  let away = true;
  const broker = new Proxy(inner, {
    get: (_, name) => {
      const value = Reflect.get(inner, name);
      if (typeof value !== "function") return value;
      return (...given: unknown[]) =>
        away ? Promise.reject(new BrokerUnavailableError("Cannot reach the broker")) : value.apply(inner, given);
    },
  });
  const { store, relay, lines } = world({ broker, clock: { random: () => 0 } });
  const stop = new AbortController();
  const running = relay.run(stop.signal);
  await tick(store, ["a"]);
  while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await tick(store, ["b"], 1);
  away = false;
  while ((await store.outboxStatus()).waiting > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  stop.abort();
  await running;
  assert.deepEqual(lines, [
    "Cannot reach the broker; waiting for it",
    "Available again; resuming",
  ]);
  assert.equal((await inner.describe(CATEGORY)).length, 2);
});

Deno.test("a wiped broker is filled again from the lowest checkpoint", async () => {
  const { store, relay, lines, settle } = world();
  await tick(store, ["a", "b"]);
  await relay.drain();
  await settle();
  await tick(store, ["a", "c"], 2);
  await relay.drain();
  const wiped = world();
  const filled = new Relay({
    store,
    broker: wiped.broker,
    readers: new Map([[CATEGORY, ["Tally"]]]),
    report: logTo((_group, _level, text) => void lines.push(text)),
  });
  await filled.check();
  const { last, first, length } = await wiped.broker.describe(CATEGORY);
  assert.deepEqual({ last, first, length }, { last: 4, first: 3, length: 2 });
  assert.match(lines[0], /lost messages of test::clock; publishing again from position 2/);
});

Deno.test("what a broker lost when it was trimmed, and was filled with again, is trimmed again", async () => {
  const { store, broker, relay } = world();
  await tick(store, Array.from({ length: 20 }, (_, n) => `${n}`));
  await relay.drain();
  const reach = (position: number) =>
    store.commit({ checkpoint: { group: "Tally", category: CATEGORY, partitions: 1, partition: 0, position } });
  const length = async () => (await broker.describe(CATEGORY)).length;
  const check = async () => {
    for (let i = 0; i < 3; i++) await relay.check();
  };
  await reach(20);
  await check();
  assert.equal(await length(), 0);
  await reach(0);
  await broker.remove(CATEGORY);
  await check();
  assert.equal(await length(), 20);
  await reach(20);
  await check();
  assert.equal(await length(), 0);
});

Deno.test("where nothing moves, the check asks the broker once for all categories", async () => {
  const asked: string[] = [];
  class CountedBroker extends MemoryBroker {
    override lasts(streams: readonly string[]) {
      asked.push("lasts");
      return super.lasts(streams);
    }
    override describe(stream: string) {
      asked.push("describe");
      return super.describe(stream);
    }
    override trim(stream: string, upTo: number) {
      asked.push("trim");
      return super.trim(stream, upTo);
    }
  }
  const broker = new CountedBroker();
  const categories = Array.from({ length: 20 }, (_, n) => `test::c${n}`);
  const { store, relay } = world({ broker, readers: new Map(categories.map((category) => [category, ["Tally"]])) });
  await store.commit({
    appends: categories.map((category) => ({
      category,
      stream: `${category}-1`,
      expected: "any",
      messages: [sampleMessage({})],
      publish: true,
    })),
  });
  await relay.drain();
  for (const category of categories) {
    const position = await store.lastPosition();
    await store.commit({ checkpoint: { group: "Tally", category, partitions: 1, partition: 0, position } });
  }
  // The first announces what will be trimmed.
  await relay.check();
  asked.length = 0;
  await relay.check();
  assert.deepEqual(asked, ["lasts", ...categories.map(() => "trim")]);
  asked.length = 0;
  await relay.check();
  assert.deepEqual(asked, ["lasts"]);
});

Deno.test("the relay moves what is appended while it sleeps, and stops when asked", async () => {
  const { store, broker, relay } = world({ checkInterval: 60_000 });
  const stop = new AbortController();
  const running = relay.run(stop.signal);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await tick(store, ["a"]);
  while ((await broker.describe(CATEGORY)).length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  stop.abort();
  await running;
});

import { aggregate, domain, event, projection, projector, type } from "@annals/annals";
import type { Domain, Handler } from "../../../src/domain/model.ts";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { EventStoreSubscription } from "../../../src/subscriptions/mod.ts";
import { tick, Ticked } from "../../support/ticking.ts";

const Tocked = event("Tocked", { schema: type<{ n: number }>() });
const Count = projection("Count", { key: "id", schema: type<{ id: string; n: number }>() });

const Clock = aggregate("Clock", { events: [Ticked], initial: () => 0, evolve: { Ticked: (n) => n + 1 } });
const Other = aggregate("Other", { events: [Tocked], initial: () => 0, evolve: { Tocked: (n) => n + 1 } });

/** A counter of ticks whose rows have the keys it is told. */
function counting(keyOf: (id: string) => string) {
  const count = (row: { n: number } | null, { aggregateId }: { aggregateId: string }) => ({
    id: keyOf(aggregateId),
    n: (row?.n ?? 0) + 1,
  });
  const handler = projector("Counter", Count, {
    events: [Ticked],
    keyOf: ({ aggregateId }) => keyOf(aggregateId),
    on: { Ticked: count },
  });
  return { domain: domain("test", { aggregates: [Clock], handlers: [handler] }), handler };
}

/** One that counts events of two aggregates. */
function countingBoth() {
  const count = (row: { n: number } | null, { aggregateId: id }: { aggregateId: string }) => ({
    id,
    n: (row?.n ?? 0) + 1,
  });
  const handler = projector("Counter", Count, {
    events: [Ticked, Tocked],
    keyOf: ({ aggregateId }) => aggregateId,
    on: { Ticked: count, Tocked: count },
  });
  return { domain: domain("test", { aggregates: [Clock, Other], handlers: [handler] }), handler };
}

async function run(counter: { domain: Domain; handler: Handler }, partitions: number): Promise<Record<string, number>> {
  const store = new MemoryEventStore();
  const ids = Array.from({ length: 20 }, (_, i) => `c${i}`);
  await tick(store, ids);
  await tick(store, ids);
  await Promise.all(Array.from({ length: partitions }, async (_, partition) => {
    const settings = { blockingTimeoutMs: 1, messagesPerTick: 3 };
    await new EventStoreSubscription({ ...counter, store, partitions, partition, settings })
      .runUntil(await store.lastPosition(), new AbortController().signal);
  }));
  assert.deepEqual(await store.deadLetters(), []);
  assert.deepEqual(await store.deferred("Counter"), []);
  return Object.fromEntries((await store.listRows("Count")).map(({ key, row }) => [key, JSON.parse(row!).n]));
}

Deno.test("several workers keep rows of one stream each", async () => {
  assert.deepEqual(new Set(Object.values(await run(counting((id) => id), 4))), new Set([2]));
});

Deno.test("several workers share rows of many streams: each event is counted once", async () => {
  assert.deepEqual(await run(counting(() => "all"), 4), { all: 40 });
  assert.deepEqual(await run(counting((id) => id.slice(0, 2)), 8), await run(counting((id) => id.slice(0, 2)), 1));
  assert.deepEqual(await run(countingBoth(), 4), await run(countingBoth(), 1));
});

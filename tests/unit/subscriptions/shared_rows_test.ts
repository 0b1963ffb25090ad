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
  for (let partition = 0; partition < partitions; partition++) {
    await new EventStoreSubscription({ ...counter, store, partitions, partition, settings: { blockingTimeoutMs: 1 } })
      .runUntil(await store.lastPosition(), new AbortController().signal)
      .catch(async (error) => {
        assert.deepEqual(await store.listRows("Count"), []);
        assert.deepEqual(await store.deadLetters(), []);
        assert.deepEqual(await store.deferred("Counter"), []);
        throw error;
      });
  }
  return Object.fromEntries((await store.listRows("Count")).map(({ key, row }) => [key, JSON.parse(row!).n]));
}

Deno.test("several workers keep rows of one stream each", async () => {
  assert.deepEqual(new Set(Object.values(await run(counting((id) => id), 4))), new Set([2]));
});

Deno.test("several workers refuse a row that they may share, before anything is lost; one worker keeps it", async () => {
  const advice =
    /"Counter" has 4 workers, and row "all" of projection "Count" .*its key is not the id of its stream \("test::clock-c\d+"\).*Counter = 1 under \[server\.workers\]/;
  await assert.rejects(run(counting(() => "all"), 4), { name: "SharedRowError", message: advice });
  await assert.rejects(run(countingBoth(), 4), /the group reads several aggregates/);
  assert.deepEqual(await run(counting(() => "all"), 1), { all: 40 });
});

import assert from "node:assert/strict";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { loadConfig } from "@annals/annals/config";
import type { DomainDescription } from "../../../src/isolation/protocol.ts";
import { groupStatuses } from "../../../src/operating/groups.ts";
import { type EventStore, REPLAY } from "../../../src/store/port.ts";
import { sampleAppend } from "../../../src/testing/store_suite.ts";

const config = loadConfig({ text: "" });

/** Counts the calls of a store. */
function counting(store: EventStore): { readonly store: EventStore; readonly calls: () => number } {
  let calls = 0;
  const counted = new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      return typeof value !== "function" ? value : (...given: unknown[]) => (calls++, value.apply(target, given));
    },
  });
  return { store: counted, calls: () => calls };
}

function domainOf(groups: number) {
  const handlers = Array.from({ length: groups }, (_, i) => ({ name: `G${i}`, categories: ["test"] }));
  return { name: "test", handlers, projections: [] } as unknown as DomainDescription;
}

Deno.test("the status of all groups takes as many calls of the store for 200 groups as for one", async () => {
  const asked = await Promise.all([1, 200].map(async (groups) => {
    const { store, calls } = counting(new MemoryEventStore());
    const found = await groupStatuses({ config, store, domain: domainOf(groups) });
    assert.equal(found.length, groups);
    await store.close();
    return calls();
  }));
  assert.equal(asked[0], asked[1]);
});

Deno.test("the status of a group is what its checkpoints, deferred messages, dead letters and leases say", async () => {
  const store = new MemoryEventStore();
  await store.commit({ appends: [sampleAppend("a", 10)] });
  const checkpoint = { group: "G1", category: "test", partitions: 1, partition: 0, position: 4 };
  const deferred = {
    group: "G1",
    category: "test",
    stream: "test-a",
    attempts: 0,
    dueAt: 0,
    failures: [],
    replayed: false,
    awaits: null,
  };
  await store.commit({
    checkpoint,
    defer: [
      { ...deferred, position: 1, attempts: 2 },
      { ...deferred, position: 2 },
      { ...deferred, position: 3, awaits: "Tested@2" },
      { ...deferred, position: 4, awaits: REPLAY },
      { ...deferred, position: 1, group: "G2" },
    ],
  });
  await store.acquireLease({ name: "G1#0/2", group: "G1", partitions: 2, owner: "box/1:7.1:x", ttl: 1_000_000 });
  const [none, one] = await groupStatuses({ config, store, domain: domainOf(3) }, 1_700_000_005_000);
  assert.deepEqual({ ...one }, {
    group: "G1",
    kind: "stream",
    checkpoint: 4,
    lagMessages: 6,
    lagSeconds: 5,
    pending: 3,
    retrying: 1,
    awaiting: { "Tested@2": 1, [REPLAY]: 1 },
    dead: 0,
    running: 1,
    workers: 2,
    held: [{ partition: 0, process: "box:7" }],
    resting: [],
  });
  assert.deepEqual([none.checkpoint, none.lagMessages, none.running], [0, 10, 0]);
  await store.close();
});

import assert from "node:assert/strict";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { Tidier } from "../../../src/engine/tidier.ts";
import { newId } from "../../../src/messages/ids.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { VirtualTime } from "../../support/virtual_clock.ts";

const DAY = 86_400_000;
const writes = {
  events: true,
  commands: false,
  rows: "none",
  outcomes: true,
  statements: false,
  deliveries: false,
} as const;

function world(keepOutcomes: number, keepIdempotencyKeys: number) {
  const time = new VirtualTime(1);
  const { clock } = time.machine();
  const store = new MemoryEventStore({ clock });
  const domain = { name: "d", handlers: [{ name: "H", categories: ["d::t:command"], writes }] };
  const tidier = new Tidier({ store, domain, config: { keepOutcomes, keepIdempotencyKeys }, clock, report: () => {} });
  const isKnown = async (key: string) => (await store.commit({ once: { key, value: "{}" } })).repeated !== null;
  return { time, store, tidier, isKnown };
}

Deno.test("a server deletes outcomes and keys once they are older than they are kept, however many there are", async () => {
  const { time, store, tidier, isKnown } = world(30 * DAY, 60 * DAY);
  const ids = Array.from({ length: 2_500 }, newId);
  await store.commit({ outcomes: ids.map((commandId) => ({ commandId, status: "accepted", detail: "{}" })) });
  await store.commit({ once: { key: "d:command:k", value: "{}" } });
  const stop = new AbortController();
  const running = tidier.run(stop.signal);
  await time.pass(29 * DAY);
  assert.notEqual(await store.outcome(ids[0]), null);
  await time.pass(2 * DAY);
  for (const id of ids) assert.equal(await store.outcome(id), null);
  assert.ok(await isKnown("d:command:k"));
  await time.pass(30 * DAY);
  assert.ok(!await isKnown("d:command:k"));
  stop.abort();
  await running;
});

Deno.test("the keys of commands that nobody has decided are kept, however old", async () => {
  const { time, store, tidier, isKnown } = world(DAY, DAY);
  const { now } = time.machine().clock;
  const message = sampleMessage({}, { time: now() });
  const append = { category: "d::t:command", stream: "d::t:command-a", expected: "any" as const, publish: true };
  await store.commit({ appends: [{ ...append, messages: [message] }], once: { key: "d:command:k", value: "{}" } });
  await time.pass(10 * DAY);
  await tidier.tidy();
  assert.ok(await isKnown("d:command:k"));
  const checkpoint = { group: "H", category: "d::t:command", partitions: 1, partition: 0, position: 1 };
  const deferred = {
    group: "H",
    category: "d::t:command",
    stream: "d::t:command-a",
    position: 1,
    attempts: 1,
    dueAt: 0,
  };
  await store.commit({ checkpoint, defer: [{ ...deferred, failures: [], replayed: false, awaits: null }] });
  await tidier.tidy();
  assert.ok(await isKnown("d:command:k"));
  await store.commit({ resume: [{ group: "H", position: 1 }] });
  await tidier.tidy();
  assert.ok(!await isKnown("d:command:k"));
});

Deno.test("what is kept forever is not looked at", async () => {
  const { store, tidier } = world(Infinity, Infinity);
  store.tidy = () => Promise.reject(new Error("no"));
  await tidier.tidy();
});

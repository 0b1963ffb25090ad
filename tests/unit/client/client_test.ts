import { aggregate, domain, event, eventHandler, type } from "@annals/annals";
import { Client } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { handleInline } from "../../../src/client/sync.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import tally, { Add } from "../../fixtures/tally/domain.ts";

const HOUR = 3_600_000;

const Happened = event("Happened", { schema: type<object>() });
const Thing = aggregate("Thing", { events: [Happened], initial: () => 0, evolve: { Happened: (n) => n + 1 } });

for (const skew of [-HOUR, HOUR]) {
  Deno.test(`a client whose clock is ${skew > 0 ? "ahead" : "behind"} knows whether a server runs, also while no group is held`, async () => {
    const store = new MemoryEventStore({ clock: { now: () => Date.now() + skew } });
    const client = new Client(tally, store, loadConfig({ text: "" }));
    assert.equal(await client.isServed(), false);
    await store.enroll({ owner: "a server", types: {} }, 4_000);
    assert.equal(await client.isServed(), true);
    // Its groups are on their way to it: nobody decides yet, and the client does not give up.
    const sent = client.process(Add({ id: "a", n: 1 }), { wait: true, timeout: 200 });
    await assert.rejects(sent, { name: "OutcomeTimeoutError", message: /not decided within 0.2 s; it is stored/ });
    await store.enroll({ owner: "a server", types: {} }, 0);
    assert.equal(await client.isServed(), false);
    await client.close();
  });
}

Deno.test("a command that is longer than max_message_bytes is refused, in bytes of UTF-8", async () => {
  const store = new MemoryEventStore();
  const client = new Client(tally, store, loadConfig({ text: "[event_store]\nmax_message_bytes = 1024\n" }));
  await client.process(Add({ id: "x".repeat(480), n: 1 }));
  await assert.rejects(
    client.process(Add({ id: "€".repeat(480), n: 1 })),
    /"Add" is refused: .* 1455 bytes of JSON are more than max_message_bytes = 1024/,
  );
  assert.equal(await store.lastPosition(), 1);
  await client.close();
});

Deno.test("handling in the client's process keeps its lease for as long as it takes", async () => {
  let now = 1_000_000;
  const store = new MemoryEventStore({ clock: { now: () => now } });
  const ticks: (() => void)[] = [];
  const seen: string[] = [];
  const slow = domain("test", {
    aggregates: [Thing],
    handlers: [
      eventHandler("Slow", {
        events: [Happened],
        on: {
          Happened: async () => {
            const [lease] = await store.leases();
            for (let i = 0; i < 5; i++) {
              now += 12_000;
              for (const tick of ticks) tick();
              const { name, group, partitions } = lease;
              const taken = await store.acquireLease({ name, group, partitions, owner: "another", ttl: 1_000 });
              seen.push(taken === null ? "held" : "taken");
            }
          },
        },
      }),
    ],
  });
  await store.commit({
    appends: [{
      category: slow.categoryOf(Thing),
      stream: slow.streamOf(Thing, "1"),
      expected: "none",
      messages: [sampleMessage({}, { type: "Happened" })],
      publish: false,
    }],
  });
  const real = globalThis.setInterval;
  globalThis.setInterval = ((tick: () => void) => {
    ticks.push(tick);
    return real(() => {}, 1_000_000);
  }) as typeof setInterval;
  try {
    await handleInline(slow, store, loadConfig({ text: "" }), 1);
  } finally {
    globalThis.setInterval = real;
  }
  assert.deepEqual(seen, ["held", "held", "held", "held", "held"]);
  assert.deepEqual((await store.checkpoints("Slow")).map(({ position }) => position), [1]);
  await store.close();
});

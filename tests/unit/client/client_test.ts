import { aggregate, domain, event, eventHandler, type } from "@annals/annals";
import { Client } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { handleInline } from "../../../src/client/sync.ts";
import { overriding } from "../../../src/lib/overriding.ts";
import { StoreUnavailableError } from "../../../src/store/errors.ts";
import type { EventStore } from "../../../src/store/port.ts";
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

Deno.test("a key of idempotency stands for one command: whatever comes with it is that, or an error that names both", async () => {
  const store = new MemoryEventStore();
  const client = new Client(tally, store, loadConfig({ text: "" }));
  const first = await client.process(Add({ id: "a", n: 1 }), { idempotencyKey: "k" });
  assert.equal(first.repeated, false);
  // The order of fields is no difference.
  const again = await client.process(Add({ n: 1, id: "a" }), { idempotencyKey: "k" });
  assert.deepEqual([again.commandId, again.aggregateId, again.repeated], [first.commandId, "a", true]);
  for (const other of [{ id: "a", n: 2 }, { id: "b", n: 1 }]) {
    await assert.rejects(client.process(Add(other), { idempotencyKey: "k" }), {
      name: "IdempotencyKeyError",
      message:
        `idempotencyKey "k" was used for Add ${first.commandId} with another payload; use another key for another command`,
      commandId: first.commandId,
    });
  }
  await assert.rejects(
    client.process(Add({ id: "a", n: 2 }), { idempotencyKey: "k", after: "1h" }),
    /was used for Add .* with another payload/,
  );
  assert.equal(await store.lastPosition(), 1);
  assert.deepEqual(await store.scheduled(), []);
  // What an earlier version has kept says nothing of the payload.
  await store.commit({ once: { key: "tally:command:old", value: JSON.stringify({ id: "x", aggregateId: "a" }) } });
  assert.equal((await client.process(Add({ id: "b", n: 9 }), { idempotencyKey: "old" })).commandId, "x");
  await client.close();
});

Deno.test("who repeats a command that is pending waits for its outcome", async () => {
  const store = new MemoryEventStore();
  const client = new Client(tally, store, loadConfig({ text: "" }));
  await store.enroll({ owner: "a server", types: {} }, 60_000);
  const { commandId } = await client.process(Add({ id: "a", n: 1 }), { idempotencyKey: "k" });
  const waiting = client.process(Add({ id: "a", n: 1 }), { idempotencyKey: "k", wait: true });
  const detail = JSON.stringify({ events: ["Added"] });
  await store.commit({ outcomes: [{ commandId, status: "accepted", detail }] });
  const { outcome, repeated } = await waiting;
  assert.deepEqual([outcome, repeated], [{ status: "accepted", events: ["Added"] }, true]);
  await client.close();
});

Deno.test("the history of an aggregate has the state after each event", async () => {
  const store = new MemoryEventStore();
  const things = domain("things", { aggregates: [Thing], handlers: [] });
  const client = new Client(things, store, loadConfig({ text: "" }));
  const messages = [1, 2, 3].map((n) => sampleMessage({ n }, { type: "Happened" }));
  const append = { category: "things::thing", stream: "things::thing-a", expected: "any" as const, publish: true };
  await store.commit({ appends: [{ ...append, messages }] });
  const history = await client.history(Thing, "a");
  assert.deepEqual(history.map(({ event, state }) => [event.payload, event.version, state]), [
    [{ n: 1 }, 0, 1],
    [{ n: 2 }, 1, 2],
    [{ n: 3 }, 2, 3],
  ]);
  assert.deepEqual(await client.history(Thing, "b"), []);
  await client.close();
});

for (
  const [what, broken, options] of [
    ["its outcome", "outcome", { wait: true, timeout: 1_000 }],
    ["the log", "logId", {}],
  ] as const
) {
  Deno.test(`a command that is stored is said to be so when the store goes away before ${what} is known`, async () => {
    const store = new MemoryEventStore();
    const away = () => Promise.reject(new StoreUnavailableError("it is away", "unreachable", true));
    const client = new Client(tally, overriding<EventStore>(store, { [broken]: away }), loadConfig({ text: "" }));
    // "Try again" would be taken for "send it again".
    await assert.rejects(client.process(Add({ id: "a", n: 1 }), options), {
      name: "OutcomeTimeoutError",
      recovery: "none",
      message: /^Command \S+ is stored; .*: it is away$/,
    });
    assert.equal(await store.lastPosition(), 1);
    await client.close();
  });
}

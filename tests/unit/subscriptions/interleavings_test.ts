import { Fuse } from "../../support/crashing.ts";
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
import { MemoryBroker } from "@annals/annals/broker/memory";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { type Commit, type EventStore, StoreUnavailableError } from "@annals/annals/store";
import assert from "node:assert/strict";
import { Relay } from "../../../src/outbox/relay.ts";
import { EventStoreSubscription, type GroupOptions, StreamSubscription } from "../../../src/subscriptions/mod.ts";
import type { DeferredMessage, ReadLogOptions } from "../../../src/store/port.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { seen, tick, tickingDomain } from "../../support/ticking.ts";

const NEVER = new AbortController().signal;

/** Appends one message. */
async function put(store: EventStore, stream: string, type: string, payload: object, over = {}): Promise<void> {
  const category = stream.slice(0, stream.lastIndexOf("-"));
  const append = { category, stream, expected: "any" as const, publish: true, ...over };
  await store.commit({ appends: [{ ...append, messages: [sampleMessage(payload, { type })] }] });
}

Deno.test("a projector of two categories that share a row counts every event once", async () => {
  const Up = event("Up", { schema: type<{ id: string }>() });
  const Down = event("Down", { schema: type<{ id: string }>() });
  const Rising = aggregate("Rising", { events: [Up], initial: () => 0, evolve: { Up: (n) => n + 1 } });
  const Falling = aggregate("Falling", { events: [Down], initial: () => 0, evolve: { Down: (n) => n + 1 } });
  const Both = projection("Both", { key: "id", schema: type<{ id: string; count: number }>() });
  const count = (row: { count: number } | null, { payload }: { payload: { id: string } }) => ({
    id: payload.id,
    count: (row?.count ?? 0) + 1,
  });
  const moves = domain("moves", {
    aggregates: [Rising, Falling],
    handlers: [projector("Counter", Both, { events: [Up, Down], on: { Up: count, Down: count } })],
  });
  const store = new SqliteEventStore({ path: ":memory:" });
  const stop = new AbortController();
  const settings = { messagesPerTick: 10, blockingTimeoutMs: 20 };
  const running = new EventStoreSubscription({
    domain: moves,
    handler: moves.handlers.get("Counter")!,
    store,
    settings,
  })
    .run(stop.signal);
  for (let i = 0; i < 100; i++) {
    await put(store, "moves::rising-1", "Up", { id: "x" });
    await put(store, "moves::falling-1", "Down", { id: "x" });
  }
  while ((await store.checkpoints()).filter(({ position }) => position >= 199).length < 2) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  stop.abort();
  await running;
  assert.equal(JSON.parse((await store.readRow("Both", "x"))!.row!).count, 200);
  await store.close();
});

for (const maxRetries of [3, 0]) {
  Deno.test(`an attempt that failed on a stale state leaves nothing behind (max_retries = ${maxRetries})`, async () => {
    const Counted = event("Counted", { schema: type<{ by: string }>() });
    const Counter = aggregate("Counter", { events: [Counted], initial: () => 0, evolve: { Counted: (n) => n + 1 } });
    const Count = command("Count", { schema: type<{ id: string; from: number }>(), target: ({ id }) => id });
    const counting = domain("counting", {
      aggregates: [Counter],
      handlers: [commandHandler("Handler", Counter, {
        commands: [Count],
        handle: {
          Count: (count, { payload }) => {
            if (count < payload.from) throw new Error("not yet");
            return Counted({ by: String(payload.from) });
          },
        },
      })],
    });
    const now = { time: 1_700_000_000_000 };
    const store = new MemoryEventStore({ clock: { now: () => now.time } });
    await put(store, "counting::counter:command-x", "Count", { id: "x", from: 0 });
    await put(store, "counting::counter:command-x", "Count", { id: "x", from: 3 });
    let commits = 0;
    // Somebody else writes to the stream just before our first and third commit.
    const raced = new Proxy(store, {
      get: (target, name) => {
        const value = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return async (...given: unknown[]) => {
          if (name === "commit" && [1, 3].includes(++commits)) {
            await put(store, "counting::counter-x", "Counted", { by: "other" });
          }
          return await value.apply(target, given);
        };
      },
    });
    const options: GroupOptions = {
      domain: counting,
      handler: counting.handlers.get("Handler")!,
      store: raced,
      clock: { now: () => now.time, random: () => 0 },
      settings: { blockingTimeoutMs: 1, maxRetries },
    };
    const subscription = new EventStoreSubscription(options);
    for (let i = 0; i < 3; i++) {
      await subscription.runUntil(2, NEVER);
      now.time += 2_000;
    }
    const by = (await store.readStream("counting::counter-x")).map((message) => JSON.parse(message.data).by);
    assert.equal(by.filter((name) => name === "3").length, 1, by.join(" "));
    assert.deepEqual(await store.deadLetters(), []);
    assert.deepEqual(await store.deferred("Handler"), []);
  });
}

Deno.test("a message that kills, far behind the checkpoint, is found and given up all the same", async () => {
  const POISON = 4_500;
  const store = new MemoryEventStore();
  await tick(store, Array.from({ length: 5_000 }, (_, i) => `s${i % 50}`));
  let fuse = new Fuse(Infinity);
  const killing = tickingDomain((n) => {
    if (n === POISON) fuse.dead = true;
  });
  const handler = killing.handlers.get("Reactor")!;
  const settings = { maxRetries: 3, retryDelaySeconds: 0, blockingTimeoutMs: 1, messagesPerTick: 100 };
  let deaths = 0;
  while (deaths < 20) {
    fuse = new Fuse(Infinity);
    const subscription = new EventStoreSubscription({
      domain: killing,
      handler,
      store: fuse.wrap(store),
      settings,
      quarantined: deaths > 0,
    });
    if (await subscription.runUntil(5_000, NEVER).then(() => true, () => false)) break;
    deaths++;
  }
  assert.ok(deaths <= 6, `it took ${deaths} deaths`);
  assert.deepEqual((await store.deadLetters()).map(({ message }) => JSON.parse(message.data).n), [POISON]);
});

Deno.test("what code does not know is left to a process that does, also when it was set aside before", async () => {
  const Old = event("Old", { schema: type<{ n: number }>() });
  const New = event("New", { schema: type<{ n: number }>() });
  const handled: string[] = [];
  let away = true;
  const old = domain("skew", {
    aggregates: [aggregate("Thing", { events: [Old], initial: () => 0, evolve: { Old: (n) => n } })],
    handlers: [eventHandler("Reactor", { events: [Old], on: { Old: () => void handled.push("old: Old") } })],
  });
  const newer = domain("skew", {
    aggregates: [
      aggregate("Thing", { events: [Old, New], initial: () => 0, evolve: { Old: (n) => n, New: (n) => n } }),
    ],
    handlers: [eventHandler("Reactor", {
      events: [Old, New],
      on: {
        Old: () => void handled.push("new: Old"),
        New: () => {
          if (away) throw new Error("downstream is away");
          handled.push("new: New");
        },
      },
    })],
  });
  const now = { time: 1_700_000_000_000 };
  const store = new MemoryEventStore({ clock: { now: () => now.time } });
  const run = (which: typeof old | typeof newer, owner: string) =>
    new EventStoreSubscription({
      domain: which,
      handler: which.handlers.get("Reactor")!,
      store,
      owner,
      clock: { now: () => now.time },
      settings: { blockingTimeoutMs: 1 },
    }).runUntil(3, NEVER);
  await store.enroll({ owner: "new", types: { Old: 1, New: 1 } }, 60_000);
  await put(store, "skew::thing-a", "Old", { n: 1 });
  await put(store, "skew::thing-b", "New", { n: 2 });
  await put(store, "skew::thing-c", "Old", { n: 3 });
  await assert.rejects(run(old, "old"), { name: "UnknownTypeError", type: "New@1" });
  assert.deepEqual(handled, ["old: Old"]);
  await run(newer, "new");
  assert.deepEqual(handled, ["old: Old", "new: Old"]);
  assert.equal((await store.deferred("Reactor")).length, 1);
  now.time += 5_000;
  away = false;
  await assert.rejects(run(old, "old"), { name: "UnknownTypeError" });
  assert.deepEqual(await store.deadLetters(), []);
  await run(newer, "new");
  assert.deepEqual(handled, ["old: Old", "new: Old", "new: New"]);
});

for (const field of ["message", "stack"]) {
  Deno.test(`an error whose ${field} is not a text loses nothing`, async () => {
    const store = new SqliteEventStore({ path: ":memory:" });
    await tick(store, ["a"]);
    const throwing = tickingDomain(() => {
      throw Object.assign(new Error("x"), { [field]: { code: 42 } });
    });
    const handler = throwing.handlers.get("Reactor")!;
    await new EventStoreSubscription({
      domain: throwing,
      handler,
      store,
      settings: { maxRetries: 0, blockingTimeoutMs: 1 },
    })
      .runUntil(1, NEVER);
    assert.equal((await store.deadLetters()).length, 1);
    await store.close();
  });
}

Deno.test("servers that write outbox rows and servers that do not, at the same time: everything is published", async () => {
  const store = new MemoryEventStore();
  const broker = new MemoryBroker();
  const ticking = tickingDomain();
  const readers = new Map([["test::clock", ["Tally"]]]);
  const handler = ticking.handlers.get("Tally")!;
  const subscribe = () =>
    new StreamSubscription({ domain: ticking, handler, store, broker, settings: { blockingTimeoutMs: 1 } });
  await put(store, "test::clock-a", "Ticked", { n: 0 }, { publish: false });
  const relay = new Relay({ store, broker, readers });
  await relay.drain();
  await subscribe().runUntil(1, NEVER);
  for (const n of [1, 3, 5]) {
    await put(store, "test::clock-a", "Ticked", { n }, { publish: false });
    await tick(store, ["a"], n + 1);
    await relay.drain();
  }
  await subscribe().runUntil(7, NEVER);
  assert.deepEqual(await seen(store), { a: [0, 1, 2, 3, 4, 5, 6] });
});

Deno.test("a commit whose answer was lost, and that comes through late, finds its lease taken", async () => {
  const store = new MemoryEventStore();
  const ticking = tickingDomain();
  const handler = ticking.handlers.get("Tally")!;
  await tick(store, ["a", "a", "b"]);
  const lease = { name: "Tally#0/1", group: "Tally", partitions: 1, owner: "me", ttl: 60_000 };
  const fence = async () => ({ lease: lease.name, token: (await store.acquireLease(lease))!.token });
  let late = (): Promise<unknown> => Promise.resolve();
  const breaking = new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (name !== "commit") return value.bind(target);
      return (commit: Commit) => {
        late = () => target.commit(commit);
        return Promise.reject(new StoreUnavailableError("Lost the connection", "unsure", true));
      };
    },
  });
  const settings = { blockingTimeoutMs: 1 };
  const first = new EventStoreSubscription({
    domain: ticking,
    handler,
    store: breaking,
    fence: await fence(),
    settings,
  });
  // It must not go on under the same lease by itself.
  const patience = new Promise((resolve) => setTimeout(resolve, 2_000, "it went on"));
  const ended = first.run(NEVER).catch((error) => error.reason);
  assert.equal(await Promise.race([ended, patience]), "unsure");
  await new EventStoreSubscription({ domain: ticking, handler, store, fence: await fence(), settings }).runUntil(
    3,
    NEVER,
  );
  await assert.rejects(late(), { name: "FencedError" });
  assert.deepEqual(await seen(store), { a: [0, 1], b: [2] });
});

Deno.test("messages that another reader of the group took are read from the log", async () => {
  const store = new MemoryEventStore();
  const broker = new MemoryBroker();
  const ticking = tickingDomain();
  let published = 0;
  // A consumer that was given up for dead and woke up: it is faster, every third time.
  const raced = new Proxy(broker, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...given: unknown[]) => {
        const done = value.apply(target, given);
        const zombie = { stream: "test::clock", group: "Tally", consumer: "zombie", count: 1, block: 0 };
        if (name === "publish" && published++ % 3 === 1) void broker.read(zombie).catch(() => {});
        return done;
      };
    },
  });
  const relay = new Relay({ store, broker: raced, readers: new Map([["test::clock", ["Tally"]]]) });
  const stop = new AbortController();
  const running = new StreamSubscription({
    domain: ticking,
    handler: ticking.handlers.get("Tally")!,
    store,
    broker,
    settings: { blockingTimeoutMs: 5 },
  }).run(stop.signal);
  for (let n = 0; n < 60; n++) {
    await tick(store, ["a"], n);
    await relay.drain();
    await new Promise((resolve) => setTimeout(resolve, n % 4));
  }
  while ((await store.checkpoints("Tally"))[0]?.position !== 60) await new Promise((resolve) => setTimeout(resolve, 5));
  stop.abort();
  await running;
  assert.deepEqual(await seen(store), { a: Array.from({ length: 60 }, (_, n) => n) });
});

/** Versions of a domain: the second knows a newer version of an event, a new event, and a new command. */
function versions(handled: string[]) {
  const schema = type<{ n: number }>();
  const target = () => "a";
  const [A1, A2] = [
    event("A", { schema }),
    event("A", { version: 2, schema: type<{ n: number; by: string }>(), upcast: { 1: (v1) => ({ ...v1, by: "?" }) } }),
  ];
  const B = event("B", { schema });
  const [Old, New] = [command("Old", { schema, target }), command("New", { schema, target })];
  const note = (code: string) => ({ type, payload }: { type: string; payload: unknown }) =>
    void handled.push(`${code} ${type} ${JSON.stringify(payload)}`);
  const thing1 = aggregate("Thing", { events: [A1], initial: () => 0, evolve: { A: (n) => n + 1 } });
  const thing2 = aggregate("Thing", {
    events: [A2, B],
    initial: () => 0,
    evolve: { A: (n) => n + 1, B: (n) => n + 1 },
  });
  const first = domain("versions", {
    aggregates: [thing1],
    handlers: [
      commandHandler("Decider", thing1, { commands: [Old], handle: { Old: (_n, { payload }) => A1(payload) } }),
      eventHandler("Reactor", { events: [A1], on: { A: note("first") } }),
    ],
  });
  const second = domain("versions", {
    aggregates: [thing2],
    handlers: [
      commandHandler("Decider", thing2, {
        commands: [Old, New],
        handle: {
          Old: (_n, { payload }) => A2({ ...payload, by: "old" }),
          New: (_n, { payload }) => [A2({ ...payload, by: "new" }), B(payload)],
        },
      }),
      eventHandler("Reactor", { events: [A2, B], on: { A: note("second"), B: note("second") } }),
    ],
  });
  return { first, second };
}

Deno.test("deployed, rolled back and deployed again: nothing is passed over, nothing is a dead letter, and order holds", async () => {
  const handled: string[] = [];
  const { first, second } = versions(handled);
  const store = new MemoryEventStore();
  const run = async (which: typeof first, ...groups: string[]): Promise<void> => {
    for (const group of groups) {
      const handler = which.handlers.get(group)!;
      await new EventStoreSubscription({ domain: which, handler, store, settings: { blockingTimeoutMs: 1 } })
        .runUntil(await store.lastPosition(), NEVER);
    }
  };
  const send = (name: string, stream: string, n: number) =>
    put(store, `versions::thing:command-${stream}`, name, { n });
  await send("Old", "a", 1);
  await run(second, "Decider");
  await send("New", "a", 2);
  await send("Old", "b", 3);
  // Rolled back: what the first version does not know waits, with all that is behind it in its stream.
  await run(first, "Decider", "Reactor");
  await send("Old", "a", 4);
  await run(first, "Decider", "Reactor");
  assert.deepEqual(handled, ['first A {"n":3}']);
  const waiting = async (group: string) => (await store.deferred(group)).map(({ awaits }) => awaits);
  assert.deepEqual(await waiting("Reactor"), ["A@2"]);
  assert.deepEqual(await waiting("Decider"), ["New@1", null]);
  // Deployed again.
  await run(second, "Decider", "Reactor");
  await run(second, "Reactor");
  assert.deepEqual(await store.deadLetters(), []);
  assert.deepEqual([...await waiting("Decider"), ...await waiting("Reactor")], []);
  assert.deepEqual(handled.slice(1), [
    'second A {"n":1,"by":"old"}',
    'second A {"n":2,"by":"new"}',
    'second B {"n":2}',
    'second A {"n":4,"by":"old"}',
  ]);
});

Deno.test("a command whose aggregate has events of newer code is left to that code, or waits for it", async () => {
  const { first, second } = versions([]);
  const store = new MemoryEventStore();
  const decide = (which: typeof first, owner: string) =>
    new EventStoreSubscription({
      domain: which,
      handler: which.handlers.get("Decider")!,
      store,
      owner,
      settings: { blockingTimeoutMs: 1, maxRetries: 0 },
    }).runUntil(10, NEVER);
  const send = (n: number) => put(store, "versions::thing:command-a", "Old", { n });
  await send(1);
  await decide(second, "second");
  await send(2);
  await store.enroll({ owner: "second", types: { A: 2 } }, 60_000);
  await assert.rejects(decide(first, "first"), { name: "UnknownTypeError", type: "A@2" });
  await store.enroll({ owner: "second", types: {} }, 0);
  await decide(first, "first");
  assert.deepEqual((await store.deferred("Decider")).map(({ awaits }) => awaits), ["A@2"]);
  await decide(second, "second");
  assert.deepEqual(await store.deadLetters(), []);
  assert.deepEqual((await store.readStream("versions::thing-a")).map(({ data }) => JSON.parse(data).n), [1, 2]);
});

Deno.test("a message that was set aside is not dropped because one read of the log finds nothing", async () => {
  const store = new MemoryEventStore();
  await tick(store, ["a", "b", "c"]);
  let lies = 1;
  const lying = new Proxy(store, {
    get: (target, name) => {
      const member = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      if (name !== "readLog") return member.bind(target);
      return (options: ReadLogOptions) =>
        options.upTo === undefined || options.upTo > options.after! + 1 || lies-- <= 0
          ? target.readLog(options)
          : Promise.resolve([]);
    },
  });
  const domain = tickingDomain();
  const subscription = new EventStoreSubscription({
    domain,
    handler: domain.handlers.get("Tally")!,
    store: lying,
    // As after a crash.
    quarantined: true,
    settings: { blockingTimeoutMs: 1 },
  });
  await subscription.runUntil(3, new AbortController().signal);
  assert.equal(lies, -2, "each of three was read");
  assert.deepEqual(await seen(store), { a: [0], b: [1], c: [2] });
});

Deno.test("what was deferred and is no longer in the log is forgotten", async () => {
  const store = new MemoryEventStore();
  await tick(store, ["a"]);
  const row = { group: "Tally", category: "test::clock", attempts: 0, dueAt: 0, failures: [], replayed: false };
  await store.commit({ defer: [{ ...row, stream: "test::clock-z", position: 9, awaits: null }] });
  const domain = tickingDomain();
  const handler = domain.handlers.get("Tally")!;
  const settings = { blockingTimeoutMs: 1 };
  await new EventStoreSubscription({ domain, handler, store, settings }).runUntil(1, new AbortController().signal);
  assert.deepEqual(await store.deferred("Tally"), []);
  assert.deepEqual(await seen(store), { a: [0] });
});

Deno.test("a replayed message is handled once, although the list of replays is shared and old", async () => {
  const store = new MemoryEventStore();
  let [broken, handled] = [true, 0];
  const domain = tickingDomain(async (_n, context) => {
    if (!context) return;
    if (broken) throw new Error("broken");
    await new Promise((resolve) => setTimeout(resolve, 50));
    handled++;
  });
  await tick(store, ["a"]);
  const handler = domain.handlers.get("Reactor")!;
  let old: readonly DeferredMessage[] = [];
  const settings = { blockingTimeoutMs: 10, maxRetries: 0 };
  const stop = new AbortController();
  const replays = () => Promise.resolve(old);
  const running = new EventStoreSubscription({ domain, handler, store, replays, settings }).run(stop.signal);
  while ((await store.deadLetters()).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  broken = false;
  await store.replayDeadLetters((await store.deadLetters()).map(({ id }) => id));
  old = await store.replayed();
  while (handled === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  // The list is asked for again, twice.
  await new Promise((resolve) => setTimeout(resolve, 600));
  stop.abort();
  await running;
  assert.equal(handled, 1);
  assert.deepEqual(await store.deadLetters(), []);
});

import type { EventContext } from "@annals/annals";
import { MemoryBroker } from "@annals/annals/broker/memory";
import { type EventStore, FencedError } from "@annals/annals/store";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { Relay } from "../../../src/outbox/relay.ts";
import {
  EventStoreSubscription,
  type GroupOptions,
  type GroupSubscription,
  HandlerStuckError,
  StreamSubscription,
} from "../../../src/subscriptions/mod.ts";
import { leaseName } from "../../../src/groups/partition.ts";
import { Put, seen, tick, tickingDomain } from "../../support/ticking.ts";

interface World {
  store: EventStore;
  broker: MemoryBroker;
  now: { time: number };
  /** Makes a subscription of `Tally` or `Reactor`. */
  subscribe(
    group: string,
    act?: (n: number, context?: EventContext) => unknown,
    over?: Partial<GroupOptions>,
  ): GroupSubscription;
  /** Brings everything to the broker and runs a subscription until it has nothing to do. */
  settle(subscription: GroupSubscription): Promise<void>;
}

const SETTINGS = { blockingTimeoutMs: 1, retryDelaySeconds: 1, maxRetries: 3, handlerTimeoutSeconds: 5 };

function world(kind: "stream" | "event_store"): World {
  const now = { time: 1_700_000_000_000 };
  const store = new MemoryEventStore({ clock: { now: () => now.time } });
  const broker = new MemoryBroker({ clock: { now: () => now.time } });
  const relay = new Relay({ store, broker, readers: new Map([["test::clock", ["Tally", "Reactor"]]]) });
  return {
    store,
    broker,
    now,
    subscribe: (group, act, over) => {
      const domain = tickingDomain(act);
      const options: GroupOptions = {
        domain,
        handler: domain.handlers.get(group)!,
        store,
        settings: SETTINGS,
        clock: { now: () => now.time, random: () => 0 },
        ...over,
      };
      return kind === "stream" ? new StreamSubscription({ ...options, broker }) : new EventStoreSubscription(options);
    },
    settle: async (subscription) => {
      await relay.drain();
      await subscription.runUntil(await store.lastPosition(), new AbortController().signal);
    },
  };
}

for (const kind of ["stream", "event_store"] as const) {
  const test = (name: string, run: (world: World) => Promise<void>) =>
    Deno.test(`${kind} subscription: ${name}`, () => run(world(kind)));

  test("handles every message once, in order, and goes on where it was", async ({ store, subscribe, settle }) => {
    await tick(store, ["a", "b", "a"]);
    await settle(subscribe("Tally"));
    await tick(store, ["b"], 3);
    await settle(subscribe("Tally"));
    assert.deepEqual(await seen(store), { a: [0, 2], b: [1, 3] });
  });

  test("a group moves to the other kind and goes on where it was", async ({ store, broker, subscribe, settle }) => {
    await tick(store, ["a", "b"]);
    await settle(subscribe("Tally"));
    await tick(store, ["a"], 2);
    const domain = tickingDomain();
    const options = { domain, handler: domain.handlers.get("Tally")!, store };
    await settle(
      kind === "stream" ? new EventStoreSubscription(options) : new StreamSubscription({ ...options, broker }),
    );
    assert.deepEqual(await seen(store), { a: [0, 2], b: [1] });
  });

  test("a message that fails is tried again with growing delays, then handled", async (world) => {
    const { store, now, subscribe, settle } = world;
    const attempts: number[] = [];
    const subscription = subscribe("Reactor", (_n, context) => {
      attempts.push(context!.attempt);
      if (attempts.length < 3) throw new Error("not yet");
    });
    await tick(store, ["a"]);
    await settle(subscription);
    const [deferred] = await store.deferred("Reactor");
    assert.equal(deferred.dueAt, now.time + 1000);
    now.time += 999;
    await settle(subscribe("Reactor", () => assert.fail("too early")));
    now.time += 1;
    const again = subscribe("Reactor", (_n, context) => {
      attempts.push(context!.attempt);
      if (attempts.length < 3) throw new Error("not yet");
    });
    await settleDeferred(world, again);
    assert.equal((await store.deferred("Reactor"))[0].dueAt, now.time + 2000);
    now.time += 2000;
    await settleDeferred(world, again);
    assert.deepEqual(attempts, [1, 2, 3]);
    assert.deepEqual(await store.deferred("Reactor"), []);
    assert.deepEqual(await store.deadLetters(), []);
  });

  test("a clock that is set back makes no message wait for longer", async (world) => {
    const { store, now, subscribe, settle } = world;
    await tick(store, ["a"]);
    const handled: number[] = [];
    const subscription = subscribe("Reactor", (n) => {
      if (handled.push(n) === 1) throw new Error("not yet");
    });
    await settle(subscription);
    now.time -= 3_600_000;
    await settleDeferred(world, subscription);
    assert.deepEqual(handled, [0, 0]);
    assert.deepEqual(await store.deferred("Reactor"), []);
  });

  test("a message that goes on failing becomes a dead letter; its stream waits, no other does", async (world) => {
    const { store, now, subscribe } = world;
    await tick(store, ["a", "b", "a", "b"]);
    const handled: number[] = [];
    const subscription = subscribe("Reactor", (n) => {
      if (n === 0) throw new TypeError("never");
      handled.push(n);
    });
    await world.settle(subscription);
    assert.deepEqual(handled, [1, 3]);
    for (const delay of [1000, 2000, 4000]) {
      now.time += delay;
      await settleDeferred(world, subscription);
    }
    assert.deepEqual(handled, [1, 3, 2]);
    const [dead] = await store.deadLetters();
    assert.equal(dead.error, "TypeError: never");
    assert.match(dead.stack!, /subscription_test/);
    assert.equal(dead.reason, "handler failed");
    assert.equal(dead.message.data, '{"n":0}');
    assert.deepEqual(dead.attempts.map(({ at }) => at - now.time), [-7000, -6000, -4000, 0]);
  });

  test("what is new is not held up by what fails again and again", async (world) => {
    const { store, subscribe, settle, now } = world;
    const seen: number[] = [];
    const act = (n: number): void => {
      seen.push(n);
      if (n < 100) throw new Error(String(n));
    };
    await tick(store, Array.from({ length: 20 }, (_, i) => `bad${i}`));
    await settle(subscribe("Reactor", act));
    assert.equal(seen.length, 20);
    now.time += 5_000;
    await tick(store, ["good"], 100);
    await settle(subscribe("Reactor", act));
    assert.ok(seen.indexOf(100) <= 22, `it waited for ${seen.indexOf(100) - 20} retries`);
  });

  test("with enable_dlq off, a message that goes on failing is passed over", async (world) => {
    const { store, subscribe, settle } = world;
    await tick(store, ["a", "a"]);
    const handled: number[] = [];
    const act = (n: number) => {
      if (n === 0) throw new Error("never");
      handled.push(n);
    };
    const settings = { ...SETTINGS, maxRetries: 0, enableDlq: false };
    const subscription = subscribe("Reactor", act, { settings });
    await settle(subscription);
    await settleDeferred(world, subscription);
    assert.deepEqual(handled, [1]);
    assert.deepEqual(await store.deadLetters(), []);
  });

  test("a dead letter that is replayed goes to the group that failed and to no other", async (world) => {
    const { store, subscribe, settle, now } = world;
    await tick(store, ["a"]);
    const settings = { ...SETTINGS, maxRetries: 0 };
    await settle(subscribe("Tally"));
    await settle(subscribe("Reactor", () => assert.fail("no"), { settings }));
    const [{ id }] = await store.deadLetters();
    assert.equal(await store.replayDeadLetters([id]), 1);
    const handled: number[] = [];
    now.time += 1000;
    await settleDeferred(world, subscribe("Reactor", (n) => void handled.push(n)));
    await settleDeferred(world, subscribe("Tally"));
    assert.deepEqual(handled, [0]);
    assert.deepEqual(await seen(store), { a: [0] });
    assert.deepEqual(await store.deadLetters(), []);
    assert.deepEqual(await store.deferred("Reactor"), []);
  });

  test("what cannot be decoded is dead-lettered if the group handles its type, passed over if not; what no code knows waits", async (world) => {
    const { store, subscribe, settle } = world;
    await tick(store, ["x"], 0, { schemaVersion: 9 });
    await tick(store, ["b"], 1, { data: "{not json" });
    await tick(store, ["c"], 2, { type: "Passed", data: "{not json" });
    await tick(store, ["d"], 3, { type: "Unheard" });
    await tick(store, ["a", "x"], 4);
    const lacks = new Set<string>();
    await settle(subscribe("Tally", undefined, { lacks: (name) => void lacks.add(name) }));
    assert.deepEqual(await seen(store), { a: [4] });
    const dead = await store.deadLetters();
    assert.deepEqual(dead.map((letter) => letter.reason), ["damaged"]);
    assert.match(dead[0].error, /Cannot read message/);
    const waiting = (await store.deferred("Tally")).map(({ stream, awaits }) => [stream.at(-1), awaits]);
    assert.deepEqual(waiting, [["x", "Ticked@9"], ["d", "Unheard@1"], ["x", null]]);
    assert.deepEqual([...lacks], ["Ticked@9", "Unheard@1"]);
  });

  test("effects of a message that fails after it made them are not written", async (world) => {
    const { store, subscribe, settle } = world;
    await tick(store, ["a", "b"]);
    await settle(subscribe("Reactor", async (n, context) => {
      context!.put(Put, { id: `row-${n}`, ns: [n] });
      await Promise.resolve();
      if (n === 0) throw new Error("after it put a row");
    }));
    assert.deepEqual(await seen(store, "Put"), { "row-1": [1] });
  });

  test("a handler that waits for ever is given up: its attempt counts and its worker is to be replaced", async (world) => {
    const { store, now, subscribe, settle } = world;
    await tick(store, ["a", "b"]);
    const settings = { ...SETTINGS, handlerTimeoutSeconds: 0.02 };
    let context: EventContext | undefined;
    const hang = (n: number, given?: EventContext) => {
      context = given;
      return n === 0 ? new Promise(() => {}) : undefined;
    };
    await assert.rejects(settle(subscribe("Reactor", hang, { settings })), HandlerStuckError);
    assert.equal(context!.signal.aborted, true);
    const [deferred] = await store.deferred("Reactor");
    assert.equal(deferred.attempts, 1);
    assert.match(deferred.failures[0].error, /handler_timeout_seconds = 0.02/);
    const handled: number[] = [];
    now.time += 1000;
    await settle(subscribe("Reactor", (n) => void handled.push(n)));
    assert.deepEqual(handled, [0, 1]);
  });

  test("a handler that wakes up after it was given up for dead writes nothing", async (world) => {
    const { store, subscribe, settle } = world;
    await tick(store, ["a"]);
    let wake!: () => void;
    const asleep = new Promise<void>((resolve) => wake = resolve);
    let said = "";
    const hang = async (_n: number, context?: EventContext) => {
      await asleep;
      try {
        context!.put(Put, { id: "late", ns: [1] });
      } catch (error) {
        said = (error as Error).message;
      }
    };
    const settings = { ...SETTINGS, handlerTimeoutSeconds: 0.01 };
    await assert.rejects(settle(subscribe("Reactor", hang, { settings })), HandlerStuckError);
    const before = await store.deferred("Reactor");
    wake();
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.match(said, /its context is closed/);
    assert.deepEqual(await seen(store, "Put"), {});
    assert.deepEqual(await store.deferred("Reactor"), before);
  });

  test("one that lost its lease writes nothing", async (world) => {
    const { store, now, subscribe, settle } = world;
    const lease = leaseName("Tally", 0, 1);
    const request = { name: lease, group: "Tally", partitions: 1, ttl: 5000 };
    const first = (await store.acquireLease({ ...request, owner: "first" }))!;
    await tick(store, ["a"]);
    now.time += 6000;
    const second = (await store.acquireLease({ ...request, owner: "second" }))!;
    assert.equal(second.clean, false);
    await assert.rejects(settle(subscribe("Tally", undefined, { fence: { lease, token: first.token } })), FencedError);
    assert.deepEqual(await seen(store), {});
    await settle(subscribe("Tally", undefined, { fence: { lease, token: second.token } }));
    assert.deepEqual(await seen(store), { a: [0] });
  });

  test("partitions share the streams, and a change of their number doubles and loses nothing", async (world) => {
    const { store, subscribe, settle } = world;
    const ids = ["a", "b", "c", "d", "e"];
    await tick(store, ids);
    for (const partition of [0, 1]) await settle(subscribe("Tally", undefined, { partitions: 2, partition }));
    await tick(store, ids, 5);
    // Only one half of the next round is done when the number changes.
    await settle(subscribe("Tally", undefined, { partitions: 2, partition: 1 }));
    await tick(store, ids, 10);
    for (const partition of [0, 1, 2]) await settle(subscribe("Tally", undefined, { partitions: 3, partition }));
    await tick(store, ids, 15);
    await settle(subscribe("Tally"));
    assert.deepEqual(await seen(store), Object.fromEntries(ids.map((id, i) => [id, [i, i + 5, i + 10, i + 15]])));
  });

  test("after an unclean end the first messages are tried one at a time, their attempts counted first", async (world) => {
    const { store, subscribe, settle } = world;
    await tick(store, ["a", "b", "c"]);
    const handled: number[] = [];
    const act = (n: number): void => {
      if (n === 1) store.commit = () => Promise.reject(new Error("the process is dead"));
      else handled.push(n);
    };
    const commit = store.commit.bind(store);
    for (let death = 0; death < 5; death++) {
      await assert.rejects(
        settleUnclean(world, subscribe("Reactor", act, death === 0 ? {} : { quarantined: true })),
        /dead/,
      );
      store.commit = commit;
    }
    // The batch that died, and from then on each alone, however often the other one dies.
    assert.deepEqual(handled, [0, 2, 0, 2]);
    await settleUnclean(world, subscribe("Reactor", act, { quarantined: true }));
    await settle(subscribe("Reactor", act));
    assert.deepEqual(handled, [0, 2, 0, 2]);
    const [dead] = await store.deadLetters();
    assert.equal(dead.message.data, '{"n":1}');
    assert.match(dead.error, /worker ended/);
  });
}

/** Runs what is due of the messages that are set aside. */
async function settleDeferred({ store }: World, subscription: GroupSubscription): Promise<void> {
  await subscription.runUntil(await store.lastPosition() + 1, new AbortController().signal);
}

/** The same, with the clock moving on so that retries come due. */
async function settleUnclean(world: World, subscription: GroupSubscription): Promise<void> {
  for (let i = 0; i < 6; i++) {
    world.now.time += 10_000;
    await world.settle(subscription);
    await settleDeferred(world, subscription);
  }
}

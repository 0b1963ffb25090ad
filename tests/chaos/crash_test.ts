import { MemoryBroker } from "@annals/annals/broker/memory";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import fc from "fast-check";
import { Relay } from "../../src/outbox/relay.ts";
import { leaseName } from "../../src/groups/partition.ts";
import { EventStoreSubscription, StreamSubscription } from "../../src/subscriptions/mod.ts";
import { PostgresEventStore } from "@annals/annals/store/postgres";
import { RedisBroker } from "@annals/annals/broker/redis";
import type { Broker } from "@annals/annals/broker";
import type { EventStore } from "@annals/annals/store";
import { Fuse, ProcessDied } from "../support/crashing.ts";
import { withSchema } from "../support/postgres.ts";
import { withPrefix } from "../support/redis.ts";
import { databaseUrl, redisUrl } from "../support/services.ts";
import { seen, tick, tickingDomain } from "../support/ticking.ts";

const RETRIES = 2;
const NEVER = 99;

/** What is to happen: which messages in which streams, how often each fails or kills, and when processes die. */
const plan = fc.record({
  kind: fc.constantFrom("stream" as const, "event_store" as const),
  streams: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 30 }),
  failing: fc.dictionary(fc.integer({ min: 0, max: 29 }).map(String), fc.constantFrom(1, 2, NEVER), { maxKeys: 5 }),
  killing: fc.dictionary(fc.integer({ min: 0, max: 29 }).map(String), fc.constantFrom(1, 2, NEVER), { maxKeys: 2 }),
  deaths: fc.array(fc.integer({ min: 1, max: 120 }), { maxLength: 8 }),
  wipes: fc.array(fc.nat(12), { maxLength: 3 }),
  tickSize: fc.constantFrom(1, 3, 100),
});

Deno.test("whatever fails, dies or is wiped: nothing lost, order kept, effects once, dead letters bounded", async () => {
  await fc.assert(fc.asyncProperty(plan, (plan) => run(plan, inMemory)), { numRuns: 400 });
});

Deno.test("the same on PostgreSQL and Redis", async () => {
  await fc.assert(fc.asyncProperty(plan, (plan) => run(plan, onServices)), { numRuns: 12 });
});

/** Where a plan is carried out. */
interface World extends AsyncDisposable {
  readonly store: EventStore;
  readonly broker: Broker;
  /** Takes everything from the broker. */
  wipe(): Promise<void>;
}

async function inMemory(now: () => number): Promise<World> {
  const store = new MemoryEventStore({ clock: { now } });
  let wiped = new MemoryBroker({ clock: { now } });
  const broker = new Proxy(wiped, {
    get: (_, name) => {
      const value = Reflect.get(wiped, name);
      return typeof value === "function" ? value.bind(wiped) : value;
    },
  });
  return await Promise.resolve({
    store,
    broker,
    wipe: () => Promise.resolve(void (wiped = new MemoryBroker({ clock: { now } }))),
    [Symbol.asyncDispose]: () => store.close(),
  });
}

async function onServices(now: () => number): Promise<World> {
  const schema = await withSchema();
  const keys = withPrefix();
  const store = new PostgresEventStore({ url: databaseUrl(), schema: schema.name, listen: false, now });
  await store.migrate();
  const broker = new RedisBroker({ url: redisUrl(), prefix: keys.prefix });
  return {
    store,
    broker,
    wipe: async () => await keys[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: async () => {
      await broker.close();
      await store.close();
      await keys[Symbol.asyncDispose]();
      await schema[Symbol.asyncDispose]();
    },
  };
}

type Plan = typeof plan extends fc.Arbitrary<infer T> ? T : never;

async function run(plan: Plan, make: (now: () => number) => Promise<World>): Promise<void> {
  const now = { time: 1_700_000_000_000 };
  await using world = await make(() => now.time);
  const { store, broker } = world;
  const attempts = new Map<number, number>();
  let killer = (): void => {};
  const act = (n: number): void => {
    const attempt = (attempts.get(n) ?? 0) + 1;
    attempts.set(n, attempt);
    if (attempt <= (plan.killing[n] ?? 0)) killer();
    if (attempt <= (plan.killing[n] ?? 0) + (plan.failing[n] ?? 0)) throw new Error("told to");
  };
  const domain = tickingDomain(act);
  const handler = domain.handlers.get("Tally")!;
  const lease = leaseName("Tally", 0, 1);
  const settings = {
    messagesPerTick: plan.tickSize,
    maxRetries: RETRIES,
    retryDelaySeconds: 0.05,
    blockingTimeoutMs: 0,
  };
  let appended = 0;
  const append = async (upTo: number): Promise<void> => {
    for (; appended < upTo; appended++) await tick(store, [String(plan.streams[appended])], appended);
  };
  const settled = async (): Promise<boolean> => {
    const [checkpoint] = await store.checkpoints("Tally");
    return appended === plan.streams.length && checkpoint?.position === appended &&
      (await store.deferred("Tally")).length === 0;
  };
  let clean = true;
  for (let round = 0; !await settled(); round++) {
    assert.ok(round < 300, "it does not come to an end");
    const fuse = new Fuse(plan.deaths[round] ?? Infinity);
    killer = () => {
      fuse.dead = true;
      throw new ProcessDied();
    };
    now.time += 6000;
    const granted = await store.acquireLease({ name: lease, group: "Tally", partitions: 1, owner: "o", ttl: 5000 });
    assert.ok(granted);
    clean = granted.clean;
    const fence = { lease, token: granted.token };
    const options = {
      domain,
      handler,
      store: fuse.wrap(store),
      settings,
      fence,
      quarantined: !clean,
      clock: {
        now: () => now.time,
        random: () => 0.5,
        sleep: (ms: number) => {
          now.time += ms;
          return Promise.resolve();
        },
      },
    };
    const relay = new Relay({
      store: fuse.wrap(store),
      broker: fuse.wrap(broker),
      readers: new Map([["test::clock", ["Tally"]]]),
      checkInterval: 0,
    });
    const subscription = plan.kind === "stream"
      ? new StreamSubscription({ ...options, broker: fuse.wrap(broker) })
      : new EventStoreSubscription(options);
    try {
      for (let i = 0; i < 4; i++) {
        await relay.check();
        await append(Math.min(appended + 3, plan.streams.length));
        if (plan.wipes.includes(round) && i === 1) await world.wipe();
        await relay.drain();
        // Every other time the group is behind when something happens to the broker.
        if (i % 2 === 1) await subscription.runUntil(appended, new AbortController().signal);
        now.time += 200;
      }
      await store.releaseLease(fence, true);
    } catch (error) {
      if (!(error instanceof ProcessDied)) throw error;
    }
  }
  const dead = (await store.deadLetters()).map((letter) => JSON.parse(letter.message.data).n as number);
  assert.equal(new Set(dead).size, dead.length, "a message is dead twice");
  const rows = await seen(store);
  const all = plan.streams.map((stream, n) => ({ stream, n }));
  for (const stream of new Set(plan.streams)) {
    const expected = all.filter((entry) => entry.stream === stream && !dead.includes(entry.n)).map(({ n }) => n);
    assert.deepEqual(rows[stream] ?? [], expected);
  }
  for (const n of dead) {
    const deadly = (plan.failing[n] ?? 0) + (plan.killing[n] ?? 0);
    // Deaths count against the message in hand, whoever is to blame.
    assert.ok(deadly > 0 || plan.deaths.length > RETRIES, `message ${n} was given up although it never failed`);
  }
  for (let n = 0; n < plan.streams.length; n++) {
    if (plan.failing[n] === NEVER || plan.killing[n] === NEVER) assert.ok(dead.includes(n), `${n} is not given up`);
    // Every attempt is counted but those that died before anything could be written, once per death.
    const bound = RETRIES + 1 + plan.deaths.length + 2 * Object.keys(plan.killing).length;
    assert.ok((attempts.get(n) ?? 0) <= bound, `${n} was tried ${attempts.get(n)} times`);
  }
}

/**
 * Compares the same work by other packages with ours, in one run:
 *
 *     npm install --prefix bench/peers/npm --ignore-scripts && deno run -A bench/peers/main.ts
 *
 * Their packages are only used here: they are in no import map and not in the published package.
 *
 * @module
 */
import { createRequire } from "node:module";
import { aggregate, domain, event, eventHandler, type } from "@annals/annals";
import { RedisBroker } from "@annals/annals/broker/redis";
import { PostgresEventStore } from "@annals/annals/store/postgres";
import { EventStoreSubscription, StreamSubscription } from "@annals/annals/subscriptions";
import { Relay } from "@annals/annals/outbox";
import { table } from "../../src/cli/output.ts";
import { sampleMessage } from "../../src/testing/store_suite.ts";
import { startServices } from "../services.ts";

const require = createRequire(new URL("./npm/", import.meta.url));
const { getPostgreSQLEventStore } = require("@event-driven-io/emmett-postgresql");
const { Queue, Worker } = require("bullmq");

const SECONDS = 4;
const JOBS = 20_000;
const EMMETT_EVENTS = 3_000;
const PAYLOAD = "x".repeat(200);
const CATEGORY = "peers::thing";

const Happened = event("Happened", { schema: type<{ n: number; text: string }>() });
const Thing = aggregate("Thing", { events: [Happened], initial: () => 0, evolve: { Happened: (n) => n + 1 } });
const peers = domain("peers", {
  aggregates: [Thing],
  handlers: [
    eventHandler("Idler", { events: [Happened], on: { Happened: () => {} } }),
    eventHandler("Reader", { events: [Happened], on: { Happened: () => {} } }),
  ],
});

async function rate(
  callers: number,
  units: number,
  call: (caller: number, n: number) => Promise<unknown>,
): Promise<number> {
  const began = performance.now();
  let done = 0;
  await Promise.all(Array.from({ length: callers }, async (_, caller) => {
    for (let n = 0; performance.now() - began < SECONDS * 1000; n++) {
      await call(caller, n);
      done += units;
    }
  }));
  return done / ((performance.now() - began) / 1000);
}

async function timed(count: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return count / ((performance.now() - began) / 1000);
}

function append(caller: number, n: number, count: number) {
  const messages = Array.from({ length: count }, () => sampleMessage({ n, text: PAYLOAD }, { type: "Happened" }));
  return {
    category: CATEGORY,
    stream: `${CATEGORY}-${caller}-${n % 100}`,
    expected: "any" as const,
    publish: true,
    messages,
  };
}

const services = await startServices();
const lines: [work: string, ours: number, theirs: number, who: string][] = [];

const store = new PostgresEventStore({ url: services.postgres.url });
await store.migrate();
const emmett = getPostgreSQLEventStore(services.postgres.url);
const events = (n: number, count: number) =>
  Array.from({ length: count }, () => ({ type: "Happened", data: { n, text: PAYLOAD } }));
await emmett.appendToStream("warm", events(0, 1));
for (const [callers, count] of [[50, 1], [10, 10]] as const) {
  const theirs = await rate(
    callers,
    count,
    (caller, n) => emmett.appendToStream(`thing-${caller}-${n % 100}`, events(n, count)),
  );
  const ours = await rate(callers, count, (caller, n) => store.commit({ appends: [append(caller, n, count)] }));
  lines.push([
    `append, ${callers} callers, ${count} event${count > 1 ? "s" : ""} each`,
    ours,
    theirs,
    "emmett-postgresql 0.42",
  ]);
}

{
  let seen = 0;
  let done = (): void => {};
  const all = new Promise<void>((resolve) => done = resolve);
  // By default it waits 50 ms after each hundred events, which would be all that is measured.
  const consumer = emmett.consumer({ pulling: { batchSize: 1_000, pullingFrequencyInMs: 1 } });
  consumer.reactor({ processorId: "idler", eachMessage: () => void (++seen >= EMMETT_EVENTS && done()) });
  const theirs = await timed(EMMETT_EVENTS, async () => {
    void consumer.start();
    await all;
  });
  await consumer.close();
  const last = await store.lastPosition();
  const reader = new EventStoreSubscription({
    domain: peers,
    handler: peers.handlers.get("Reader")!,
    store,
    settings: { blockingTimeoutMs: 1 },
  });
  const ours = await timed(last, () => reader.runUntil(last, new AbortController().signal));
  lines.push(["reading the log with a no-op handler", ours, theirs, "emmett-postgresql 0.42"]);
}
await emmett.close();

const { hostname: host, port } = new URL(services.redis.url);
const connection = { host, port: Number(port) };
const queue = new Queue("jobs", { connection });
const job = (n: number) => ({ name: "Happened", data: { n, text: PAYLOAD }, opts: { removeOnComplete: true } });
const added = await timed(JOBS, async () => {
  for (let n = 0; n < JOBS; n += 500) await queue.addBulk(Array.from({ length: 500 }, (_, i) => job(n + i)));
});
let worked = 0;
let finish = (): void => {};
const finished = new Promise<void>((resolve) => finish = resolve);
const theirs = await timed(JOBS, async () => {
  const worker = new Worker("jobs", async () => void (++worked >= JOBS && finish()), { connection, concurrency: 100 });
  await finished;
  await worker.close();
});
await queue.close();

const broker = new RedisBroker({ url: services.redis.url });
const last = await store.lastPosition();
const relayed = await timed(last, () => new Relay({ store, broker, readers: new Map() }).drain());
const stream = new StreamSubscription({
  domain: peers,
  handler: peers.handlers.get("Idler")!,
  store,
  broker,
  settings: { blockingTimeoutMs: 1 },
});
const ours = await timed(last, () => stream.runUntil(last, new AbortController().signal));
lines.push(["into Redis, from the database", relayed, added, "BullMQ addBulk, from memory"]);
lines.push(["a no-op handler over Redis", ours, theirs, "BullMQ, concurrency 100"]);
await broker.close();
await store.close();
await services.stop();
console.log(table(
  ["what", "Annals", "theirs", "ratio", "who"],
  lines.map((
    [work, ours, theirs, who],
  ) => [
    work,
    `${Math.round(ours).toLocaleString("en")}/s`,
    `${Math.round(theirs).toLocaleString("en")}/s`,
    (ours / theirs).toFixed(1),
    who,
  ]),
));
Deno.exit(0);

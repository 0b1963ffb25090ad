import { RedisBroker } from "@annals/annals/broker/redis";
import { PostgresEventStore } from "@annals/annals/store/postgres";
import { Redis } from "ioredis";
import postgres from "postgres";
import { Relay } from "../src/outbox/relay.ts";
import { CALL, encodeCommits } from "../src/store/postgres/commit.ts";
import type { EventStore, StreamAppend } from "../src/store/port.ts";
import { DEFAULT_SETTINGS } from "../src/groups/settings.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { feed } from "./hosted_group.ts";
import { atLeast, atMost, ratioAtLeast, type Result } from "./result.ts";
import { type Services, startServices } from "./services.ts";
import { callers, medianTime } from "./timing.ts";

const SECONDS = 4;
const EVENTS = 200_000;
const MODULE = new URL("./noop_domain.ts", import.meta.url).href;
const PAYLOAD = "x".repeat(200);

function happened(stream: string, count: number, type = "Happened"): StreamAppend {
  const messages = Array.from({ length: count }, (_, n) => sampleMessage({ n, text: PAYLOAD }, { type }));
  return { category: "noop::thing", stream: `noop::thing-${stream}`, expected: "any", messages, publish: true };
}

/** Measures appends to PostgreSQL; floor: the bare driver with ten connections. */
export async function postgresAppend(): Promise<Result[]> {
  const services = await startServices();
  const store = new PostgresEventStore({ url: services.postgres.url });
  await store.migrate();
  const sql = postgres(services.postgres.url, { max: 10, fetch_types: false, onnotice: () => {} });
  // The same function, called once per append.
  const text = `select * from ${CALL}`;
  const call = (append: StreamAppend) =>
    sql.unsafe(text, encodeCommits([{ appends: [append] }]) as any[], { prepare: true });
  // Only the rows: no versions, order or outbox.
  await sql.unsafe(`create table bare (position bigserial primary key, id uuid, type text, schema_version int,
    category text, stream text, version int, time bigint, correlation_id text, causation_id text, data json, metadata json)`);
  const insert = ({ stream, category, messages }: StreamAppend) =>
    sql`insert into bare ${
      sql(messages.map((m, version) => ({
        id: m.id,
        type: m.type,
        schema_version: m.schemaVersion,
        category,
        stream,
        version,
        time: m.time,
        correlation_id: m.correlationId,
        causation_id: m.causationId,
        data: m.data,
        metadata: m.metadata,
      })))
    }`;
  const ones = await callers(SECONDS, 50, 1, (caller) => call(happened(`${caller}`, 1)));
  const single = await callers(SECONDS, 50, 1, (caller) => store.commit({ appends: [happened(`${caller}`, 1)] }));
  const tens = await callers(SECONDS, 10, 10, (caller) => insert(happened(`${caller}`, 10)));
  const batch = await callers(SECONDS, 10, 10, (caller) => store.commit({ appends: [happened(`${caller}`, 10)] }));
  await sql.end();
  await store.close();
  await services.stop();
  return [
    ratioAtLeast(
      "append, PostgreSQL, 50 callers, one event each; floor: one call an append",
      single,
      "events/s",
      2.5,
      ones,
    ),
    ratioAtLeast("append, PostgreSQL, 10 callers, ten events each; floor: bare inserts", batch, "events/s", 0.8, tens),
  ];
}

const CATEGORIES = 1_000;
const GROUPS = 10;

/** Measures what the relay does every second: checking that the broker has what it should, of many categories. */
export async function relayCheck(): Promise<Result[]> {
  const services = await startServices();
  const store = new PostgresEventStore({ url: services.postgres.url, listen: false });
  await store.migrate();
  const broker = new RedisBroker({ url: services.redis.url });
  const categories = Array.from({ length: CATEGORIES }, (_, n) => `noop::c${n}`);
  const groups = Array.from({ length: GROUPS }, (_, n) => `G${n}`);
  const appends = categories.map((category) => ({ ...happened("1", 1), category, stream: `${category}-1` }));
  const relay = new Relay({ store, broker, readers: new Map(categories.map((category) => [category, groups])) });
  for (let round = 0; round < 2; round++) {
    await store.commit({ appends: appends.map((append) => ({ ...append, messages: [sampleMessage({})] })) });
    const position = await store.lastPosition();
    await Promise.all(
      categories.flatMap((category) =>
        groups.map((group) => store.commit({ checkpoint: { group, category, partitions: 1, partition: 0, position } }))
      ),
    );
    await relay.drain();
    await relay.check();
  }
  const time = await medianTime(10, () => relay.check());
  await broker.close();
  await store.close();
  await services.stop();
  return [
    atMost(`relay, check of ${CATEGORIES} categories with ${GROUPS} groups, every second`, time, "ms", 50),
  ];
}

async function fill(store: EventStore): Promise<void> {
  for (let n = 0; n < EVENTS; n += 1_000) {
    await store.commit({ appends: Array.from({ length: 100 }, (_, stream) => happened(`${stream}`, 10)) });
  }
}

/** One `XREADGROUP` and one `XACK` at a time, payloads parsed. */
async function bareLoop(services: Services, count: number): Promise<number> {
  const redis = new Redis(services.redis.url);
  await redis.xgroup("CREATE", "noop::thing", "bare", "0");
  const began = performance.now();
  let done = 0;
  while (done < count) {
    const [[, entries]] = await redis.xreadgroup(
      "GROUP",
      "bare",
      "c",
      "COUNT",
      DEFAULT_SETTINGS.messagesPerTick,
      "STREAMS",
      "noop::thing",
      ">",
    ) as [string, [string, string[]][]][];
    for (const [, fields] of entries) JSON.parse(fields[5]);
    await redis.xack("noop::thing", "bare", ...entries.map(([id]) => id));
    done += entries.length;
  }
  const rate = count / ((performance.now() - began) / 1000);
  await redis.quit();
  return rate;
}

/** Measures the path from PostgreSQL through Redis to handlers in hosts. */
export async function delivery(): Promise<Result[]> {
  const services = await startServices();
  const store = new PostgresEventStore({ url: services.postgres.url });
  await store.migrate();
  const broker = new RedisBroker({ url: services.redis.url });
  await fill(store);
  // The bare drivers: the same rows in the same batches, added with pipelines.
  const redis = new Redis(services.redis.url);
  const sql = postgres(services.postgres.url, { max: 1, fetch_types: false });
  let began = performance.now();
  for (let after = 0;;) {
    const rows =
      await sql`select *, data::text as payload from annals.messages where position > ${after} order by position limit 1000`;
    if (rows.length === 0) break;
    const pipeline = redis.pipeline();
    for (const row of rows) pipeline.xadd("floor", `${row.position}-0`, "e", row.id, "d", row.payload);
    await pipeline.exec();
    after = Number(rows[rows.length - 1].position);
  }
  const relayFloor = EVENTS / ((performance.now() - began) / 1000);
  await redis.del("floor");
  await redis.quit();
  await sql.end();
  began = performance.now();
  await new Relay({ store, broker, readers: new Map() }).drain();
  const relayed = EVENTS / ((performance.now() - began) / 1000);
  const loop = await bareLoop(services, EVENTS);
  const streamed = await feed(MODULE, "Idler", store, broker, EVENTS);
  const projected = await feed(MODULE, "Counter", store, broker, EVENTS);
  await store.commit({
    checkpoint: { group: "Idler", category: "noop::thing", partitions: 1, partition: 0, position: 0 },
  });
  const fromLog = await feed(MODULE, "Idler", store, null, EVENTS);
  await broker.close();
  await store.close();
  await services.stop();
  return [
    atLeast("relay, PostgreSQL to Redis; floor: bare drivers", relayed, "rows/s", 30_000, relayFloor),
    ratioAtLeast(
      "StreamSubscription, Redis, no-op in a host; floor: XREADGROUP + XACK",
      streamed,
      "events/s",
      0.6,
      loop,
    ),
    atLeast("EventStoreSubscription, PostgreSQL, no-op in a host", fromLog, "events/s", 50_000),
    atLeast("projector, Redis, rows in PostgreSQL", projected, "events/s", 10_000),
  ];
}

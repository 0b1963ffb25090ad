import { MemoryBroker } from "@annals/annals/broker/memory";
import { PostgresEventStore } from "@annals/annals/store/postgres";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { REAL_CLOCK } from "../src/lib/clock.ts";
import type { NewMessage } from "../src/messages/envelope.ts";
import { Relay } from "../src/outbox/relay.ts";
import type { EventStore, StreamAppend } from "../src/store/port.ts";
import { LogSource } from "../src/subscriptions/source_log.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { median, ratioAtLeast, type Result } from "./result.ts";
import { startServices } from "./services.ts";
import { callers, medianTime } from "./timing.ts";

const CATEGORIES = 1_000;
const GROUPS = 100;
const SIZES = [10_000, 10_000_000];
const ROUNDS = 5;

/** The events of one commit while a log is filled. */
const TOGETHER = 5_000;
/** The events that a round appends and then reads, of which every tenth is of the category that is followed. */
const TAIL = 10_000;
const FOLLOWED = "grow::followed";
/** The stream that is loaded: it began when the log did, and is spread all over it. */
const LOADED = { category: "grow::loaded", stream: "grow::loaded-1" };
const LENGTH = 1_000;
const CALLERS = 50;
const SECONDS = 1;
const PAYLOAD = "x".repeat(100);

/** How much of the speed with 10,000 events there has to be with 10,000,000. */
const GOAL = 0.85;

interface Log {
  readonly store: EventStore;
  /** Lets maintenance happen now, not while something is measured. */
  readonly settle: () => Promise<void>;
  readonly close: () => Promise<void>;
}

function message(n: number): NewMessage {
  return sampleMessage({ n, text: PAYLOAD });
}

/** The `n`-th append: to one of a thousand categories, each with up to a thousand streams. */
function append(n: number, count = 1): StreamAppend {
  const category = `grow::c${n % CATEGORIES}`;
  const stream = `${category}-${Math.floor(n / CATEGORIES) % 1_000}`;
  return {
    category,
    stream,
    expected: "any",
    publish: true,
    messages: Array.from({ length: count }, () => message(n)),
  };
}

async function fill({ store, settle }: Log, events: number): Promise<void> {
  for (let n = 0; n < events; n += TOGETHER) {
    const appends = Array.from({ length: TOGETHER / 10 }, (_, i) => append(n / 10 + i, 10));
    // As many of its events as belong into this part of the log.
    const loaded = Math.floor(LENGTH * (n + TOGETHER) / events) - Math.floor(LENGTH * n / events);
    const messages = Array.from({ length: loaded }, (_, i) => message(i));
    await store.commit({ appends: [...appends, { ...LOADED, expected: "any", publish: true, messages }] });
  }
  const position = await store.lastPosition();
  for (let g = 0; g < GROUPS; g++) {
    await Promise.all(
      Array.from({ length: CATEGORIES / GROUPS }, (_, i) => {
        const category = `grow::c${g * CATEGORIES / GROUPS + i}`;
        return store.commit({ checkpoint: { group: `G${g}`, category, partitions: 1, partition: 0, position } });
      }),
    );
  }
  await store.markPublished(position);
  await settle();
}

/** What is measured of a log, more being better. */
async function measure({ store }: Log, round: number): Promise<Record<string, number>> {
  let appends = 0;
  const appended = await callers(
    SECONDS,
    CALLERS,
    1,
    () => store.commit({ appends: [append(appends++ * 7_919 + round)] }),
  );
  const load = await medianTime(20, () => store.readStream(LOADED.stream));

  const after = await store.lastPosition();
  await store.markPublished(after);
  for (let n = 0; n < TAIL; n += 1_000) {
    const followed = { category: FOLLOWED, stream: `${FOLLOWED}-1`, expected: "any", publish: true } as const;
    await store.commit({
      appends: [
        ...Array.from({ length: 900 }, (_, i) => append(n + i)),
        { ...followed, messages: Array.from({ length: 100 }, () => message(n)) },
      ],
    });
  }
  const source = new LogSource(store, FOLLOWED, REAL_CLOCK);
  await source.open(after);
  const signal = new AbortController().signal;
  let began = performance.now();
  let read = 0;
  for (let found; (found = await source.next(100, 0, signal)).length > 0;) read += found.length;
  const followed = read / ((performance.now() - began) / 1000);

  const readers = new Map(
    Array.from({ length: CATEGORIES }, (_, n) => [`grow::c${n}`, [`G${Math.floor(n / (CATEGORIES / GROUPS))}`]]),
  );
  const relay = new Relay({ store, broker: new MemoryBroker(), readers });
  began = performance.now();
  const moved = await relay.drain();
  const relayed = moved / ((performance.now() - began) / 1000);

  await relay.check();
  const check = await medianTime(10, () => relay.check());
  return {
    "append, 50 callers (events/s)": appended,
    "loads of 1,000 events (a second)": 1000 / load,
    "catching up with one category (events/s)": followed,
    "relay (rows/s)": relayed,
    "checks of 1,000 categories by an idle relay (a second)": 1000 / check,
  };
}

async function grow(on: string, open: () => Promise<Log>): Promise<Result[]> {
  const logs: { log: Log; found: Map<string, number[]> }[] = [];
  for (const events of SIZES) {
    const log = await open();
    const began = performance.now();
    await fill(log, events);
    if (Deno.stderr.isTerminal()) {
      console.error(`${on}: ${events} events in ${Math.round((performance.now() - began) / 1000)} s`);
    }
    logs.push({ log, found: new Map() });
  }
  // In turns, so that other load on the machine affects both alike; the first time warms up.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { log, found } of logs) {
      for (const [name, value] of Object.entries(await measure(log, round))) {
        if (round > 0) found.set(name, [...found.get(name) ?? [], value]);
      }
    }
  }
  for (const { log } of logs) await log.close();
  const [few, many] = logs;
  return [...few.found].map(([name, values]) => {
    const [what, unit] = /^(.*) \((.*)\)$/.exec(name)!.slice(1);
    const text = `${on}: ${what} with 10,000,000 events; floor: with 10,000`;
    return ratioAtLeast(text, median(many.found.get(name)!), unit, GOAL, median(values));
  });
}

function sqlite(): Promise<Log> {
  const folder = Deno.makeTempDirSync({ prefix: "annals-bench-" });
  const store = new SqliteEventStore({ path: `${folder}/log.db` });
  return Promise.resolve({
    store,
    settle: () => Promise.resolve(),
    close: async () => {
      await store.close();
      await Deno.remove(folder, { recursive: true });
    },
  });
}

async function onPostgres(): Promise<Log> {
  const services = await startServices();
  const store = new PostgresEventStore({ url: services.postgres.url, listen: false });
  await store.migrate();
  return {
    store,
    settle: () => services.settle(),
    close: async () => {
      await store.close();
      await services.stop();
    },
  };
}

/** Compares the speed with 10,000 and with 10,000,000 events, in 1,000 categories read by 100 groups. */
export async function growth(): Promise<Result[]> {
  return [...await grow("SQLite", sqlite), ...await grow("PostgreSQL", onPostgres)];
}

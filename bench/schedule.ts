import { PostgresEventStore } from "@annals/annals/store/postgres";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import type { EventStore, ScheduleEntry } from "@annals/annals/store";
import { Scheduler } from "../src/outbox/scheduler.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { atMost, inFolder, type Result } from "./result.ts";
import { startServices } from "./services.ts";

const PER_SECOND = 10_000;
const SECONDS = 5;
/** How long filling may take, in milliseconds. */
const HEAD_START = 20_000;
const BATCH = 1_000;

/** Measures how late the last of many scheduled messages is. */
export async function schedule(): Promise<Result[]> {
  const sqlite = await inFolder(async (folder) => {
    const store = new SqliteEventStore({ path: `${folder}/log.db` });
    return await lateness("SQLite", store);
  });
  const services = await startServices();
  const store = new PostgresEventStore({ url: services.postgres.url });
  await store.migrate();
  const postgres = await lateness("PostgreSQL", store);
  await services.stop();
  return [sqlite, postgres];
}

async function lateness(on: string, store: EventStore): Promise<Result> {
  const { now } = await store.due(1);
  const count = PER_SECOND * SECONDS;
  const dueAt = (n: number) => now + HEAD_START + Math.floor(n * 1_000 / PER_SECOND);
  for (let from = 0; from < count; from += BATCH) {
    const entries = Array.from({ length: BATCH }, (_, i): ScheduleEntry => {
      const at = dueAt(from + i);
      return {
        key: `k${from + i}`,
        due: { at },
        category: "bench",
        stream: `bench-${(from + i) % 100}`,
        message: sampleMessage({ at }),
      };
    });
    await store.commit({ schedule: entries });
  }
  const stop = new AbortController();
  const running = new Scheduler({ store, outbox: true }).run(stop.signal);
  let [seen, latest, after] = [0, 0, 0];
  while (seen < count) {
    const records = await store.readLog({ after, limit: 10_000 });
    for (const { time, data } of records) latest = Math.max(latest, time - JSON.parse(data).at);
    seen += records.length;
    after = records.at(-1)?.position ?? after;
    if (records.length === 0) await store.changed(100);
  }
  stop.abort();
  await running;
  await store.close();
  return atMost(
    `${on}: ${PER_SECOND.toLocaleString("en")} scheduled messages due a second, the latest`,
    latest,
    "ms",
    250,
  );
}

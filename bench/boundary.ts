import { PostgresEventStore } from "@annals/annals/store/postgres";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import type { EventStore, StreamAppend } from "@annals/annals/store";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { inFolder, ratioAtLeast, type Result } from "./result.ts";
import { startServices } from "./services.ts";
import { callers } from "./timing.ts";

const STORED = 1_000_000;
const BATCH = 1_000;
const CALLERS = 10;
const SECONDS = 5;
const TYPE = "Tested";

/** Four tags: two that few events have, and two that many have. */
const tagsOf = (n: number): string[] => [`a:${n % 100_000}`, `b:${n % 70_000}`, `c:${n % 1_000}`, `d:${n % 10}`];

const appendOf = (n: number, tags?: readonly string[]): StreamAppend => ({
  category: "bench",
  stream: `bench-${n % 10_000}`,
  expected: "any",
  messages: [sampleMessage({ n }, { type: TYPE, ...(tags && { tags }) })],
  publish: true,
});

/** Measures appends within a boundary, each decided on what came since the last one, next to plain appends. */
export async function boundaries(): Promise<Result[]> {
  const sqlite = await inFolder(async (folder) => {
    const store = new SqliteEventStore({ path: `${folder}/log.db` });
    return await compare("SQLite", store);
  });
  const services = await startServices();
  const store = new PostgresEventStore({ url: services.postgres.url });
  await store.migrate();
  const postgres = await compare("PostgreSQL", store);
  await services.stop();
  return [sqlite, postgres];
}

async function compare(on: string, store: EventStore): Promise<Result> {
  for (let from = 0; from < STORED; from += BATCH) {
    await store.commit({ appends: Array.from({ length: BATCH }, (_, i) => appendOf(from + i, tagsOf(from + i))) });
  }
  const plain = () =>
    callers(SECONDS, CALLERS, 1, () => store.commit({ appends: [appendOf(Math.random() * 1e6 | 0)] }));
  const known = new Map<number, number>();
  const within = () =>
    callers(SECONDS, CALLERS, 1, async (caller) => {
      // Each caller has its own tags, as servers have their partitions; what it knows of them is kept in memory.
      const n = (Math.random() * 1_000 | 0) * CALLERS + caller;
      const [a, b, ...rest] = tagsOf(n);
      const among = [a, b].map((tag) => ({ tag, types: [TYPE] }));
      const { last } = await store.readTagged(among, { after: known.get(n) ?? 0 });
      known.set(n, last);
      const append = appendOf(n, [a, b, ...rest]);
      await store.commit({ appends: [append], conditions: [{ among, after: last }] }).catch((error) => {
        if (error.name !== "AppendConditionError") throw error;
      });
    });
  // In turns, so that both see the same machine.
  const [plains, withins] = [[await plain()], [await within()]];
  plains.push(await plain());
  withins.push(await within());
  await store.close();
  const mean = (rates: readonly number[]) => rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  return ratioAtLeast(
    `${on}: appends within a boundary, ${
      STORED.toLocaleString("en")
    } events with 4 tags stored, ${CALLERS} callers; floor: plain appends`,
    mean(withins),
    "events/s",
    0.6,
    mean(plains),
  );
}

import type { StoreUnderTest } from "../../src/testing/store_suite.ts";
import { MemoryEventStore } from "../../src/store/memory.ts";
import { PostgresEventStore } from "../../src/store/postgres/store.ts";
import { SqliteEventStore } from "../../src/store/sqlite/store.ts";
import { withSchema } from "./postgres.ts";
import { databaseUrl } from "./services.ts";

/** A clock for tests: stands still until moved. */
export function testClock(): { now: () => number; advance: (ms: number) => void } {
  let time = 1_700_000_000_000;
  return { now: () => time, advance: (ms) => void (time += ms) };
}

/** Every adapter of the event store, made afresh. */
export const STORES: Record<string, () => Promise<StoreUnderTest>> = {
  memory: async () => {
    const { now, advance } = testClock();
    const store = new MemoryEventStore({ clock: { now } });
    return { store, advance, [Symbol.asyncDispose]: () => store.close() };
  },
  sqlite: async () => {
    const { now, advance } = testClock();
    const folder = await Deno.makeTempDir({ prefix: "annals-" });
    const store = new SqliteEventStore({ path: `${folder}/log.db`, now });
    return {
      store,
      advance,
      [Symbol.asyncDispose]: async () => {
        await store.close();
        await Deno.remove(folder, { recursive: true });
      },
    };
  },
  postgres: () => onPostgres(databaseUrl()),
  // Parts so small that almost everything crosses from one to the next.
  "partitioned postgres": () => onPostgres(databaseUrl(), (store) => store.partition({ size: 3, ahead: 5, margin: 1 })),
};

/** A store in a schema of its own. */
export async function onPostgres(
  url: string,
  prepare: (store: PostgresEventStore) => Promise<unknown> = () => Promise.resolve(),
): Promise<StoreUnderTest> {
  const { now, advance } = testClock();
  const schema = await withSchema(url);
  const store = new PostgresEventStore({ url, schema: schema.name, now });
  await store.migrate();
  await prepare(store);
  return {
    store,
    advance,
    [Symbol.asyncDispose]: async () => {
      await store.close();
      await schema[Symbol.asyncDispose]();
    },
  };
}

import { PostgresEventStore } from "@annals/annals/store/postgres";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { feed } from "./hosted_group.ts";
import { atLeast, type Result } from "./result.ts";
import { startServices } from "./services.ts";

const EVENTS = 20_000;
const BATCH = 1_000;
const MODULE = new URL("./process_domain.ts", import.meta.url).href;

/** Measures a process manager whose reactions do nothing: each event is an instance of its own. */
export async function processes(): Promise<Result[]> {
  const services = await startServices();
  const store = new PostgresEventStore({ url: services.postgres.url });
  await store.migrate();
  for (let from = 0; from < EVENTS; from += BATCH) {
    const appends = Array.from({ length: BATCH }, (_, i) => ({
      category: "process::thing",
      stream: `process::thing-${from + i}`,
      expected: "any" as const,
      messages: [sampleMessage({ id: `${from + i}` }, { type: "Happened" })],
      publish: true,
    }));
    await store.commit({ appends });
  }
  const routed = await feed(MODULE, "IdlerRouter", store, null, EVENTS);
  const handled = await feed(MODULE, "Idler", store, null, 2 * EVENTS, EVENTS);
  await store.close();
  await services.stop();
  return [
    atLeast("PostgreSQL: a process manager's router", routed, "events/s", 5_000),
    atLeast("PostgreSQL: a process manager, no-op reactions", handled, "inputs/s", 5_000),
  ];
}

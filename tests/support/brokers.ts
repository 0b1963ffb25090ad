import { MemoryBroker } from "../../src/broker/memory.ts";
import { SqliteBroker } from "../../src/broker/sqlite.ts";
import type { BrokerUnderTest } from "../../src/testing/broker_suite.ts";
import { testClock } from "./stores.ts";

/** Every adapter of the broker, made afresh. */
export const BROKERS: Record<string, () => Promise<BrokerUnderTest>> = {
  memory: async () => {
    const { now, advance } = testClock();
    const broker = new MemoryBroker({ now });
    return { broker, advance, [Symbol.asyncDispose]: () => broker.close() };
  },
  sqlite: async () => {
    const { now, advance } = testClock();
    const folder = await Deno.makeTempDir({ prefix: "annals-" });
    const broker = new SqliteBroker({ path: `${folder}/log.db`, now });
    return {
      broker,
      advance,
      [Symbol.asyncDispose]: async () => {
        await broker.close();
        await Deno.remove(folder, { recursive: true });
      },
    };
  },
};

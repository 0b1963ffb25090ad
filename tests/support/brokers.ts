import { MemoryBroker } from "../../src/broker/memory.ts";
import { RedisBroker } from "../../src/broker/redis/broker.ts";
import { SqliteBroker } from "../../src/broker/sqlite/broker.ts";
import type { BrokerUnderTest } from "../../src/testing/broker_suite.ts";
import { withPrefix } from "./redis.ts";
import { redisUrl } from "./services.ts";
import { testClock } from "./stores.ts";

/** Every adapter of the broker, made afresh. */
export const BROKERS: Record<string, () => Promise<BrokerUnderTest>> = {
  memory: async () => {
    const { now, advance } = testClock();
    const broker = new MemoryBroker({ clock: { now } });
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
  redis: async () => {
    const keys = withPrefix();
    const broker = new RedisBroker({ url: redisUrl(), prefix: keys.prefix });
    return {
      broker,
      // Its clock is nobody's: it has to be waited for.
      advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      [Symbol.asyncDispose]: async () => {
        await broker.close();
        await keys[Symbol.asyncDispose]();
      },
    };
  },
};

import type { Broker } from "../broker/port.ts";
import type { BrokerConfig } from "../config/config.ts";
import type { Inspectable, OpenOptions, Traits, Wakeable } from "./open.ts";

/**
 * Opens the configured broker. Apart from stores, because clients need no broker and none of its drivers.
 *
 * @throws {BrokerUnavailableError} If its file cannot be opened.
 */
export async function openBroker(
  config: BrokerConfig,
  options: OpenOptions = {},
): Promise<Broker & Wakeable & Inspectable & Traits> {
  const { autoCheckpoint, create = true, domain } = options;
  switch (config.provider) {
    case "memory": {
      const { MemoryBroker } = await import("../broker/memory.ts");
      return new MemoryBroker();
    }
    case "sqlite": {
      const { SqliteBroker } = await import("../broker/sqlite/broker.ts");
      return new SqliteBroker({
        path: config.url,
        create,
        ...(autoCheckpoint !== undefined && { autoCheckpoint }),
      });
    }
    case "redis": {
      const { RedisBroker } = await import("../broker/redis/broker.ts");
      return new RedisBroker({ url: config.url, prefix: config.prefix, ...(domain !== undefined && { domain }) });
    }
  }
}

import { MemoryBroker } from "../broker/memory.ts";
import type { Broker } from "../broker/port.ts";
import { SqliteBroker } from "../broker/sqlite.ts";
import type { BrokerConfig, StoreConfig } from "../config/config.ts";
import { MemoryEventStore } from "../store/memory.ts";
import type { EventStore } from "../store/port.ts";
import { SqliteEventStore } from "../store/sqlite.ts";

/** Puts the domain's name where a location has `{domain}`. */
export function locate<C extends { readonly url: string }>(config: C, domain: string): C {
  return { ...config, url: config.url.replaceAll("{domain}", domain) };
}

/** Settings of {@linkcode openStore} and {@linkcode openBroker}. */
export interface OpenOptions {
  /** How often to look for writes of others, in milliseconds; 0 when somebody calls `wake()`. */
  readonly pollInterval?: number;
  /** For SQLite: after how many pages a commit also tidies up; high where a janitor does. */
  readonly autoCheckpoint?: number;
  /** Whether to make what is not there. @default {true} */
  readonly create?: boolean;
}

/** An adapter that is told when another connection has written. */
export interface Wakeable {
  /** Wakes those who wait. */
  wake?(): void;
}

/**
 * Opens the store that a configuration names: the one place where adapters are chosen.
 *
 * @throws {StoreUnavailableError} When it cannot be opened.
 */
export function openStore(config: StoreConfig, options: OpenOptions = {}): EventStore & Wakeable {
  switch (config.provider) {
    case "memory":
      return new MemoryEventStore();
    case "sqlite":
      return new SqliteEventStore({ path: config.url, synchronous: config.synchronous, ...options });
    default:
      throw new Error(`There is no store adapter for "${config.provider}"`);
  }
}

/**
 * Opens the broker that a configuration names.
 *
 * @throws {StoreUnavailableError} When it cannot be opened.
 */
export function openBroker(config: BrokerConfig, options: OpenOptions = {}): Broker & Wakeable {
  switch (config.provider) {
    case "memory":
      return new MemoryBroker();
    case "sqlite":
      return new SqliteBroker({ path: config.url, ...options });
    default:
      throw new Error(`There is no broker adapter for "${config.provider}"`);
  }
}

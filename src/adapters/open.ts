import type { Broker } from "../broker/port.ts";
import type { BrokerConfig, StoreConfig } from "../config/config.ts";
import type { EventStore } from "../store/port.ts";
import type { ProjectionShape } from "../store/postgres/views.ts";

/** Puts the domain's name where a location has `{domain}`. */
export function locate<C extends StoreConfig | BrokerConfig>(config: C, domain: string): C {
  const put = (text: string): string => text.replaceAll("{domain}", domain);
  return {
    ...config,
    url: put(config.url),
    ...("schema" in config && { schema: put(config.schema) }),
    ...("prefix" in config && { prefix: put(config.prefix) }),
  };
}

/** Settings of {@linkcode openStore} and {@linkcode openBroker}. */
export interface OpenOptions {
  /** For SQLite: pages in the write-ahead log after which a commit checkpoints; high where a checkpointer thread runs. */
  readonly autoCheckpoint?: number;
  /** Whether to make what is not there. @default {true} */
  readonly create?: boolean;
  /** Whether to update tables of a database that many share; `false`: only to look whether they are there. @default {`create`} */
  readonly migrate?: boolean;
  /** Whose store it is: for those that several domains may share. */
  readonly domain?: string;
  /** The process that takes part in running the domain, for stores that show others whether it lives. */
  readonly owner?: string;
  /** For a store in the memory of a server: where that server listens. @default {a store of one's own} */
  readonly socket?: string;
}

/** What is special about an adapter, for whoever runs it. */
export interface Traits {
  /** Files with a write-ahead log that somebody should copy into them. */
  readonly walFiles?: readonly string[];
  /** Whether what it holds ends with this process; clients are served by a socket then. */
  readonly isVolatile?: boolean;
}

/** An adapter that is told when another connection has written. */
export interface Wakeable {
  /** Wakes those who wait. */
  wake?(): void;
}

/**
 * Opens the store that a configuration names: the one place where adapters are chosen. Drivers are loaded only when a
 * URL needs them.
 *
 * @throws {StoreUnavailableError} When it cannot be opened.
 */
export async function openStore(
  config: StoreConfig,
  options: OpenOptions = {},
): Promise<EventStore & Wakeable & Publishing & Inspectable & Traits> {
  const { autoCheckpoint, create = true, migrate = create, domain, owner } = options;
  switch (config.provider) {
    case "memory": {
      if (options.socket !== undefined) {
        const { dial } = await import("./socket.ts");
        return await dial(options.socket, domain ?? "");
      }
      const { MemoryEventStore } = await import("../store/memory.ts");
      return new MemoryEventStore();
    }
    case "sqlite": {
      const { SqliteEventStore } = await import("../store/sqlite/store.ts");
      const store = new SqliteEventStore({
        path: config.url,
        synchronous: config.synchronous,
        create,
        ...(autoCheckpoint !== undefined && { autoCheckpoint }),
      });
      return await claimed(store, domain);
    }
    case "postgres": {
      const { PostgresEventStore } = await import("../store/postgres/store.ts");
      const { url, schema, listenUrl, sqlRole } = config;
      const store = new PostgresEventStore({
        url,
        schema,
        ...(listenUrl && { listenUrl }),
        ...(sqlRole && { sqlRole }),
        ...(owner !== undefined && { owner }),
      });
      return await claimed(store, domain, () => migrate ? store.migrate() : store.verify());
    }
  }
}

/** Prepares a store, and makes sure that it holds no other domain; closes it when it cannot be used. */
async function claimed<S extends EventStore & { claim(domain: string): Promise<void> }>(
  store: S,
  domain: string | undefined,
  prepare: () => Promise<unknown> = () => Promise.resolve(),
): Promise<S> {
  try {
    await prepare();
    if (domain !== undefined) await store.claim(domain);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/**
 * Opens the broker that a configuration names.
 *
 * @throws {BrokerUnavailableError} When its file cannot be opened.
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

/** A store that shows projections to others. */
export interface Publishing {
  /** Makes a view for each projection. */
  publishViews?(projections: readonly ProjectionShape[]): Promise<void>;
}

/** Warnings about how a service is set up. */
export interface Inspectable {
  /** Looks whether it can do the work, and how it is set up. */
  inspect?(): Promise<string[]>;
}

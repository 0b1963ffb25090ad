import type { BrokerConfig, StoreConfig } from "../config/config.ts";
import type { EventStore } from "../store/port.ts";
import type { ProjectionShape } from "../store/views.ts";

/** Replaces `{domain}` in locations with the domain's name. */
export function locate<C extends StoreConfig | BrokerConfig>(config: C, domain: string): C {
  const put = (text: string): string => text.replaceAll("{domain}", domain);
  return {
    ...config,
    url: put(config.url),
    ...("schema" in config && { schema: put(config.schema) }),
    ...("prefix" in config && { prefix: put(config.prefix) }),
  };
}

/** Settings of {@linkcode openStore} and `openBroker`. */
export interface OpenOptions {
  /** For SQLite: WAL pages after which a commit runs a WAL checkpoint; set high if a checkpointer thread runs. */
  readonly autoCheckpoint?: number;
  /** Whether to create what is missing. @default {true} */
  readonly create?: boolean;
  /** Whether to update tables of a shared database; `false` only verifies that they exist. @default {`create`} */
  readonly migrate?: boolean;
  /** The domain, for stores that several domains may share. */
  readonly domain?: string;
  /** The id of this member, for stores that show others whether it is alive. */
  readonly owner?: string;
  /** For a server's in-memory store: the socket where that server listens. @default {a separate store} */
  readonly socket?: string;
}

/** Optional properties of an adapter that its runner must know. */
export interface Traits {
  /** Files whose WAL needs a checkpointer. */
  readonly walFiles?: readonly string[];
  /** Whether its data is lost when this process exits; clients are then served through a socket. */
  readonly isVolatile?: boolean;
}

/** A store whose history can fork: a database that fails over to a standby may lack what was written last. */
export interface Forkable {
  /** Returns which history the store is at; empty where it cannot be told. */
  lineage?(): Promise<string>;
  /** Refuses commits from now on unless the store is at this lineage; empty for any. */
  follow?(lineage: string): void;
}

/** An adapter that can be notified of writes by other connections. */
export interface Wakeable {
  /** Wakes its waiters. */
  wake?(): void;
}

/**
 * Opens the configured store. Adapters of stores are chosen here only, and drivers are loaded on demand.
 *
 * @throws {StoreUnavailableError} If it cannot be opened.
 */
export async function openStore(
  config: StoreConfig,
  options: OpenOptions = {},
): Promise<EventStore & Wakeable & Publishing & Inspectable & Forkable & Traits> {
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

/** A store that exposes projections as views. */
export interface Publishing {
  /** Creates a view for each projection. */
  publishViews?(projections: readonly ProjectionShape[]): Promise<string[]>;
}

/** A service that can report configuration warnings. */
export interface Inspectable {
  /** Checks the service and returns warnings about its configuration. */
  inspect?(): Promise<string[]>;
}

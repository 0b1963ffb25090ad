import type { SubscriptionSettings } from "../groups/settings.ts";
import type { ConfigFault } from "./errors.ts";

/** The store's settings. */
export interface StoreConfig {
  /** The adapter. */
  readonly provider: "memory" | "sqlite" | "postgres";
  /** An absolute path, or a URL; empty for memory. `{domain}` stands for the domain's name. */
  readonly url: string;
  /** The longest payload or row, in bytes of JSON. */
  readonly maxMessageBytes: number;
  /** For SQLite: whether each commit is synced to disk. */
  readonly synchronous: "full" | "normal";
  /** For PostgreSQL: the schema. `{domain}` stands for the domain's name. */
  readonly schema: string;
  /** For PostgreSQL: the role that runs the handlers' SQL statements. */
  readonly sqlRole?: string;
  /** For PostgreSQL behind a pooler: a URL that bypasses it, for LISTEN. */
  readonly listenUrl?: string;
}

/** The broker's settings. */
export interface BrokerConfig {
  /** The adapter. */
  readonly provider: "memory" | "sqlite" | "redis";
  /** An absolute path, or a URL; empty for memory. `{domain}` stands for the domain's name. */
  readonly url: string;
  /** For Redis: the prefix of every key. */
  readonly prefix: string;
}

/** The permissions that the operator grants to a worker. */
export interface PermissionGrant {
  /** Hosts, with or without a port. */
  readonly net?: readonly string[];
  /** Names of environment variables. */
  readonly env?: readonly string[];
  /** Files and folders to read, absolute. */
  readonly read?: readonly string[];
  /** Files and folders to write, absolute. */
  readonly write?: readonly string[];
  /** Whether its handlers may record SQL statements, which run with the server's role. */
  readonly sql?: boolean;
}

/** Where the events of a publisher go: one of the two. */
export interface PublisherConfig {
  /** A webhook. */
  readonly webhook?: {
    /** Its URL. */
    readonly url: string;
    /** The secrets that sign. */
    readonly secrets: readonly string[];
    /** How long it may take to answer, in milliseconds. */
    readonly timeout: number;
  };
  /** A stream of Redis, and how many entries it keeps; `null`: all. */
  readonly stream?: { readonly url: string; readonly stream: string; readonly longest: number | null };
}

/** Where the events of a subscriber come from. */
export interface SubscriberConfig {
  /** The secrets of those who may post to it; none: nobody may. */
  readonly secrets: readonly string[];
  /** A stream of Redis that another system writes, and the consumer group in it. */
  readonly stream?: { readonly url: string; readonly stream: string; readonly group?: string };
}

/** What is served by HTTP, and to whom. */
export interface HttpConfig {
  /** Where the server listens; `null`: nowhere. */
  readonly address: { readonly hostname: string; readonly port: number } | null;
  /** Names besides that address by which it is reached, without ports. */
  readonly hosts: readonly string[];
  /** What programs send as their bearer; `null`: none has one. */
  readonly token: string | null;
  /** Hashes of the passwords of users, by name. */
  readonly users: ReadonlyMap<string, string>;
  /** Whether commands and projections are served. */
  readonly api: boolean;
  /** Whether the dashboard is served. */
  readonly dashboard: boolean;
  /** The lag above which a server is not ready, in seconds; `Infinity`: none. */
  readonly readyMaxLag: number;
}

/** How one group receives its messages. */
export interface GroupConfig {
  /** The kind of subscription. */
  readonly type: "stream" | "event_store";
  /** Its settings. */
  readonly settings: SubscriptionSettings;
}

/** The effective configuration. */
export interface Config {
  /** The file it was read from; `null` if there is none. */
  readonly file: string | null;
  /** The base folder of relative paths, absolute. */
  readonly folder: string;
  /** Modules of domains, by name: absolute paths or URLs. */
  readonly domains: Readonly<Record<string, string>>;
  /** The store. */
  readonly store: StoreConfig;
  /** The broker. */
  readonly broker: BrokerConfig;
  /** Whether events are handled by the server or by the process that stored them. */
  readonly eventProcessing: "async" | "sync";
  /** Whether commands are handled by the server or by the sender. */
  readonly commandProcessing: "async" | "sync";
  /** Whether the relay reads outbox rows; otherwise it follows the log. */
  readonly enableOutbox: boolean;
  /** The share of the time that building projections in bulk may take while other groups are busy, from 0 to 1. */
  readonly rebuildShare: number;
  /** Whether a new generation of a projection takes the place of the one before by itself. */
  readonly projectionSwap: "auto" | "manual";
  /** The timeout of a graceful shutdown, in seconds. */
  readonly shutdownTimeoutSeconds: number;
  /** How long outcomes of commands are kept, in milliseconds; `Infinity`: forever. */
  readonly keepOutcomes: number;
  /** The same of keys of idempotency. */
  readonly keepIdempotencyKeys: number;
  /** How traces are made, where something takes them. */
  readonly telemetry: {
    /** Whether handling a message is a span of the trace that caused it, at the first attempt, or of one of its own. */
    readonly parent: "never" | "first";
    /** The share of commands that are traced, from 0 to 1. */
    readonly sample: number;
  };
  /** The heap limit of each worker, in MiB. */
  readonly maxHeapMb: number;
  /** Memory that the workers of a host may use beyond their heaps, in total, in MiB. */
  readonly hostMemoryMb: number;
  /** The host that a group runs in. */
  readonly hostOf: (group: string) => string;
  /** How many groups with the same grants share a worker. */
  readonly handlersPerWorker: number;
  /** Groups with grants; `*` stands for all. */
  readonly grantedGroups: readonly string[];
  /** Groups named in the file, with the key that names them. */
  readonly namedGroups: readonly { readonly group: string; readonly key: string }[];
  /** Categories with a number of partitions in the file, with their key. */
  readonly namedCategories: readonly { readonly category: string; readonly key: string }[];
  /** Variables that are not set and that only servers need: an engine does not run without them. */
  readonly unset: readonly ConfigFault[];
  /** What is served by HTTP. */
  readonly http: HttpConfig;
  /** Returns where a publisher's events go; `null` if the file does not say so. */
  readonly publisher: (name: string) => PublisherConfig | null;
  /** Returns where a subscriber's events come from; `null` if the file does not say so. */
  readonly subscriber: (name: string) => SubscriberConfig | null;
  /** Returns how a group receives its messages. */
  readonly groupConfig: (group: string) => GroupConfig;
  /** Returns the number of partitions of a group; each has a worker. */
  readonly workers: (group: string, categories: readonly string[]) => number;
  /** Returns the permissions granted to a group's workers. */
  readonly grants: (group: string) => PermissionGrant;
  /** Every effective value with its origin, by key; secrets are masked. */
  readonly values: readonly { readonly key: string; readonly value: unknown; readonly from: string }[];
}

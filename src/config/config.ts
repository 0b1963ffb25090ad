import type { SubscriptionSettings } from "../groups/settings.ts";

/** Where the store is. */
export interface StoreConfig {
  /** Which adapter. */
  readonly provider: "memory" | "sqlite" | "postgres";
  /** An absolute path, or a URL; empty for memory. `{domain}` stands for the domain's name. */
  readonly url: string;
  /** For SQLite: whether a commit waits for the disk. */
  readonly synchronous: "full" | "normal";
  /** For PostgreSQL: the schema. `{domain}` stands for the domain's name. */
  readonly schema: string;
  /** For PostgreSQL: the role that statements of handlers run with. */
  readonly sqlRole?: string;
  /** For PostgreSQL behind a pooler: a URL that leads around it, to listen. */
  readonly listenUrl?: string;
}

/** Where the broker is. */
export interface BrokerConfig {
  /** Which adapter. */
  readonly provider: "memory" | "sqlite" | "redis";
  /** An absolute path, or a URL; empty for memory. `{domain}` stands for the domain's name. */
  readonly url: string;
  /** For Redis: put before every key. */
  readonly prefix: string;
}

/** What an operator grants to a worker. */
export interface PermissionGrant {
  /** Hosts, with or without a port. */
  readonly net?: readonly string[];
  /** Names of environment variables. */
  readonly env?: readonly string[];
  /** Files and folders to read, absolute. */
  readonly read?: readonly string[];
  /** Files and folders to write, absolute. */
  readonly write?: readonly string[];
  /** Whether its handlers may record statements for the store's database, which run with the server's role. */
  readonly sql?: boolean;
}

/** How one group is fed. */
export interface GroupConfig {
  /** By which subscription. */
  readonly type: "stream" | "event_store";
  /** Its settings. */
  readonly settings: SubscriptionSettings;
}

/** The effective configuration. */
export interface Config {
  /** The file it was read from; `null` when there is none. */
  readonly file: string | null;
  /** The folder that relative paths start from, absolute. */
  readonly folder: string;
  /** Modules of domains, by name: absolute paths or URLs. */
  readonly domains: Readonly<Record<string, string>>;
  /** The store. */
  readonly store: StoreConfig;
  /** The broker. */
  readonly broker: BrokerConfig;
  /** Whether events are handled by the server, or by whoever made them. */
  readonly eventProcessing: "async" | "sync";
  /** Whether commands are handled by the server, or by whoever sends them. */
  readonly commandProcessing: "async" | "sync";
  /** Whether the relay is fed by outbox rows, or follows the log. */
  readonly enableOutbox: boolean;
  /** How long a graceful stop may take, in seconds. */
  readonly shutdownTimeoutSeconds: number;
  /** The heap of each worker, in MiB. */
  readonly maxHeapMb: number;
  /** What the workers of a host may use beside their heaps, together, in MiB. */
  readonly hostMemoryMb: number;
  /** The host that a group runs in. */
  readonly hostOf: (group: string) => string;
  /** How many groups with the same grants share a worker. */
  readonly handlersPerWorker: number;
  /** Groups that something was granted to; `*` stands for all. */
  readonly grantedGroups: readonly string[];
  /** Names of groups that the file has settings for, with the key they are under. */
  readonly namedGroups: readonly { readonly group: string; readonly key: string }[];
  /** Categories that the file has a number of partitions for, with the key they are under. */
  readonly namedCategories: readonly { readonly category: string; readonly key: string }[];
  /** How a group is fed. */
  readonly groupConfig: (group: string) => GroupConfig;
  /** Over how many partitions the streams of a group's categories are spread: each has a worker. */
  readonly workers: (group: string, categories: readonly string[]) => number;
  /** What a group's workers are granted. */
  readonly grants: (group: string) => PermissionGrant;
  /** Every effective value with where it comes from, by key; secrets are masked. */
  readonly values: readonly { readonly key: string; readonly value: unknown; readonly from: string }[];
}

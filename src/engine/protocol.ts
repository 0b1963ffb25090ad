import type { BrokerConfig, PermissionGrant, StoreConfig } from "../config/config.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import type { Fence } from "../store/port.ts";
import type { SubscriptionSettings } from "../subscriptions/settings.ts";

/** What the probe tells of a handler. */
export interface HandlerDescription {
  /** Its name. */
  readonly name: string;
  /** What it is. */
  readonly kind: "command handler" | "event handler" | "projector";
  /** The categories it reads. */
  readonly categories: readonly string[];
  /** What it asks for. */
  readonly permissions: PermissionGrant;
  /** Retries, where it wants other than the server's. */
  readonly retries?: number;
}

/** What the probe tells of a domain. */
export interface DomainDescription {
  /** Its name. */
  readonly name: string;
  /** Its handlers. */
  readonly handlers: readonly HandlerDescription[];
  /** The categories of its aggregates and of their commands. */
  readonly categories: readonly string[];
  /** The message types that its code knows. */
  readonly types: readonly string[];
  /** Its projections, and what their schemas tell of their rows. */
  readonly projections: readonly {
    readonly name: string;
    readonly fields: readonly { readonly name: string; readonly type: string }[];
  }[];
}

/** A payload as the domain's code sees it. */
export interface ReadPayload {
  /** Brought up to the newest version. */
  readonly payload: unknown;
  /** Why it cannot be read, when it cannot. */
  readonly unreadable?: string;
}

/** What a worker is told to feed. */
export interface Assignment {
  /** The domain's module. */
  readonly module: string;
  /** The domain's name. */
  readonly domain: string;
  /** The process that runs the worker, among those that take part. */
  readonly owner: string;
  /** The handler. */
  readonly group: string;
  /** Over how many partitions the group is spread. */
  readonly partitions: number;
  /** Which of them. */
  readonly partition: number;
  /** The lease. */
  readonly fence: Fence;
  /** Whether the one before vanished. */
  readonly suspicious: boolean;
  /** By which subscription. */
  readonly type: "stream" | "event_store";
  /** How. */
  readonly settings: SubscriptionSettings;
  /** The store. */
  readonly store: StoreConfig;
  /** The broker. */
  readonly broker: BrokerConfig;
  /** Whether there are outbox rows. */
  readonly outbox: boolean;
  /** The variables it was granted. */
  readonly env: Readonly<Record<string, string>>;
  /** A counter that the worker's event loop keeps going. */
  readonly pulse: SharedArrayBuffer;
}

/** From the supervisor to a worker. */
export type ToWorker =
  | { readonly type: "describe"; readonly module: string }
  | { readonly type: "decode"; readonly module: string; readonly records: readonly MessageRecord[] }
  | {
    readonly type: "run";
    readonly assignment: Assignment;
    readonly store?: MessagePort;
    readonly broker?: MessagePort;
  }
  | { readonly type: "stop" }
  | { readonly type: "wake" };

/** How loud a line is. */
export type Level = "debug" | "info" | "warn" | "error";

/** From a worker to the supervisor. */
export type FromWorker =
  | { readonly type: "described"; readonly description: DomainDescription }
  | { readonly type: "decoded"; readonly payloads: readonly ReadPayload[] }
  | { readonly type: "undescribed"; readonly message: string }
  | { readonly type: "running" }
  | { readonly type: "wrote" }
  | { readonly type: "log"; readonly level: Level; readonly text: string; readonly fields?: Record<string, unknown> }
  | {
    readonly type: "ended";
    readonly reason: "stopped" | "fenced" | "stuck" | "unsure" | "unknown" | "failed";
    readonly message?: string;
    readonly stack?: string;
    readonly unknownType?: string;
  };

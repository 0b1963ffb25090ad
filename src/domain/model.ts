import type { HandlerBatch, Reading } from "../handling/batch.ts";
import type { MessageType } from "../messages/message_type.ts";
import type { Aggregate } from "./aggregate.ts";
import type { Projection } from "./projection.ts";

/** Permissions that a handler needs; the server does not start until the operator has granted them in `domain.toml`. */
export interface PermissionRequest {
  /** Hosts, with or without a port: `smtp.example.com:587`. */
  readonly net?: readonly string[];
  /** Names of environment variables. */
  readonly env?: readonly string[];
  /** Files and folders to read. */
  readonly read?: readonly string[];
  /** Files and folders to write. */
  readonly write?: readonly string[];
}

/** A consumer group: what all kinds of handlers have. */
export interface Handler {
  /** What kind of handler it is: everything else asks there. */
  readonly kind: HandlerKind;
  /** The handler's name, and the consumer group's. */
  readonly name: string;
  /** What it needs. */
  readonly permissions: PermissionRequest;
  /** Retries of a failed message, where it wants other than the server's. */
  readonly retries?: number;
}

/** What handlers of a kind may have written; whatever else comes from one is refused. */
export interface Writes {
  /** Events of the domain's aggregates, and unique values. */
  readonly events: boolean;
  /** Commands of the domain. */
  readonly commands: boolean;
  /** Rows: of the projections it keeps, of all, or none. */
  readonly rows: "kept" | "any" | "none";
  /** What became of the commands it was given. */
  readonly outcomes: boolean;
  /** Statements, where the operator granted them. */
  readonly statements: boolean;
}

/**
 * What a kind of handler is. A kind is one file: its factory, and this. Everything else (the domain, subscriptions, hosts,
 * the engine, clients) asks here, and never which kind it has before it.
 */
export interface HandlerKind<H extends Handler = any> {
  /** What people call it, like `projector`. */
  readonly name: string;
  /** The message types it handles: of what it reads, all others are passed over. */
  readonly handles: (handler: H) => readonly MessageType[];
  /** For a kind that decides on commands, the aggregate they are for; `null` for one that reads events. */
  readonly decidesFor: (handler: H) => Aggregate | null;
  /** Projections that nobody else may write. */
  readonly keeps: (handler: H) => readonly Projection[];
  /** What may be written. */
  readonly writes: Writes;
  /**
   * Starts the handling of a batch.
   *
   * @internal
   */
  readonly begin: (domain: Domain, handler: H, reading: Reading) => HandlerBatch;
}

/** A domain: everything that a server has to know to run it. */
export interface Domain {
  /** Tells it from other values a module may export. */
  readonly kind: "domain";
  /** Its name: the first part of its streams' names. */
  readonly name: string;
  /** Its aggregates, by name. */
  readonly aggregates: ReadonlyMap<string, Aggregate>;
  /** Its handlers, by name. */
  readonly handlers: ReadonlyMap<string, Handler>;
  /** All of its events and commands, by name. */
  readonly types: ReadonlyMap<string, MessageType>;
  /** The category of an aggregate. */
  readonly categoryOf: (aggregate: Aggregate) => string;
  /**
   * The stream of one aggregate.
   *
   * @throws {DomainDefinitionError} When the id cannot be one, or would name a stream of another aggregate.
   */
  readonly streamOf: (aggregate: Aggregate, id: string) => string;
  /** The categories that a handler reads. */
  readonly categoriesOf: (handler: Handler) => readonly string[];
  /** Which handler decides on a command. */
  readonly handlerOf: (command: string) => Handler | undefined;
  /** Which handler keeps the rows of a projection, so that nobody else may write them. */
  readonly keeperOf: (projection: string) => Handler | undefined;
}

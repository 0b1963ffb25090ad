import type { HandlerBatch, Reading } from "../handling/batch.ts";
import type { Message } from "../messages/envelope.ts";
import type { MessageType } from "../messages/message_type.ts";
import type { Aggregate } from "./aggregate.ts";
import type { Boundary } from "./boundary.ts";
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

/** The properties common to all handlers; each is a consumer group. */
export interface Handler {
  /** Its kind, which determines how it is run. */
  readonly kind: HandlerKind;
  /** The name of the handler and its consumer group. */
  readonly name: string;
  /** The permissions it needs. */
  readonly permissions: PermissionRequest;
  /** Retries of a failed message, if different from the server's. */
  readonly retries?: number;
  /** What it was called before. */
  readonly formerly?: string;
  /** Where it begins to read when it is new and the log is not. @default {"start"} */
  readonly startsAt?: "now" | "start";
}

/** A category that is not an aggregate's: a part of what belongs to a handler. */
export interface Part {
  /** The name that the category is made of, like that of an aggregate. */
  readonly owner: string;
  /** What follows it. */
  readonly part: string;
  /** What is in it. */
  readonly types: readonly MessageType[];
}

/** A category that a handler appends to. */
export interface AppendedPart extends Part {
  /** Whether each append expects a version; otherwise, any. */
  readonly isVersioned: boolean;
}

/** What handlers of a kind may write; anything else is rejected. */
export interface Writes {
  /** Events of the domain's aggregates, and unique values. */
  readonly events: boolean;
  /** Commands of the domain. */
  readonly commands: boolean;
  /** Rows of the projections it keeps, of any, or none. */
  readonly rows: "kept" | "any" | "none";
  /** Outcomes of its commands. */
  readonly outcomes: boolean;
  /** SQL statements, if granted by the operator. */
  readonly statements: boolean;
  /** CloudEvents for other systems, which the engine delivers where the operator says. */
  readonly deliveries: boolean;
}

/**
 * Defines a kind of handler. A kind is one file, with its factory and this definition. All other code (domain,
 * subscriptions, hosts, engine, clients) uses the definition and never checks which kind it is.
 */
export interface HandlerKind<H extends Handler = any> {
  /** Its name for display, like `projector`. */
  readonly name: string;
  /** The message types it handles; others in its categories are skipped. */
  readonly handles: (handler: H) => readonly MessageType[];
  /** What a command handler decides on; `null` for kinds that read events. */
  readonly decidesFor: (handler: H) => Aggregate | Boundary | null;
  /** Projections that no other handler may write. */
  readonly keeps: (handler: H) => readonly Projection[];
  /** Which row a message changes, for kinds that make a row from nothing but the messages of its key. */
  readonly rowKeyOf?: (handler: H, message: Message<any, any>) => string;
  /** Projections that it writes besides, and that no other handler may write. @default {none that it says} */
  readonly puts?: (handler: H) => readonly Projection[];
  /** What it may write. */
  readonly writes: Writes;
  /** What it reads besides the streams of the events or commands that it handles. @default {nothing} */
  readonly reads?: (handler: H) => readonly Part[];
  /** What it appends to besides the streams of aggregates and commands. @default {nothing} */
  readonly appends?: (handler: H) => readonly AppendedPart[];
  /** The commands that it may send; each needs a handler. @default {any} */
  readonly sends?: (handler: H) => readonly MessageType[];
  /** Events that what it handles refers to; besides, to commands. `null`: it refers to nothing. @default {nothing} */
  readonly refersTo?: (handler: H) => readonly MessageType[] | null;
  /** What else its code knows, by names with a version, that messages may have to wait for. @default {nothing} */
  readonly knows?: (handler: H) => readonly string[];
  /** The type of CloudEvents that are received for it, into the part that it reads. @default {none} */
  readonly receives?: (handler: H) => string;
  /** Handlers that come with it. @default {none} */
  readonly companions?: (handler: H) => readonly Handler[];
  /** Whether the stream of a dead letter waits until that is replayed, instead of going on without it. @default {false} */
  readonly haltsOnDeath?: boolean;
  /**
   * Starts a batch.
   *
   * @internal
   */
  readonly begin: (domain: Domain, handler: H, reading: Reading) => HandlerBatch;
}

/** A domain: everything a server needs to run it. */
export interface Domain {
  /** The discriminator among a module's exports. */
  readonly kind: "domain";
  /** Its name, which prefixes the names of its streams. */
  readonly name: string;
  /** Its aggregates, by name. */
  readonly aggregates: ReadonlyMap<string, Aggregate>;
  /** Its boundaries, by name. */
  readonly boundaries: ReadonlyMap<string, Boundary>;
  /** Its handlers, by name. */
  readonly handlers: ReadonlyMap<string, Handler>;
  /** Its event and command types, by name. */
  readonly types: ReadonlyMap<string, MessageType>;
  /** Returns the category of an aggregate. */
  readonly categoryOf: (aggregate: Aggregate) => string;
  /** Returns the category that an event is in, by its name. */
  readonly categoryOfEvent: (event: string) => string | undefined;
  /** The categories of facts. */
  readonly facts: ReadonlySet<string>;
  /**
   * Returns the stream of an aggregate.
   *
   * @throws {DomainDefinitionError} If the id is invalid or would name a stream of another aggregate.
   */
  readonly streamOf: (aggregate: Aggregate, id: string) => string;
  /** The categories that are not those of aggregates and their commands, with the names of what is in them. */
  readonly parts: ReadonlyMap<string, readonly string[]>;
  /** Returns the categories that a handler reads. */
  readonly categoriesOf: (handler: Handler) => readonly string[];
  /** Returns the handler of a command. */
  readonly handlerOf: (command: string) => Handler | undefined;
  /** Returns the handler that keeps the newest version of a projection, if any; no other may write its rows. */
  readonly keeperOf: (projection: string) => Handler | undefined;
  /** Names the rows that its newest code makes of a projection. */
  readonly rowsOf: (projection: string) => string;
}

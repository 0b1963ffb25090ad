import type { Draft, Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { CommandType, EventType, NameOf, PayloadOf } from "../messages/message_type.ts";
import type { Aggregate, EventsOf, Named, StateOf } from "./aggregate.ts";
import type { CommandContext, EventContext } from "./context.ts";
import type { Projection } from "./projection.ts";

/** What a handler asks for beyond its adapters; the operator grants it in `domain.toml`, or the server does not start. */
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

/** One function per command: the events that it leads to, in order. */
export type CommandFunctions<A extends Aggregate, Commands extends readonly CommandType[]> = {
  readonly [Name in NameOf<Commands[number]>]: (
    state: StateOf<A>,
    command: Message<Name, PayloadOf<Named<Commands[number], Name>>>,
    context: CommandContext,
  ) => Decision<A> | Promise<Decision<A>>;
};

/** What a command leads to: an event, several, or nothing. */
export type Decision<A extends Aggregate> = EventsOf<A> | readonly EventsOf<A>[] | void;

/** One function per event. */
export type EventFunctions<Events extends readonly EventType[]> = {
  readonly [Name in NameOf<Events[number]>]: (
    event: Message<Name, PayloadOf<Named<Events[number], Name>>>,
    context: EventContext,
  ) => void | Promise<void>;
};

/** One pure function per event: the row that follows from it; `null` deletes the row. */
export type ProjectFunctions<Row, Events extends readonly EventType[]> = {
  readonly [Name in NameOf<Events[number]>]: (
    row: Row | null,
    event: Message<Name, PayloadOf<Named<Events[number], Name>>>,
  ) => Row | null;
};

/** What all handlers have: each is a consumer group of its own. */
export interface ConsumerGroup {
  /** The handler's name, and the consumer group's. */
  readonly name: string;
  /** What it asks for beyond its adapters. */
  readonly permissions: PermissionRequest;
  /** Retries of a failed message, where it wants other than the server's. */
  readonly retries?: number;
}

/** Decides on the commands of one aggregate. */
export interface CommandHandler extends ConsumerGroup {
  /** Tells it from other handlers. */
  readonly kind: "command handler";
  /** The aggregate. */
  readonly aggregate: Aggregate;
  /** The commands. */
  readonly commands: readonly CommandType[];
  /** One function per command. */
  readonly handle: Readonly<
    Record<string, (state: any, command: Message<any, any>, context: CommandContext) => unknown>
  >;
}

/** Reacts to events: the place for effects on the outside. */
export interface EventHandler extends ConsumerGroup {
  /** Tells it from other handlers. */
  readonly kind: "event handler";
  /** The events. */
  readonly events: readonly EventType[];
  /** One function per event. */
  readonly on: Readonly<Record<string, (event: Message<any, any>, context: EventContext) => unknown>>;
}

/** Keeps a projection up to date: pure, and exactly once per event. */
export interface Projector extends ConsumerGroup {
  /** Tells it from other handlers. */
  readonly kind: "projector";
  /** The projection. */
  readonly projection: Projection;
  /** The events. */
  readonly events: readonly EventType[];
  /** The row's key for an event. */
  readonly keyOf: (event: Message<any, any>) => string;
  /** One function per event. */
  readonly on: Readonly<Record<string, (row: any, event: Message<any, any>) => unknown>>;
}

/** A consumer group. */
export type Handler = CommandHandler | EventHandler | Projector;

function checkFunctions(handler: string, names: readonly string[], functions: object): void {
  if (!/^[A-Za-z]\w*$/.test(handler)) {
    throw new DomainDefinitionError(
      `Cannot define handler "${handler}": a name starts with a letter and has only letters, digits and "_"`,
    );
  }
  if (names.length === 0) throw new DomainDefinitionError(`Cannot define handler "${handler}": it handles nothing`);
  for (const name of names) {
    if (typeof (functions as Record<string, unknown>)[name] !== "function") {
      throw new DomainDefinitionError(`Cannot define handler "${handler}": it has no function for "${name}"`);
    }
  }
  for (const name of Object.keys(functions)) {
    if (!names.includes(name)) {
      throw new DomainDefinitionError(
        `Cannot define handler "${handler}": it has a function for "${name}", which it does not list; known: ${
          names.join(", ")
        }`,
      );
    }
  }
}

/**
 * Defines the command handler of an aggregate.
 *
 * @param name Its name, and that of its consumer group.
 * @param target The aggregate.
 * @param options The commands, and one function each: state and command in, events out. Throw a {@linkcode DomainRuleError} to refuse.
 * @returns The handler, to be listed in the domain.
 * @throws {DomainDefinitionError} When commands and functions do not match.
 *
 * @example Counting
 * ```ts
 * import { aggregate, command, commandHandler, event, type } from "@annals/annals";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Counter = aggregate("Counter", {
 *   events: [Counted],
 *   initial: () => 0,
 *   evolve: { Counted: (state, event) => state + event.payload.by },
 * });
 * const Count = command("Count", { schema: type<{ id: string; by: number }>(), target: (payload) => payload.id });
 * const CounterCommandHandler = commandHandler("CounterCommandHandler", Counter, {
 *   commands: [Count],
 *   handle: { Count: (_state, command) => Counted({ by: command.payload.by }) },
 * });
 * console.log(CounterCommandHandler.name);
 * ```
 */
export function commandHandler<A extends Aggregate, const Commands extends readonly CommandType[]>(
  name: string,
  target: A,
  options: {
    /** The commands. */
    readonly commands: Commands;
    /** One function per command. */
    readonly handle: NoInfer<CommandFunctions<A, Commands>>;
    /** What it asks for beyond its adapters. */
    readonly permissions?: PermissionRequest;
    /** Retries of a failed message. @default {the server's `max_retries`} */
    readonly retries?: number;
  },
): CommandHandler {
  const { commands, handle, permissions = {}, retries } = options;
  checkFunctions(name, commands.map((command) => command.type), handle);
  return Object.freeze({
    kind: "command handler",
    name,
    aggregate: target as Aggregate,
    commands,
    handle: handle as CommandHandler["handle"],
    permissions,
    ...(retries === undefined ? {} : { retries }),
  });
}

/**
 * Defines an event handler.
 *
 * @param name Its name, and that of its consumer group.
 * @param options The events, one function each, and what it needs.
 * @returns The handler, to be listed in the domain.
 * @throws {DomainDefinitionError} When events and functions do not match.
 *
 * @example Logging
 * ```ts
 * import { event, eventHandler, type } from "@annals/annals";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Watcher = eventHandler("Watcher", {
 *   events: [Counted],
 *   on: { Counted: (event, context) => context.log.info(`counted by ${event.payload.by}`) },
 * });
 * console.log(Watcher.name);
 * ```
 */
export function eventHandler<const Events extends readonly EventType[]>(
  name: string,
  options: {
    /** The events. */
    readonly events: Events;
    /** One function per event. */
    readonly on: NoInfer<EventFunctions<Events>>;
    /** What it asks for beyond its adapters. */
    readonly permissions?: PermissionRequest;
    /** Retries of a failed message. @default {the server's `max_retries`} */
    readonly retries?: number;
  },
): EventHandler {
  const { events, on, permissions = {}, retries } = options;
  checkFunctions(name, events.map((event) => event.type), on);
  return Object.freeze({
    kind: "event handler",
    name,
    events,
    on: on as EventHandler["on"],
    permissions,
    ...(retries === undefined ? {} : { retries }),
  });
}

/**
 * Defines a projector.
 *
 * @param name Its name, and that of its consumer group.
 * @param target The projection.
 * @param options The events, and one pure function each: row and event in, row out.
 * @returns The handler, to be listed in the domain.
 * @throws {DomainDefinitionError} When events and functions do not match.
 *
 * @example A total per counter
 * ```ts
 * import { event, projection, projector, type } from "@annals/annals";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Total = projection("Total", { key: "id", schema: type<{ id: string; total: number }>() });
 * const TotalProjector = projector("TotalProjector", Total, {
 *   events: [Counted],
 *   on: { Counted: (row, event) => ({ id: event.aggregateId, total: (row?.total ?? 0) + event.payload.by }) },
 * });
 * console.log(TotalProjector.name);
 * ```
 */
export function projector<Row, const Events extends readonly EventType[]>(
  name: string,
  target: Projection<string, Row>,
  options: {
    /** The events. */
    readonly events: Events;
    /** One function per event. */
    readonly on: NoInfer<ProjectFunctions<Row, Events>>;
    /**
     * The row's key for an event.
     *
     * @default The payload's field of the projection's key; where it has none, the aggregate's id.
     */
    readonly keyOf?: (event: Message<NameOf<Events[number]>, PayloadOf<Events[number]>>) => string;
    /** Retries of a failed message. @default {the server's `max_retries`} */
    readonly retries?: number;
  },
): Projector {
  const { events, on, retries } = options;
  checkFunctions(name, events.map((event) => event.type), on);
  const keyOf = (event: Message<any, any>): string => {
    const key = event.payload?.[target.key];
    return typeof key === "string" ? key : event.aggregateId;
  };
  return Object.freeze({
    kind: "projector",
    name,
    projection: target as Projection,
    events,
    keyOf: (options.keyOf as Projector["keyOf"] | undefined) ?? keyOf,
    on: on as Projector["on"],
    permissions: {},
    ...(retries === undefined ? {} : { retries }),
  });
}

/** A command that was made but not stored. */
export type CommandDraft = Draft & { readonly aggregateId: string };

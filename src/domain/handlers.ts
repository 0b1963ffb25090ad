import type { CloudEvent } from "../messages/cloud_event.ts";
import type { Draft, Message } from "../messages/envelope.ts";
import type { CommandType, EventType, NameOf, PayloadOf } from "../messages/message_type.ts";
import type { Aggregate, EventsOf, Named, StateOf } from "./aggregate.ts";
import type { Boundary, KeyOf } from "./boundary.ts";
import type { CommandContext, EventContext } from "./context.ts";
import type { Handler } from "./model.ts";
import type { Projection } from "./projection.ts";
import type { Schema } from "../messages/schema.ts";

/** The commands that can be decided on an aggregate (any), or within a boundary: those whose payloads have its key. */
export type CommandsFor<A> = [A] extends [never] ? CommandType
  : A extends Boundary ? CommandType<string, KeyOf<A>>
  : CommandType;

/** One function per command that returns the resulting events, in order. */
export type CommandFunctions<A extends Aggregate | Boundary, Commands extends readonly CommandType[]> = {
  readonly [Name in NameOf<Commands[number]>]: (
    state: StateOf<A>,
    command: Message<Name, PayloadOf<Named<Commands[number], Name>>>,
    context: CommandContext,
  ) => Decision<A> | Promise<Decision<A>>;
};

/** What a command leads to: an event, several, or none: `[]`. Returning nothing at all is an error: it may be a forgotten `return`. */
export type Decision<A extends Aggregate | Boundary> = EventsOf<A> | readonly EventsOf<A>[];

/** One function per event. */
export type EventFunctions<Events extends readonly EventType[], Written extends Projection = Projection> = {
  readonly [Name in NameOf<Events[number]>]: (
    event: Message<Name, PayloadOf<Named<Events[number], Name>>>,
    context: EventContext<Written>,
  ) => void | Promise<void>;
};

/** A command that was refused, or that its handler has given up on. */
export interface Refusal<Name extends string = string, Payload = unknown> {
  /** The name of the command. */
  readonly command: Name;
  /** Its payload. */
  readonly payload: Payload;
  /** Whether it broke a rule, or its handler kept failing. */
  readonly status: "refused" | "failed";
  /** The rule that it broke, or the last error. */
  readonly rule: string;
}

/** One function per command whose refusals an event handler is told of. */
export type RefusedFunctions<Commands extends readonly CommandType[], Written extends Projection = Projection> = {
  readonly [Name in NameOf<Commands[number]>]: (
    refusal: Refusal<Name, PayloadOf<Named<Commands[number], Name>>>,
    context: EventContext<Written>,
  ) => void | Promise<void>;
};

/** One pure function per event that returns the new row; `null` deletes the row. */
export type ProjectFunctions<Row, Events extends readonly EventType[]> = {
  readonly [Name in NameOf<Events[number]>]: (
    row: Row | null,
    event: Message<Name, PayloadOf<Named<Events[number], Name>>>,
  ) => Row | null;
};

/** Handles the commands that are decided on one aggregate, or within one boundary. */
export interface CommandHandler extends Handler {
  /** The aggregate or boundary. */
  readonly target: Aggregate | Boundary;
  /** The commands. */
  readonly commands: readonly CommandType[];
  /** One function per command. */
  readonly handle: Readonly<
    Record<string, (state: any, command: Message<any, any>, context: CommandContext) => unknown>
  >;
}

/** Reacts to events; the place for external side effects. */
export interface EventHandler extends Handler {
  /** The events. */
  readonly events: readonly EventType[];
  /** The projections that it writes; `null`: any that no projector keeps. */
  readonly projections: readonly Projection[] | null;
  /** One function per event. */
  readonly on: Readonly<Record<string, (event: Message<any, any>, context: EventContext) => unknown>>;
  /** One function per command whose refusals it is told of. */
  readonly refused: Readonly<Record<string, (refusal: Refusal<any, any>, context: EventContext) => unknown>>;
}

/** Keeps a projection up to date with pure functions, exactly once per event. */
export interface Projector extends Handler {
  /** The projection. */
  readonly projection: Projection;
  /** The events. */
  readonly events: readonly EventType[];
  /** Returns the row's key for an event. */
  readonly keyOf: (event: Message<any, any>) => string;
  /** One function per event. */
  readonly on: Readonly<Record<string, (row: any, event: Message<any, any>) => unknown>>;
}

/** Runs processes that span aggregates: one instance for each correlated id. */
export interface ProcessManager extends Handler {
  /** The version of its code. */
  readonly version: number;
  /** The events. */
  readonly events: readonly EventType[];
  /** The commands that it sends. */
  readonly commands: readonly CommandType[];
  /** Its timers. */
  readonly timeouts: Readonly<Record<string, Schema>>;
  /** The events that begin an instance. */
  readonly starts: ReadonlySet<string>;
  /** See `ProcessManagerOptions.correlate`. */
  readonly correlate: Readonly<Record<string, (event: Message<any, any>) => unknown>>;
  /** See `ProcessManagerOptions.initial`. */
  readonly initial: () => unknown;
  /** See `ProcessManagerOptions.evolve`. */
  readonly evolve: Readonly<Record<string, ((state: any, event: Message<any, any>) => unknown) | undefined>>;
  /** See `ProcessManagerOptions.react`. */
  readonly react: Readonly<Record<string, (state: any, event: Message<any, any>, step: any) => unknown>>;
  /** See `ProcessManagerOptions.refused`. */
  readonly refused: Readonly<Record<string, (state: any, refusal: Refusal<any, any>, step: any) => unknown>>;
  /** See `ProcessManagerOptions.late`. */
  readonly late: Readonly<Record<string, (state: any, data: any, step: any) => unknown>>;
  /** See `ProcessManagerOptions.absent`. */
  readonly absent: "wait" | "ignore" | "fail";
  /** See `ProcessManagerOptions.ended`. */
  readonly ended: "ignore" | "fail" | "restart";
  /** Tells instances of events: a group of its own, which comes with it. */
  readonly router: Router;
}

/** Reads the events of a process manager, and puts a reference to each into the inbox of every instance it is for. */
export interface Router extends Handler {
  /** The process manager's name. */
  readonly process: string;
  /** The events. */
  readonly events: readonly EventType[];
  /** Which instances an event is for. */
  readonly correlate: ProcessManager["correlate"];
}

/** Takes events of another system, and sends commands for them. */
export interface Subscriber extends Handler {
  /** The type of the CloudEvents. */
  readonly type: string;
  /** The schema of their data. */
  readonly schema: Schema;
  /** Returns the commands to send. */
  readonly to: (event: CloudEvent<any>) => CommandDraft | readonly CommandDraft[];
}

/** Tells other systems of events. */
export interface Publisher extends Handler {
  /** The events. */
  readonly events: readonly EventType[];
  /** The source of its CloudEvents. */
  readonly source: string;
  /** One function per event. */
  readonly as: Readonly<Record<string, (event: Message<any, any>) => unknown>>;
}

/** A new, not yet stored command. */
export type CommandDraft = Draft & { readonly aggregateId: string };

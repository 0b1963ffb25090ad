import type { Draft, Message } from "../messages/envelope.ts";
import type { Aggregate, EventsOf, StateOf } from "./aggregate.ts";
import type { Projection, RowOf } from "./projection.ts";

/** Where a handler logs to; every line carries the group and the message. */
export interface HandlerLog {
  /** For the curious. */
  debug(text: string, fields?: Record<string, unknown>): void;
  /** For everybody. */
  info(text: string, fields?: Record<string, unknown>): void;
  /** Something is odd. */
  warn(text: string, fields?: Record<string, unknown>): void;
  /** Something is wrong. */
  error(text: string, fields?: Record<string, unknown>): void;
}

/** What every handler is told. */
export interface HandlerContext {
  /** The message as it was stored. */
  readonly message: Message;
  /** Which attempt this is, from 1. */
  readonly attempt: number;
  /** When the message was made: the time to use in decisions, so that they come out the same again. */
  readonly now: Date;
  /** Where to log. */
  readonly log: HandlerLog;
}

/** An aggregate as a handler finds it. */
export interface Loaded<State> {
  /** Its state. */
  readonly state: State;
  /** The version of its last event; -1 when it has none. */
  readonly version: number;
}

/** What a command handler may do besides returning events. All of it is one append. */
export interface CommandContext extends HandlerContext {
  /** The id of the aggregate that the command is for. */
  readonly aggregateId: string;
  /** The version of its last event; -1 when it is new. */
  readonly version: number;
  /** Loads another aggregate, or another instance of the same. */
  load<A extends Aggregate>(aggregate: A, id: string): Promise<Loaded<StateOf<A>>>;
  /** Adds events to another aggregate; its invariants are checked, and its version is part of the append. */
  append<A extends Aggregate>(aggregate: A, id: string, events: EventsOf<A> | readonly EventsOf<A>[]): Promise<void>;
  /**
   * Claims a value that may exist only once, like an account number. The command is refused when somebody has it.
   *
   * @param field The field's name; values are unique per field.
   * @param value The value.
   */
  reserve(field: string, value: string): void;
  /** Gives a claimed value back. */
  release(field: string, value: string): void;
}

/** What an event handler may do. What it sends and puts is written in one transaction with its checkpoint. */
export interface EventContext extends HandlerContext {
  /** Ends when the handler is given up: it took too long, or the server stops. */
  readonly signal: AbortSignal;
  /** Queues a command. */
  send(command: Draft & { readonly aggregateId: string }): void;
  /** Writes a row of a projection. */
  put<P extends Projection>(projection: P, row: RowOf<P>): void;
  /** Deletes a row of a projection. */
  remove(projection: Projection, key: string): void;
  /**
   * Records a statement for tables of your own in the store's database. It is run in the transaction of the checkpoint,
   * after the handler has returned: both, or neither. One that fails fails the message. Needs `sql = true` in the
   * handler's permissions; throws without it.
   *
   * @example
   * ```ts ignore
   * context.sql`insert into audit (account, cents) values (${payload.accountId}, ${payload.amount})`;
   * ```
   */
  sql(parts: TemplateStringsArray, ...values: (string | number | boolean | null)[]): void;
  /** Reads a row of a projection. */
  get<P extends Projection>(projection: P, key: string): Promise<RowOf<P> | null>;
}

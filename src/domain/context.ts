import type { Draft, Message } from "../messages/envelope.ts";
import type { Aggregate, EventsOf, StateOf } from "./aggregate.ts";
import type { Boundary, KeyOf } from "./boundary.ts";
import type { Projection, RowOf } from "./projection.ts";
import type { SendOptions } from "./scheduling.ts";

/** The log of a handler; every line carries the group and the message. */
export interface HandlerLog {
  /** Logs details for debugging. */
  debug(text: string, fields?: Record<string, unknown>): void;
  /** Logs normal operation. */
  info(text: string, fields?: Record<string, unknown>): void;
  /** Logs something unexpected. */
  warn(text: string, fields?: Record<string, unknown>): void;
  /** Logs a failure. */
  error(text: string, fields?: Record<string, unknown>): void;
}

/** The context common to all handlers. */
export interface HandlerContext {
  /** The stored message. */
  readonly message: Message;
  /** The number of this attempt, from 1. */
  readonly attempt: number;
  /** When the message was created. Use this time in decisions, so that retries decide the same. */
  readonly now: Date;
  /** The handler's log. */
  readonly log: HandlerLog;
}

/** The state and version of an aggregate, or what is known within a boundary. */
export interface Loaded<State> {
  /** Its state. */
  readonly state: State;
  /** The version of its last event, -1 if it has none; of a boundary, the position up to which the log was read. */
  readonly version: number;
}

/** What a command handler can do besides returning events. Everything is stored in one append. */
export interface CommandContext extends HandlerContext {
  /** The command's target: the aggregate's id. */
  readonly aggregateId: string;
  /** The version of its last event, -1 if it is new; of a boundary, the position up to which the log was read. */
  readonly version: number;
  /** Loads another aggregate, or another instance of the same. */
  load<A extends Aggregate>(aggregate: A, id: string): Promise<Loaded<StateOf<A>>>;
  /** Folds what counts within a boundary; if more comes in between, the command is decided again. */
  load<B extends Boundary>(boundary: B, key: KeyOf<B>): Promise<Loaded<StateOf<B>>>;
  /** Appends events to another aggregate, checking its invariants and its version. */
  append<A extends Aggregate>(aggregate: A, id: string, events: EventsOf<A> | readonly EventsOf<A>[]): Promise<void>;
  /**
   * Claims a unique value, such as an account number. The command is refused if the value is taken.
   *
   * @param field The field's name; values are unique per field.
   * @param value The value.
   */
  reserve(field: string, value: string): void;
  /** Releases a claimed value. */
  release(field: string, value: string): void;
}

/** What an event handler can do. Its effects are written in one transaction with its checkpoint. */
export interface EventContext<Written extends Projection = Projection> extends HandlerContext {
  /** Aborts when the handler times out or the server stops. */
  readonly signal: AbortSignal;
  /**
   * Sends a command, at once or later: `send(Remind({ … }), { after: "30d", key: "reminder-42" })`.
   *
   * @param command The command.
   * @param when When, if not at once.
   */
  send(command: Draft & { readonly aggregateId: string }, when?: SendOptions): void;
  /** Cancels a scheduled command by its key; without effect if there is none, or if it was sent already. */
  cancel(key: string): void;
  /** Writes a row of a projection that no projector keeps. */
  put<P extends Written>(projection: P, row: RowOf<P>): void;
  /** Deletes a row of such a projection. */
  remove(projection: Written, key: string): void;
  /**
   * Records an SQL statement for your own tables in the store's database. It runs after the handler has returned, in
   * the transaction of the checkpoint, so that both are written or neither. If it fails, the message fails. Throws
   * unless the handler was granted `sql = true`.
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

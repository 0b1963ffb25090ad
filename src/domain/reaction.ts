import type { Message } from "../messages/envelope.ts";
import type { HandlerLog } from "./context.ts";
import type { PlannedAppend } from "./unit_of_work.ts";

/** What became of a command: structurally the store's `CommandOutcome`. */
export interface PlannedOutcome {
  /** The command's message id. */
  readonly commandId: string;
  /** `accepted`: its events are stored. `refused`: it broke a rule. */
  readonly status: "accepted" | "refused";
  /** JSON text: what it led to, or why not. */
  readonly detail: string;
}

/** A row to write: structurally the store's `ProjectionRow`. */
export interface PlannedRow {
  /** The projection's name. */
  readonly projection: string;
  /** The row's key. */
  readonly key: string;
  /** JSON text; `null` deletes the row. */
  readonly row: string | null;
  /** The position of the message that the row is up to date with. */
  readonly position: number;
}

/** A statement for the store's database: structurally the store's `Statement`. */
export interface PlannedStatement {
  /** Its text, cut where values stand. */
  readonly parts: readonly string[];
  /** The values. */
  readonly values: readonly (string | number | boolean | null)[];
}

/** What the handling of some messages wants written. */
export interface Effects {
  /** Messages. */
  readonly appends: readonly PlannedAppend[];
  /** Rows. */
  readonly rows: readonly PlannedRow[];
  /** Outcomes of commands. */
  readonly outcomes: readonly PlannedOutcome[];
  /** Statements, in order. */
  readonly statements?: readonly PlannedStatement[];
}

/** How one delivery of a message goes on. */
export interface Delivery {
  /** The message. */
  readonly message: Message;
  /** Which attempt this is, from 1. */
  readonly attempt: number;
  /** Ends when the handler is given up. */
  readonly signal: AbortSignal;
  /** Where to log. */
  readonly log: HandlerLog;
}

/**
 * The handling of a batch of messages by one group: nothing is written until the subscription commits the effects,
 * and a message that fails leaves none.
 */
export interface Reaction {
  /** Reads what the batch will need, so that handling it is synchronous where it can be. */
  prepare(messages: readonly Message[]): Promise<void>;
  /** Handles one message; returns a promise only when the handler does. Throws, or rejects, when it fails. */
  handle(delivery: Delivery): void | Promise<void>;
  /** What all that was handled wants written. */
  effects(): Effects;
  /** Called after the commit, with whether it went through. */
  settle(written: boolean): void;
}

/** Whether a value can be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

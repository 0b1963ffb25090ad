import type { HandlerLog } from "../domain/context.ts";
import type { Message, MessageRecord } from "../messages/envelope.ts";
import type { Commit } from "../store/port.ts";
import type { StateCache } from "./state_cache.ts";

/** What the handling of some messages wants written: the part of a commit that comes from the domain's code. */
export type Effects = Required<Pick<Commit, "appends" | "rows" | "outcomes" | "statements">>;

/** No effects. */
export const NO_EFFECTS: Effects = Object.freeze({ appends: [], rows: [], outcomes: [], statements: [] });

/** Reads a stream from a version on. */
export type ReadStream = (stream: string, from: number) => Promise<readonly MessageRecord[]>;

/** Reads rows of a projection, as JSON text. */
export type ReadRows = (
  projection: string,
  keys: readonly string[],
) => Promise<readonly { readonly key: string; readonly row: string | null }[]>;

/** What handlers read, and how their pure functions are run. */
export interface Reading {
  /** Reads streams. */
  readonly readStream: ReadStream;
  /** Reads rows of projections. */
  readonly readRows: ReadRows;
  /** States that earlier batches left behind. */
  readonly cache?: StateCache;
  /** Runs pure domain code outside of a handler, under the same time limit. @default {run directly} */
  readonly guard?: <T>(work: () => T) => T;
  /** Tells the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
  /** Makes ids of messages. @default {newId} */
  readonly newId?: () => string;
  /** Whether handlers may record statements. @default {true} */
  readonly sql?: boolean;
}

/** How one delivery of a message goes on. */
export interface Delivery {
  /** The message. */
  readonly message: Message;
  /** Which attempt this is, from 1. */
  readonly attempt: number;
  /** Ends when the handler is given up, or the server stops. */
  readonly signal: AbortSignal;
  /** Ends when the handler is given up: nothing it does from here on counts. */
  readonly givenUp: AbortSignal;
  /** Where to log. */
  readonly log: HandlerLog;
}

/**
 * The handling of a batch of messages by one group: nothing is written until the subscription commits the effects,
 * and a message that fails leaves none.
 */
export interface HandlerBatch {
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

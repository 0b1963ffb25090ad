import type { HandlerLog } from "../domain/context.ts";
import type { Message, MessageRecord } from "../messages/envelope.ts";
import type { CommandOutcome, Commit, Snapshot, Tagged, TaggedMessages } from "../store/port.ts";
import type { RowCache } from "./row_cache.ts";
import type { StateCache } from "./state_cache.ts";

/** The effects of handlers: the part of a commit that comes from the domain's code, and what is kept beside it. */
export interface Effects extends Required<Written> {
  /** States to be kept once the commit was made; no part of it. */
  readonly snapshots: readonly Snapshot[];
  /** CloudEvents for other systems, as JSON text, by the positions of the messages that they are of; no part of it. */
  readonly deliveries: readonly { readonly position: number; readonly event: string }[];
}

type Written = Pick<Commit, "appends" | "conditions" | "rows" | "outcomes" | "statements" | "schedule" | "unschedule">;

/** No effects. */
export const NO_EFFECTS: Effects = Object.freeze({
  appends: [],
  conditions: [],
  rows: [],
  outcomes: [],
  statements: [],
  schedule: [],
  unschedule: [],
  snapshots: [],
  deliveries: [],
});

/** Reads a stream from a version onwards. */
export type ReadStream = (stream: string, from: number) => Promise<readonly MessageRecord[]>;

/** Reads all messages with some tags and types after a position, and says up to where. */
export type ReadTagged = (among: readonly Tagged[], after: number) => Promise<TaggedMessages>;

/** Reads rows of a projection, as JSON text. */
export type ReadRows = (
  projection: string,
  keys: readonly string[],
) => Promise<readonly { readonly key: string; readonly row: string | null }[]>;

/** What handlers read from, and how their pure functions run. */
export interface Reading {
  /** Reads streams. */
  readonly readStream: ReadStream;
  /** Reads rows of projections. */
  readonly readRows: ReadRows;
  /** Reads messages by their positions, in any order; for handlers of kinds that refer to some. */
  readonly readAt?: (positions: readonly number[]) => Promise<readonly MessageRecord[]>;
  /** Reads messages by their tags; for handlers of kinds that decide. */
  readonly readTagged?: ReadTagged;
  /** Reads the snapshot of a stream. @default {there are none} */
  readonly readSnapshot?: (stream: string, fingerprint: string) => Promise<Snapshot | null>;
  /** Reads the outcome of a command. @default {it is as the sender was told} */
  readonly readOutcome?: (commandId: string) => Promise<{ readonly status: CommandOutcome["status"] } | null>;
  /** Takes what is wrong and fails nothing. @default {nobody hears of it} */
  readonly complain?: (text: string) => void;
  /** A number from 0 to 1. @default {Math.random} */
  readonly random?: () => number;
  /** Cached states of earlier batches. */
  readonly cache?: StateCache;
  /** Cached rows of earlier batches, for a handler that alone writes them. */
  readonly rowCache?: RowCache;
  /** Runs pure domain code outside a handler, under the same time limit. @default {run directly} */
  readonly guard?: <T>(work: () => T) => T;
  /** Returns the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
  /** Creates message ids. @default {newId} */
  readonly newId?: () => string;
  /** The longest payload or row, in bytes of JSON. @default {16 MiB} */
  readonly longest?: number;
  /** Whether handlers may record SQL statements. @default {true} */
  readonly sql?: boolean;
}

/** One delivery of a message. */
export interface Delivery {
  /** The message. */
  readonly message: Message;
  /** The number of this attempt, from 1. */
  readonly attempt: number;
  /** Aborts when the handler times out or the server stops. */
  readonly signal: AbortSignal;
  /** Aborts when the handler times out; anything it does afterwards is ignored. */
  readonly givenUp: AbortSignal;
  /** The handler's log. */
  readonly log: HandlerLog;
}

/**
 * A batch of messages handled by one group. Nothing is written until the subscription commits the effects, and a failed
 * message has none.
 */
export interface HandlerBatch {
  /** Prefetches what the batch needs, so that handling can be synchronous where possible. */
  prepare(messages: readonly Message[]): Promise<void>;
  /** Handles one message; returns a promise only if the handler does. Throws or rejects on failure. */
  handle(delivery: Delivery): void | Promise<void>;
  /** The length of the payloads and rows that handling has made so far, in characters. */
  readonly characters: number;
  /** Returns the effects of all handled messages. */
  effects(): Effects;
  /** Called after the commit, with whether it succeeded. */
  settle(written: boolean): void;
}

/** Whether a value can be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

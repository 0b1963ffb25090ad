/** A message as stores and brokers carry it: payload and metadata stay JSON text until a handler needs them. */
export interface MessageRecord {
  /** Store-wide sequence number, from 1. */
  readonly position: number;
  /** UUIDv7. */
  readonly id: string;
  /** Name of the event or command. */
  readonly type: string;
  /** Version of the payload's schema, from 1. */
  readonly schemaVersion: number;
  /** All streams of one kind, like `bank::account`. */
  readonly category: string;
  /** The stream, like `bank::account-42`. */
  readonly stream: string;
  /** Number inside the stream, from 0. */
  readonly version: number;
  /** When it was made, in milliseconds since 1970. */
  readonly time: number;
  /** Id shared by everything that follows from one first cause. */
  readonly correlationId: string;
  /** Id of the message whose handling made this one. */
  readonly causationId: string | null;
  /** JSON text of the payload. */
  readonly data: string;
  /** JSON text of the user's metadata. */
  readonly metadata: string | null;
}

/** A message on its way into the store: without what the store assigns. */
export type NewMessage = Omit<MessageRecord, "position" | "version" | "stream" | "category">;

/** A message as a handler sees it: decoded and brought up to the newest version of its type. */
export interface Message<Name extends string = string, Payload = unknown> {
  /** Name of the event or command. */
  readonly type: Name;
  /** The payload, in the newest version of its schema. */
  readonly payload: Payload;
  /** UUIDv7; stable however often the message is delivered. */
  readonly id: string;
  /** Version of the schema that the payload was stored with. */
  readonly schemaVersion: number;
  /** The stream it is in. */
  readonly stream: string;
  /** The category of that stream. */
  readonly category: string;
  /** The id of the aggregate: the stream's name without its category. */
  readonly aggregateId: string;
  /** Number inside the stream, from 0. */
  readonly version: number;
  /** Store-wide sequence number, from 1. */
  readonly position: number;
  /** When it was made. */
  readonly time: Date;
  /** Id shared by everything that follows from one first cause. */
  readonly correlationId: string;
  /** Id of the message whose handling made this one. */
  readonly causationId: string | null;
  /** What the user attached. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** An event or command that was made but not stored yet. */
export interface Draft<Name extends string = string, Payload = unknown> {
  /** What it is. */
  readonly kind: "event" | "command";
  /** Name of the event or command. */
  readonly type: Name;
  /** Version of the payload's schema. */
  readonly schemaVersion: number;
  /** The checked payload. */
  readonly payload: Payload;
  /** For a command: the aggregate it is for. */
  readonly aggregateId?: string;
}

/**
 * Names the category of an aggregate: `Account` in domain `bank` is `bank::account`.
 *
 * @param domain The domain's name.
 * @param aggregate The aggregate's name; `FundsTransfer` becomes `funds-transfer`.
 * @returns The category.
 */
export function categoryName(domain: string, aggregate: string): string {
  return `${domain}::${aggregate.replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase()}`;
}

/**
 * Names the category of the commands of a category.
 *
 * @param category Like `bank::account`.
 * @returns Like `bank::account:command`.
 */
export function commandCategory(category: string): string {
  return `${category}:command`;
}

/**
 * Names one stream of a category.
 *
 * @param category Like `bank::account`.
 * @param id The aggregate's id.
 * @returns Like `bank::account-42`.
 */
export function streamName(category: string, id: string): string {
  return `${category}-${id}`;
}

/** What no aggregate's category can be called: names of aggregates have no `$`. */
const RESERVATION = "$reservation";

/**
 * Names the category of a domain's unique values: bookkeeping of the log that no group reads.
 *
 * @param domain The domain's name.
 * @returns Like `bank::$reservation`.
 */
export function reservationCategory(domain: string): string {
  return `${domain}::${RESERVATION}`;
}

/**
 * Whether a category is bookkeeping: not of the domain's code, and never published.
 *
 * @param category Any category.
 */
export function isInternal(category: string): boolean {
  return category.endsWith(`::${RESERVATION}`);
}

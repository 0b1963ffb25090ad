/** A message as stored: payload and metadata stay JSON text until a handler needs them. */
export interface MessageRecord {
  /** Store-wide sequence number, from 1. */
  readonly position: number;
  /** UUIDv7. */
  readonly id: string;
  /** The name of the event or command. */
  readonly type: string;
  /** Version of the payload's schema, from 1. */
  readonly schemaVersion: number;
  /** The category, like `bank::account`. */
  readonly category: string;
  /** The stream, like `bank::account-42`. */
  readonly stream: string;
  /** The position within the stream, from 0. */
  readonly version: number;
  /** When it was created, in milliseconds since 1970. */
  readonly time: number;
  /** The correlation id, shared by all messages with the same root cause. */
  readonly correlationId: string;
  /** The id of the message whose handler created this one. */
  readonly causationId: string | null;
  /** JSON text of the payload. */
  readonly data: string;
  /** JSON text of the metadata. */
  readonly metadata: string | null;
}

/** A message to be stored, without the fields that the store assigns. */
export interface NewMessage extends Omit<MessageRecord, "position" | "version" | "stream" | "category"> {
  /** What boundaries find it by. @default {nothing} */
  readonly tags?: readonly string[];
}

/** A message as a handler sees it, decoded and upcast to the current version. */
export interface Message<Name extends string = string, Payload = unknown> {
  /** The name of the event or command. */
  readonly type: Name;
  /** The payload, in the current version of its schema. */
  readonly payload: Payload;
  /** UUIDv7; the same on every delivery. */
  readonly id: string;
  /** The schema version that the payload was stored with. */
  readonly schemaVersion: number;
  /** The stream it is in. */
  readonly stream: string;
  /** The category of that stream. */
  readonly category: string;
  /** The id of the aggregate: the stream's name without its category. */
  readonly aggregateId: string;
  /** The position within the stream, from 0. */
  readonly version: number;
  /** Store-wide sequence number, from 1. */
  readonly position: number;
  /** When it was created. */
  readonly time: Date;
  /** The correlation id, shared by all messages with the same root cause. */
  readonly correlationId: string;
  /** The id of the message whose handler created this one. */
  readonly causationId: string | null;
  /** The metadata attached by the sender. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** A new event or command, not yet stored. */
export interface Draft<Name extends string = string, Payload = unknown> {
  /** Whether it is an event or a command. */
  readonly kind: "event" | "command";
  /** The name of the event or command. */
  readonly type: Name;
  /** Version of the payload's schema. */
  readonly schemaVersion: number;
  /** The checked payload. */
  readonly payload: Payload;
  /** For a command: the target aggregate's id. */
  readonly aggregateId?: string;
}

/**
 * Returns the category of an aggregate: `Account` in domain `bank` is `bank::account`.
 *
 * @param domain The domain's name.
 * @param aggregate The aggregate's name; `FundsTransfer` becomes `funds-transfer`.
 * @returns The category.
 */
export function categoryName(domain: string, aggregate: string): string {
  return `${domain}::${aggregate.replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase()}`;
}

/** What follows the category of an aggregate in that of its commands. */
const COMMANDS = "command";

/**
 * Returns the command category of a category.
 *
 * @param category Like `bank::account`.
 * @returns Like `bank::account:command`.
 */
export function commandCategory(category: string): string {
  return `${category}:${COMMANDS}`;
}

/** Whether a category is such a part: that of an aggregate may have the same name. */
function isPart(category: string, part: string): boolean {
  return category.endsWith(`:${part}`) && !category.endsWith(`::${part}`);
}

/**
 * Whether a category is that of the commands of an aggregate.
 *
 * @param category The category.
 */
export function isOfCommands(category: string): boolean {
  return isPart(category, COMMANDS);
}

/**
 * Returns the name of a stream.
 *
 * @param category Like `bank::account`.
 * @param id The aggregate's id.
 * @returns Like `bank::account-42`.
 */
export function streamName(category: string, id: string): string {
  return `${category}-${id}`;
}

/**
 * Returns the category of a part of what belongs to a handler.
 *
 * @param domain The domain's name.
 * @param owner The handler's name.
 * @param part The part.
 * @returns Like `bank::funds-transfer:inbox`.
 */
export function partCategory(domain: string, owner: string, part: string): string {
  return `${categoryName(domain, owner)}:${part}`;
}

/** What follows the name of a process manager in the category of what its instances have handled. */
export const JOURNAL = "process";

/**
 * Returns the category of the facts of an aggregate.
 *
 * @param category That of its events, like `bank::account`.
 * @returns Like `bank::account-fact`.
 */
export function factCategory(category: string): string {
  return `${category}-fact`;
}

/** Names that no aggregate's category can have, since aggregate names contain no `$`. */
const RESERVATION = "$reservation";
const BOUNDARY = "$boundary";
const OPERATOR = "$operator";

/**
 * Returns the category of a domain's events that no aggregate has: those that are decided within boundaries.
 *
 * @param domain The domain's name.
 * @returns Like `school::$boundary`.
 */
export function boundaryCategory(domain: string): string {
  return `${domain}::${BOUNDARY}`;
}

/**
 * Returns the internal category of a domain's unique values, which no group reads.
 *
 * @param domain The domain's name.
 * @returns Like `bank::$reservation`.
 */
export function reservationCategory(domain: string): string {
  return `${domain}::${RESERVATION}`;
}

/**
 * Returns the internal category of what operators did to a domain.
 *
 * @param domain The domain's name.
 * @returns Like `bank::$operator`.
 */
export function operatorCategory(domain: string): string {
  return `${domain}::${OPERATOR}`;
}

/**
 * Whether a category is internal: read by no group and never published.
 *
 * @param category The category.
 */
export function isInternal(category: string): boolean {
  return category.endsWith(`::${RESERVATION}`) || category.endsWith(`::${OPERATOR}`) || isPart(category, JOURNAL);
}

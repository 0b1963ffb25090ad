import { JOURNAL, partCategory } from "../messages/envelope.ts";
import type { MessageType } from "../messages/message_type.ts";
import { type } from "../messages/schema.ts";

/** What follows the name of a process manager in the category of what its instances are to handle. */
export const INBOX = "inbox";

/** A reference to an event that concerns an instance. */
export interface EventReference {
  /** Where the event is in the log. */
  readonly position: number;
  /** Its type. */
  readonly type: string;
}

/** How a command ended that an instance has sent. */
export interface CommandEnd {
  /** Where the command is in the log. */
  readonly position: number;
  /** Its type. */
  readonly type: string;
  /** Its id. */
  readonly id: string;
  /** How many times the instance had begun when it has sent it. */
  readonly run: number;
  /** How it ended. */
  readonly status: "accepted" | "refused" | "failed";
  /** Why it was refused or failed; empty if it was accepted. */
  readonly rule: string;
}

/** A timer that has fired. */
export interface Fired {
  /** Its name. */
  readonly name: string;
  /** What it was set with. */
  readonly data: unknown;
}

function internal<Payload>(name: string): MessageType<string, Payload> {
  return Object.freeze({ type: name, version: 1, schema: type<Payload>(), upcast: {} });
}

// No type of a domain has a `$` in its name.

/** The type of references to events in an inbox. */
export const EVENT: MessageType<string, EventReference> = internal("$Event");

/** The type of ends of commands in an inbox. */
export const COMMAND_END: MessageType<string, CommandEnd> = internal("$CommandEnd");

/** The type of timers in an inbox. */
export const TIMER: MessageType<string, Fired> = internal("$Timer");

/** The type of what an instance has handled. */
export const HANDLED: MessageType = internal("$Handled");

/**
 * Returns the category of what the instances of a process manager are to handle.
 *
 * @param domain The domain's name.
 * @param process The process manager's name.
 * @returns Like `bank::funds-transfer:inbox`.
 */
export function inboxCategory(domain: string, process: string): string {
  return partCategory(domain, process, INBOX);
}

/** Whether a category of a domain is what instances of a process manager are to handle: perhaps one that only newer code has. */
export function isInbox(domain: string, category: string): boolean {
  return category.startsWith(`${domain}::`) && category.endsWith(`:${INBOX}`) && !category.endsWith(`::${INBOX}`);
}

/**
 * Returns the category of what the instances of a process manager have handled.
 *
 * @param domain The domain's name.
 * @param process The process manager's name.
 * @returns Like `bank::funds-transfer:process`.
 */
export function journalCategory(domain: string, process: string): string {
  return partCategory(domain, process, JOURNAL);
}

/** What code is said to know that reacts to an event: no type of a message has such a name. */
export function reactionName(process: string, event: string): string {
  return `${process}..${event}`;
}

/** What the keys of a process manager's timers start with. */
export function timerKeys(process: string): string {
  return `timer:${process}:`;
}

/** The key of a timer in the schedule: of one name, an instance has one timer. */
export function timerKey(process: string, name: string, id: string): string {
  return `${timerKeys(process)}${name}:${id}`;
}

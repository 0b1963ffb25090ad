import { type Duration, millisecondsOf } from "../lib/duration.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { idFault } from "../messages/ids.ts";
import type { Due } from "../store/port.ts";

/** When a command is sent, if not at once. */
export interface SendOptions {
  /** Some time after the commit that schedules it, by the store's clock. */
  readonly after?: Duration;
  /** At a time; at once if it has passed. */
  readonly at?: Date;
  /** A key by which it can be cancelled; a command that is scheduled with the same key replaces it. */
  readonly key?: string;
}

/** What the keys that the domain's code gives start with. */
const GIVEN = "key:";

/**
 * Returns when a command is due.
 *
 * @param options What the sender has asked for.
 * @returns `null` if it is to be sent at once.
 * @throws {DomainDefinitionError} If that cannot be told.
 */
export function dueOf({ after, at, key }: SendOptions): Due | null {
  if (after !== undefined && at !== undefined) {
    throw new DomainDefinitionError(
      'Cannot schedule a command both "after" some time and "at" a time; say one of the two',
    );
  }
  if (at !== undefined) {
    const time = at instanceof Date ? at.getTime() : NaN;
    if (Number.isFinite(time)) return { at: time };
    throw new DomainDefinitionError(`Cannot schedule a command at ${String(at)}: it is no valid Date`);
  }
  if (after !== undefined) return { after: millisecondsOf(after) };
  return key === undefined ? null : { after: 0 };
}

/**
 * Returns the key in the schedule for a key of the domain's code.
 *
 * @param key The code's key.
 * @throws {DomainDefinitionError} If it cannot be one.
 */
export function scheduleKey(key: unknown): string {
  const fault = idFault(key);
  if (fault !== null) throw new DomainDefinitionError(`Cannot use this key of a scheduled command: ${fault}`);
  return `${GIVEN}${key}`;
}

/** A key in the schedule as it is shown: as the code gave it, if it did. */
export function shownKey(key: string): string {
  return isGivenKey(key) ? key.slice(GIVEN.length) : key;
}

/** Whether a key in the schedule is one that the domain's code gave. */
export function isGivenKey(key: string): boolean {
  return key.startsWith(GIVEN) && idFault(key.slice(GIVEN.length)) === null;
}

/** The key of a scheduled message that its sender gave none. */
export function keyless(id: string): string {
  return `id:${id}`;
}

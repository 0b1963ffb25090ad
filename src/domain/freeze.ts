import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";

/** The mutating methods of `Map` and `Set`, whose entries `Object.freeze` does not protect. */
const MUTATORS = ["set", "add", "delete", "clear"];

/** The mutating methods of `Date`. */
const SETTERS = Object.getOwnPropertyNames(Date.prototype).filter((name) => name.startsWith("set"));

function refuse(): never {
  throw new TypeError("Cannot change a frozen Map, Set or Date");
}

/**
 * Deep-freezes a value, stopping at parts that are already frozen, so that a state that shares most of its parts with
 * the previous one is cheap to freeze.
 *
 * JavaScript cannot freeze the contents of typed arrays, nor private fields; they are left as is.
 *
 * @param value Any value.
 * @returns The same value.
 */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value;
  const isCollection = value instanceof Map || value instanceof Set;
  if (isCollection) {
    for (const name of MUTATORS) {
      if (name in value) Object.defineProperty(value, name, { value: refuse, configurable: true });
    }
  }
  if (value instanceof Date) {
    for (const name of SETTERS) Object.defineProperty(value, name, { value: refuse, configurable: true });
  }
  // Freeze before recursing, so that cycles end.
  Object.freeze(value);
  if (isCollection) {
    for (const entry of value as Iterable<unknown>) {
      if (Array.isArray(entry)) entry.forEach(deepFreeze);
      else deepFreeze(entry);
    }
  }
  for (const key of Object.keys(value)) deepFreeze((value as Record<string, unknown>)[key]);
  return value;
}

/** Deep-freezes a message, which is shared by those who handle it. */
export function freezeMessage(message: Message): Message {
  // The message itself is frozen, and deepFreeze stops there.
  for (const part of [message.payload, message.time, message.metadata]) deepFreeze(part);
  return message;
}

/** V8's messages for changes to frozen objects. */
const CHANGED =
  /^Cannot (assign to read only|add property|delete property|define property|redefine property|change a frozen)|object is not extensible/;

/**
 * Explains an error caused by changing a frozen state.
 *
 * @param error The error.
 * @param where The function, like `evolve of "Account"`.
 * @param instead What to do instead.
 * @returns An error that says what to do, with the line in `stack`; any other error unchanged.
 */
export function explainFrozen(error: unknown, where: string, instead: string): unknown {
  if (!(error instanceof TypeError) || !CHANGED.test(error.message)) return error;
  const line = /\(?((?:file|https?):\/\/[^\s()]+:\d+:\d+)\)?/.exec(
    (error.stack ?? "").split("\n").filter((frame) => !frame.includes(import.meta.url)).join("\n"),
  )?.[1];
  const explained = new DomainDefinitionError(
    `${where} changes the state in place${line === undefined ? "" : ` at ${line}`} (${error.message}); ${instead}`,
    { cause: error },
  );
  return explained;
}

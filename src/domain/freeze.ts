import { DomainDefinitionError } from "../messages/errors.ts";

/** What changes a `Map` or a `Set`: `Object.freeze` does not reach what they hold. */
const MUTATORS = ["set", "add", "delete", "clear"];

function refuse(): never {
  throw new TypeError("Cannot change a frozen Map or Set");
}

/**
 * Freezes a value and all that it holds, and stops at what is frozen already: a state that shares most of its parts
 * with the one before costs what is new in it.
 *
 * Contents of typed arrays cannot be frozen in JavaScript; they are left as they are.
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
  // Frozen first: what holds itself is met frozen the second time.
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

/** What V8 says when frozen things are changed. */
const CHANGED =
  /^Cannot (assign to read only|add property|delete property|define property|redefine property|change a frozen)|object is not extensible/;

/**
 * Says what was done wrong when something threw because it changed a frozen state.
 *
 * @param error What was thrown.
 * @param where Which function, like `evolve of "Account"`.
 * @param instead What to do instead.
 * @returns An error that says what to do, with the line in `stack`; any other error as it is.
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

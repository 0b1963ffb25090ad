import { type Fault, PayloadError } from "./errors.ts";
import { isStorable } from "./text.ts";

/** A value that survives JSON unchanged. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };

/** How deeply values may be nested: databases and parsers give up somewhere beyond. */
export const DEEPEST = 1_000;

/**
 * How deeply a JSON text is nested; a text that is too short for {@linkcode DEEPEST} is not looked at.
 *
 * @param text JSON.
 * @returns The number of levels, or 0 for a short text.
 */
export function depthOf(text: string): number {
  if (text.length <= DEEPEST) return 0;
  let [depth, deepest, isInString] = [0, 0, false];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (isInString) {
      if (code === 0x5c) i++;
      else if (code === 0x22) isInString = false;
    } else if (code === 0x22) isInString = true;
    else if (code === 0x5b || code === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x5d || code === 0x7d) depth--;
  }
  return deepest;
}

/** The longest payload or row, as JSON text, in bytes of UTF-8, unless `max_message_bytes` is less. */
export const LONGEST_JSON: number = 16 << 20;

/** Whether a text has more bytes of UTF-8 than allowed. */
export function isLonger(text: string, most: number): boolean {
  // A UTF-16 code unit has three bytes at most: short texts are not encoded for it.
  return text.length > most || (text.length * 3 > most && new TextEncoder().encode(text).length > most);
}

/**
 * Refuses JSON that is too long to be stored and passed around.
 *
 * @param name The message type or projection.
 * @param text The JSON text.
 * @param most The most bytes of UTF-8 it may have. @default {LONGEST_JSON}
 * @throws {PayloadError} If it has more.
 */
export function checkLength(name: string, text: string, most: number = LONGEST_JSON): void {
  if (!isLonger(text, most)) return;
  const bytes = new TextEncoder().encode(text).length;
  throw new PayloadError(name, [{
    path: "",
    message:
      `${bytes} bytes of JSON are more than max_message_bytes = ${most}; store the content elsewhere and refer to it`,
  }]);
}

/**
 * Extends a path by a key or an index.
 *
 * @param path The path so far; empty at the root.
 * @param key The next step.
 * @returns The longer path, like `lines[2].price`.
 */
export function extendPath(path: string, key: PropertyKey): string {
  if (typeof key === "number") return `${path}[${key}]`;
  const text = String(key);
  if (/^[A-Za-z_$][\w$]*$/.test(text)) return path === "" ? text : `${path}.${text}`;
  return `${path}[${JSON.stringify(text)}]`;
}

function describe(value: unknown): string {
  if (value === undefined) return "undefined";
  if (typeof value === "number") return String(value);
  if (typeof value === "object" && value !== null) return `a ${value.constructor?.name ?? "object"}`;
  return `a ${typeof value}`;
}

/**
 * Finds the parts of a value that JSON would lose or change: `Date`, `Map`, `NaN`, `bigint`, `undefined`, functions,
 * cycles.
 *
 * @param value The value to check.
 * @returns One fault per part; empty if the value survives JSON unchanged.
 */
export function jsonFaults(value: unknown): Fault[] {
  const faults: Fault[] = [];
  /** Where it is, and the objects on the way: a path is spelled only for a fault. */
  const trail: PropertyKey[] = [];
  const parents: object[] = [];
  const fault = (message: string): void => void faults.push({ path: trail.reduce<string>(extendPath, ""), message });
  const step = (key: PropertyKey, value: unknown): void => {
    trail.push(key);
    visit(value);
    trail.pop();
  };
  const visit = (value: unknown): void => {
    switch (typeof value) {
      case "string":
        if (!isStorable(value)) {
          fault("U+0000 and lone surrogates cannot be stored; remove them, or encode the value (base64)");
        }
        return;
      case "boolean":
        return;
      case "number":
        if (!Number.isFinite(value)) fault(`${value} is not a JSON number`);
        else if (Object.is(value, -0)) fault("-0 becomes 0 in JSON");
        return;
      case "object":
        break;
      default:
        return fault(`${describe(value)} is not JSON`);
    }
    if (value === null) return;
    if (parents.includes(value)) return fault("the value contains itself");
    if (parents.length >= DEEPEST) {
      faults.push({ path: "", message: `the value is nested more than ${DEEPEST} levels deep` });
      return;
    }
    parents.push(value);
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) step(i, value[i]);
    } else {
      const prototype = Object.getPrototypeOf(value);
      if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype) !== null) {
        fault(`${describe(value)} is not JSON`);
      } else {
        for (const key of Reflect.ownKeys(value)) visitField(value as Record<PropertyKey, unknown>, key);
      }
    }
    parents.pop();
  };
  const visitField = (value: Record<PropertyKey, unknown>, key: PropertyKey): void => {
    const isText = typeof key === "string";
    if (isText && key !== "__proto__" && isStorable(key)) return step(key, value[key]);
    trail.push(key);
    if (!isText) fault("a symbol key is not JSON");
    else if (key === "__proto__") fault("the key __proto__ is refused");
    else fault("a key with U+0000 or a lone surrogate cannot be stored");
    trail.pop();
  };
  visit(value);
  return faults;
}

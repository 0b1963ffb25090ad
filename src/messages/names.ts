import { DomainDefinitionError } from "./errors.ts";

/** The longest name of a part of a domain, in UTF-16 code units. */
const LONGEST_NAME = 200;

/** What may be in a name besides letters, digits and `_`. */
type Marks = "" | "." | ".-";

/**
 * Checks the name of a part of a domain: names are in streams, rows, leases and paths.
 *
 * @param what What is named, like `handler`.
 * @param name Its name.
 * @param marks What may be in it besides letters, digits and `_`. @default {nothing}
 * @throws {DomainDefinitionError} If it cannot be used.
 */
export function checkName(what: string, name: unknown, marks: Marks = ""): void {
  const fault = faultOf(name, marks);
  if (fault === null) return;
  const shown = typeof name === "string" ? `"${name.slice(0, LONGEST_NAME)}"` : "without a name";
  throw new DomainDefinitionError(`Cannot define ${what} ${shown}: ${fault}`);
}

function faultOf(name: unknown, marks: Marks): string | null {
  if (typeof name !== "string") return "its name is no text";
  if (name.length > LONGEST_NAME) return `its name has ${name.length} characters; at most ${LONGEST_NAME} are allowed`;
  const rest = [...name].filter((character) => !marks.includes(character)).join("");
  if (/^[A-Za-z]/.test(name) && /^\w*$/.test(rest)) return null;
  const allowed = ["letters", "digits", '"_"', ...[...marks].map((mark) => `"${mark}"`)];
  return `a name starts with a letter and has only ${allowed.slice(0, -1).join(", ")} and ${allowed.at(-1)}`;
}

/**
 * Checks a list of parts of a domain. A part is `undefined` where it is used before its module defines it.
 *
 * @param owner What the list belongs to, like `handler "Billing"`.
 * @param what What it is a list of, like `events`.
 * @param parts The list.
 * @param isOne Tells whether something is such a part.
 * @throws {DomainDefinitionError} If it is no list, or one of its elements is no such part.
 */
export function checkParts(owner: string, what: string, parts: unknown, isOne: (part: any) => boolean): void {
  if (!Array.isArray(parts)) {
    throw new DomainDefinitionError(`Cannot define ${owner}: "${what}" is no list; write ${what}: [ … ]`);
  }
  const wrong = parts.findIndex((part) => part === undefined || part === null || !isOne(part));
  if (wrong < 0) return;
  const part = parts[wrong];
  throw new DomainDefinitionError(
    `Cannot define ${owner}: ${what}[${wrong}] is ${
      part === undefined
        ? "undefined; it is used before it is defined, perhaps by two modules that import each other"
        : `${whatIs(part)}, which cannot be one of its ${what}`
    }`,
  );
}

/** Says what a value is, for an error: a part of a domain by its name, anything else by its type. */
export function whatIs(part: unknown): string {
  const { kind, name, type } = Object(part) as Record<string, unknown>;
  const named = typeof type === "string" ? type : typeof name === "string" ? name : undefined;
  if (typeof kind === "string" && named !== undefined) return `${kind} "${named}"`;
  if (part === null || part === undefined) return String(part);
  return Array.isArray(part) ? "a list" : typeof part === "object" ? "an object" : `a ${typeof part}`;
}

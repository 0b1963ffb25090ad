/**
 * Reads a property of a value thrown by foreign code, which may be a proxy or have throwing getters.
 *
 * @param thrown The thrown value.
 * @param name The property.
 * @returns Its value; `undefined` if absent or if reading it throws.
 */
export function read(thrown: unknown, name: PropertyKey): unknown {
  try {
    return (thrown as Record<PropertyKey, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}

/** How many of the errors of an `AggregateError` are described. */
const MOST_INNER = 5;

/** How many causes of causes are described: a cause may be its own. */
const DEEPEST = 5;

/** How much of the message of a cause is described, in characters. */
const LONGEST_INNER = 2_000;

/**
 * Describes any thrown value as text; never throws.
 *
 * @param thrown The thrown value.
 * @returns Name and message of an error, and what caused it; anything else as text.
 */
export function textOf(thrown: unknown): string {
  return describe(thrown, 0);
}

function describe(thrown: unknown, depth: number): string {
  const name = read(thrown, "name");
  let message = read(thrown, "message");
  try {
    if (depth > 0 && typeof message === "string") message = message.slice(0, LONGEST_INNER);
    if (typeof message !== "string") {
      const text = typeof thrown === "object" && thrown !== null ? inspect(thrown) : String(thrown);
      return text === "" ? "An empty text was thrown" : text;
    }
    const all = depth === 0 ? read(thrown, "errors") : undefined;
    const inner = Array.isArray(all) ? all.slice(0, MOST_INNER).map((one) => describe(one, depth + 1)) : [];
    const cause = depth < DEEPEST ? read(thrown, "cause") : undefined;
    const why = cause === undefined || cause === null ? "" : describe(cause, depth + 1);
    // Some name their cause themselves.
    if (why !== "" && !message.includes(why)) inner.push(message === "" ? why : `caused by ${why}`);
    const said = [message, ...inner].filter((text) => text !== "").join("; ");
    const start = typeof name === "string" && name !== "Error" && name !== "" ? name : "";
    return [start, said].filter((text) => text !== "").join(": ") || "An error without a message";
  } catch {
    return "something that cannot be shown was thrown";
  }
}

function inspect(value: object): string {
  const message = read(value, "message");
  if (message !== undefined) return String(typeof message === "object" ? JSON.stringify(message) : String(message));
  return JSON.stringify(value) ?? String(value);
}

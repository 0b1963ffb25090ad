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

/**
 * Describes any thrown value as text; never throws.
 *
 * @param thrown The thrown value.
 * @returns Name and message of an error; anything else as text.
 */
export function textOf(thrown: unknown): string {
  const [name, message] = [read(thrown, "name"), read(thrown, "message")];
  try {
    if (typeof message !== "string") {
      const text = typeof thrown === "object" && thrown !== null ? inspect(thrown) : String(thrown);
      return text === "" ? "An empty text was thrown" : text;
    }
    const cause = read(thrown, "cause");
    const all = read(thrown, "errors");
    const inner = Array.isArray(all) ? all.slice(0, MOST_INNER) : message === "" && cause !== undefined ? [cause] : [];
    const said = [message, ...inner.map((one) => textOf(one))].filter((text) => text !== "").join("; ");
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

/**
 * Reads a property of something that code of others threw: it may be anything, also a proxy or an object whose getters
 * throw.
 *
 * @param thrown What was thrown.
 * @param name The property.
 * @returns Its value; `undefined` when there is none, or when reading it throws.
 */
export function read(thrown: unknown, name: PropertyKey): unknown {
  try {
    return (thrown as Record<PropertyKey, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}

/**
 * Says in words what was thrown, whatever it is; never throws itself.
 *
 * @param thrown What was thrown.
 * @returns Name and message of an error; anything else as text.
 */
export function textOf(thrown: unknown): string {
  const [name, message] = [read(thrown, "name"), read(thrown, "message")];
  try {
    if (typeof message !== "string") {
      return typeof thrown === "object" && thrown !== null ? inspect(thrown) : String(thrown);
    }
    return typeof name === "string" && name !== "Error" && name !== "" ? `${name}: ${message}` : message;
  } catch {
    return "something that cannot be shown was thrown";
  }
}

function inspect(value: object): string {
  const message = read(value, "message");
  if (message !== undefined) return String(typeof message === "object" ? JSON.stringify(message) : String(message));
  return JSON.stringify(value) ?? String(value);
}

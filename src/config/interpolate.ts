import type { ConfigFault } from "./errors.ts";
import { Interpolated } from "./schema.ts";

/** `${NAME}` or `${NAME|default}`; the default may hold one pair of braces, like `{domain}`. */
const VARIABLE = /\$\{([^|{}]*)(?:\|([^{}]*(?:\{[^{}]*\}[^{}]*)*))?\}/g;

/** Callbacks of an interpolation. */
export interface Interpolation {
  /** Looks up a variable. */
  readonly env: (name: string) => string | undefined;
  /** Called for each value taken from a variable or its default. */
  readonly onValue: (key: string, variable: string, set: boolean) => void;
  /** Called for each fault. */
  readonly onFault: (fault: ConfigFault) => void;
  /** Called for each variable that is not set and has no default. */
  readonly onUnset: (fault: ConfigFault) => void;
}

/**
 * Substitutes environment variables in all strings of a configuration.
 *
 * @param value A parsed configuration, or a part of it.
 * @param options The source of variables, and callbacks.
 * @param key The key of the part.
 * @returns A copy, with {@linkcode Interpolated} values where variables were substituted.
 */
export function interpolate(value: unknown, options: Interpolation, key = ""): unknown {
  if (typeof value === "string") return interpolateText(value, options, key);
  if (Array.isArray(value)) return value.map((entry, i) => interpolate(entry, options, `${key}[${i}]`));
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) === Date.prototype) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, entry]) => [name, interpolate(entry, options, key ? `${key}.${name}` : name)]),
  );
}

function interpolateText(text: string, { env, onValue, onFault, onUnset }: Interpolation, key: string): unknown {
  if (!text.includes("${")) return text;
  const replaced = text.replace(VARIABLE, (whole, name: string, fallback: string | undefined) => {
    if (!/^[A-Za-z_]\w*$/.test(name)) {
      onFault({ key, message: `"${whole}" does not name a variable; write \${NAME} or \${NAME|default}` });
      return "";
    }
    const value = env(name);
    // An empty variable counts as unset, as `NAME= command` and compose files intend.
    const set = value !== undefined && value !== "";
    onValue(key, name, set);
    if (set) return value;
    if (fallback === undefined) {
      onUnset({
        key,
        message: `environment variable ${name} is not set; set it, or write \${${name}|default}`,
      });
    }
    return fallback ?? "";
  });
  if (replaced.includes("${")) {
    onFault({ key, message: `"${text}" has a \${ without an end; write \${NAME} or \${NAME|default}` });
  }
  return new Interpolated(replaced);
}

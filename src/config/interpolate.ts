import type { ConfigFault } from "./errors.ts";
import { Interpolated } from "./schema.ts";

/** `${NAME}` or `${NAME|default}`; the default may hold one pair of braces, like `{domain}`. */
const VARIABLE = /\$\{([^|{}]*)(?:\|([^{}]*(?:\{[^{}]*\}[^{}]*)*))?\}/g;

/** What becomes of the texts of a configuration. */
export interface Interpolation {
  /** Looks a variable up. */
  readonly env: (name: string) => string | undefined;
  /** Called for each value that a variable, or its default, gave. */
  readonly onValue: (key: string, variable: string, set: boolean) => void;
  /** Called for each thing that is wrong. */
  readonly onFault: (fault: ConfigFault) => void;
}

/**
 * Puts environment variables into all texts of a configuration.
 *
 * @param value A parsed configuration, or a part of it.
 * @param options Where variables come from.
 * @param key The key of the part.
 * @returns The same with {@linkcode Interpolated} values where there was something to put in.
 */
export function interpolate(value: unknown, options: Interpolation, key = ""): unknown {
  if (typeof value === "string") return interpolateText(value, options, key);
  if (Array.isArray(value)) return value.map((entry, i) => interpolate(entry, options, `${key}[${i}]`));
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) === Date.prototype) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, entry]) => [name, interpolate(entry, options, key ? `${key}.${name}` : name)]),
  );
}

function interpolateText(text: string, { env, onValue, onFault }: Interpolation, key: string): unknown {
  if (!text.includes("${")) return text;
  const replaced = text.replace(VARIABLE, (whole, name: string, fallback: string | undefined) => {
    if (!/^[A-Za-z_]\w*$/.test(name)) {
      onFault({ key, message: `"${whole}" does not name a variable; write \${NAME} or \${NAME|default}` });
      return "";
    }
    const value = env(name);
    // An empty variable counts as none: that is what `NAME= command` and compose files mean.
    const set = value !== undefined && value !== "";
    onValue(key, name, set);
    if (set) return value;
    if (fallback === undefined) {
      onFault({
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

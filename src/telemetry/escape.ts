// deno-lint-ignore-file no-control-regex
/** Control characters and bidirectional text overrides. */
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e" };

/** The escape sequences that {@linkcode paint} emits. */
const COLOR = /^\x1b\[\d*m/;

/**
 * Escapes control characters, so that a text is safe on a terminal and stays on one log line. Text from handlers,
 * messages and errors is untrusted.
 *
 * @param text The text to escape.
 * @param keep What to leave unescaped: line breaks, colours.
 * @returns The text with control characters escaped, as in `\n` and `\e`.
 */
export function escapeControl(
  text: string,
  keep: { readonly lines?: boolean; readonly colors?: boolean } = {},
): string {
  return text.replaceAll(CONTROL, (found, at: number) => {
    if (keep.lines && found === "\n") return found;
    if (keep.colors && found === "\x1b" && COLOR.test(text.slice(at, at + 6))) return found;
    return NAMED[found] ?? `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

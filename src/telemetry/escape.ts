// deno-lint-ignore-file no-control-regex
/** Control characters, and those that turn the direction of a line around. */
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e" };

/** The sequences that {@linkcode paint} makes. */
const COLOR = /^\x1b\[\d*m/;

/**
 * Makes a text harmless for a terminal and for whoever reads a log line by line: what comes from handlers, messages and
 * errors may have anything in it.
 *
 * @param text Any text.
 * @param keep What stays as it is: ends of lines, colours.
 * @returns The text with control characters written out, like `\n` and `\e`.
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

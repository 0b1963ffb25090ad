/** What PostgreSQL cannot store as text, and SQLite's own functions stop at. */
const NUL = "\u0000";

/**
 * Whether every store can keep a text as it is.
 *
 * @param text Any text.
 * @returns `false` when it has U+0000 or half a surrogate pair in it.
 */
export function isStorable(text: string): boolean {
  return !text.includes(NUL) && text.isWellFormed();
}

/**
 * Makes a text that every store can keep: for what is shown to people, like an error's message.
 *
 * @param text Any text.
 * @param most How many UTF-16 code units to keep; what is cut off is counted.
 * @returns The text, with U+0000 shown as `\u2400` and half surrogate pairs as `\uFFFD`.
 */
export function storable(text: string, most: number): string {
  const cut = text.length > most ? `${text.slice(0, most)}… (${text.length - most} more characters)` : text;
  return cut.replaceAll(NUL, "\u2400").toWellFormed();
}

/** The character that PostgreSQL cannot store and that ends a text in SQLite's functions. */
const NUL = "\u0000";

/**
 * Whether every store can keep a text unchanged.
 *
 * @param text The text.
 * @returns `false` if it contains U+0000 or a lone surrogate.
 */
export function isStorable(text: string): boolean {
  return !text.includes(NUL) && text.isWellFormed();
}

/**
 * Converts a text for display, such as an error message, to one that every store can keep.
 *
 * @param text The text.
 * @param most The number of UTF-16 code units to keep; the number cut off is appended.
 * @returns The text, with U+0000 replaced by `\u2400` and lone surrogates by `\uFFFD`.
 */
export function storable(text: string, most: number): string {
  const cut = text.length > most ? `${text.slice(0, most)}… (${text.length - most} more characters)` : text;
  return cut.replaceAll(NUL, "\u2400").toWellFormed();
}

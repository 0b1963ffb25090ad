/** The most numbers that are named. */
const MOST = 5;

/**
 * Finds the whole numbers of a JSON text that a double cannot hold: they would be stored as others.
 *
 * @param text JSON.
 * @returns The numbers as they are written; the first few.
 */
export function largeNumbers(text: string): string[] {
  const found: string[] = [];
  // Shorter ones are exact, and most texts have no others.
  if (!/\d{16}/.test(text)) return found;
  // TypeScript does not know the third argument yet (ECMAScript, "JSON.parse source text access").
  const look = (_key: string, value: unknown, given?: { readonly source?: string }): unknown => {
    const source = given?.source;
    if (typeof value !== "number" || source === undefined || found.length === MOST) return value;
    if (/^-?\d{16,300}$/.test(source) && BigInt(source) !== BigInt(value)) found.push(source.slice(0, 40));
    return value;
  };
  JSON.parse(text, look);
  return found;
}

import { closest, distance } from "fastest-levenshtein";

/**
 * Suggests the known name closest to a misspelt one.
 *
 * @param name The misspelt name.
 * @param known The known names.
 * @returns ` (did you mean "x"?)`, or the list of known names, or nothing.
 */
export function didYouMean(name: string, known: readonly string[]): string {
  if (known.length === 0) return "";
  const nearest = closest(name, [...known]);
  if (distance(name, nearest) <= Math.max(2, name.length / 3)) return `; did you mean "${nearest}"?`;
  return `; known: ${[...known].sort().join(", ")}`;
}

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

/**
 * Points to what may be a misspelling of a name that is missing.
 *
 * @param name The missing name.
 * @param given Names that were given and are not known.
 * @returns `; is "x" a misspelling of it?`, or nothing.
 */
export function didYouWrite(name: string, given: readonly string[]): string {
  if (given.length === 0) return "";
  const nearest = closest(name, [...given]);
  return distance(name, nearest) <= Math.max(2, name.length / 3) ? `; is "${nearest}" a misspelling of it?` : "";
}

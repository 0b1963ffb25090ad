import { closest, distance } from "fastest-levenshtein";

/**
 * Finds the known name that somebody may have meant.
 *
 * @param name What was written.
 * @param known The names there are.
 * @returns ` (did you mean "x"?)`, or a list of what there is, or nothing.
 */
export function didYouMean(name: string, known: readonly string[]): string {
  if (known.length === 0) return "";
  const nearest = closest(name, [...known]);
  if (distance(name, nearest) <= Math.max(2, name.length / 3)) return `; did you mean "${nearest}"?`;
  return `; known: ${[...known].sort().join(", ")}`;
}

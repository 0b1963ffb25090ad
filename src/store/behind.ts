import type { Behind, CategoryPosition } from "./port.ts";

/** A part of a category. */
export interface CategoryRange extends CategoryPosition {
  /** Its last position; a number that no position reaches if it is open. */
  readonly upTo: number;
}

/**
 * Cuts categories at the given positions: to count the parts is to count each message once, however many groups are
 * behind it.
 *
 * @param positions Where to cut.
 * @returns The parts from each distinct position to the next one of its category, by category and position.
 */
export function rangesOf(positions: readonly CategoryPosition[]): CategoryRange[] {
  const cuts = Map.groupBy(positions, ({ category }) => category);
  return [...cuts].flatMap(([category, those]) => {
    const ends = [...new Set(those.map(({ after }) => after))].sort((a, b) => a - b);
    return ends.map((after, i) => ({ category, after, upTo: ends[i + 1] ?? Number.MAX_SAFE_INTEGER }));
  });
}

/**
 * Adds up what parts of categories have.
 *
 * @param positions The positions that {@linkcode rangesOf} was given.
 * @param ranges What it returned.
 * @param found For each range: the number of its messages, and the time of the first message from its beginning on.
 * @returns What is behind each of the positions.
 */
export function behindOf(
  positions: readonly CategoryPosition[],
  ranges: readonly CategoryRange[],
  found: readonly Behind[],
): Behind[] {
  const known = new Map<string, Behind>();
  let messages = 0;
  for (let i = ranges.length - 1; i >= 0; i--) {
    const { category, after, upTo } = ranges[i];
    messages = found[i].messages + (upTo === Number.MAX_SAFE_INTEGER ? 0 : messages);
    known.set(JSON.stringify([category, after]), { messages, oldest: found[i].oldest });
  }
  return positions.map(({ category, after }) => known.get(JSON.stringify([category, after]))!);
}

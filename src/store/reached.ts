import type { Checkpoint } from "./port.ts";

/**
 * Computes the checkpoint of a group in a category, across all numbers of partitions it has had.
 *
 * A layout (a number of partitions) counts if each of its partitions has a checkpoint; the furthest layout wins.
 *
 * @param checkpoints All checkpoints of one group.
 * @param category The category.
 * @returns A position; 0 if no layout is complete.
 */
export function reachedBy(checkpoints: readonly Checkpoint[], category: string): number {
  const layouts = new Map<number, { count: number; lowest: number }>();
  for (const checkpoint of checkpoints) {
    if (checkpoint.category !== category) continue;
    const { count, lowest } = layouts.get(checkpoint.partitions) ?? { count: 0, lowest: Infinity };
    layouts.set(checkpoint.partitions, { count: count + 1, lowest: Math.min(lowest, checkpoint.position) });
  }
  let furthest = 0;
  for (const [partitions, { count, lowest }] of layouts) {
    if (count === partitions) furthest = Math.max(furthest, lowest);
  }
  return furthest;
}

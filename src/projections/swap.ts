import { compareGenerations, type Generation, versionOf } from "../store/generations.ts";

/** A generation that is to take the place of another one. */
export interface Pending {
  /** What readers see now. */
  readonly from: Generation;
  /** What they are to see. */
  readonly to: Generation;
}

/**
 * Says which generation is to be swapped in without being asked: a newer one than readers see, as soon as it has what they
 * see now; or an older one that the code makes, when nobody feeds what they see.
 *
 * @param generations Those of one projection.
 * @param version The version of the code.
 * @param isFed Whether somebody feeds a generation.
 * @returns What is to be done, if anything.
 */
export function pendingSwap(
  generations: readonly Generation[],
  version: number,
  isFed: (generation: Generation) => boolean,
): Pending | null {
  const from = generations.find(({ isActive }) => isActive);
  const to = generations.findLast(({ generation, state }) => versionOf(generation) === version && state === "fed");
  if (!from || !to || to.isActive || from.isPinned) return null;
  const isNewer = compareGenerations(to.generation, from.generation) > 0;
  return isNewer || !isFed(from) ? { from, to } : null;
}

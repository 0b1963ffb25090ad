import type { Checkpoint } from "../store/port.ts";

/**
 * The group whose checkpoints are the watermarks of categories (see {@linkcode watermarkOf}), and the name of the
 * relay's lease.
 */
export const RELAY_GROUP = "$relay";

/**
 * Returns the watermark of a category. The broker has every message above it; those at or below it may have been
 * trimmed and are read from the log.
 *
 * @param checkpoints Checkpoints, including those of {@linkcode RELAY_GROUP}.
 * @param category The category.
 * @returns A position; 0 if the broker has everything.
 */
export function watermarkOf(checkpoints: readonly Checkpoint[], category: string): number {
  return checkpoints.find((c) => c.group === RELAY_GROUP && c.category === category)?.position ?? 0;
}

import type { Checkpoint } from "../store/port.ts";

/**
 * The group whose checkpoints are the watermarks of categories (see {@linkcode watermarkOf}); the relay's lease has this
 * name, too.
 */
export const RELAY_GROUP = "$relay";

/**
 * Tells from where on the broker has everything of a category. What is at or below it may have been trimmed, and is
 * to be read from the log.
 *
 * @param checkpoints Checkpoints, those of {@linkcode RELAY_GROUP} among them.
 * @param category The category.
 * @returns A position; 0 when the broker has everything.
 */
export function watermarkOf(checkpoints: readonly Checkpoint[], category: string): number {
  return checkpoints.find((c) => c.group === RELAY_GROUP && c.category === category)?.position ?? 0;
}

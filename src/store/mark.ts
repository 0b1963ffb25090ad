import type { Checkpoint } from "./port.ts";

/**
 * Makes a note that is kept as a checkpoint of a group that nobody runs, with a name in place of a category.
 *
 * @param group The group, like `$renamed`.
 * @param name What is noted.
 * @param position Up to where it holds. @default {0}
 */
export function mark(group: string, name: string, position = 0): Checkpoint {
  return { group, category: name, partitions: 1, partition: 0, position };
}

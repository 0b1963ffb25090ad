import { isReceived } from "../messages/cloud_event.ts";
import { generationOf, storedAs } from "../store/generations.ts";
import type { Checkpoint } from "../store/port.ts";

/**
 * The group whose checkpoints name, in place of a category, groups that are gone on purpose: their successors are not
 * taken for renamed ones any more.
 */
export const RETIRED_GROUP = "$retired";

/**
 * Returns which groups get other names when a handler does: a projector has one for each generation that it feeds.
 *
 * @param name The handler's name.
 * @param formerly What it was called before.
 * @param checkpoints All checkpoints.
 */
export function renamesOf(
  name: string,
  formerly: string,
  checkpoints: readonly Checkpoint[],
): { readonly from: string; readonly to: string }[] {
  const base = generationOf(name).projection;
  const groups = new Set(checkpoints.map(({ group }) => group));
  return [...groups].filter((group) => generationOf(group).projection === formerly).map((from) => {
    const { generation } = generationOf(from);
    return { from, to: generation === null ? base : `${base}@${generation}` };
  });
}

/** A group that is new, and one that is gone and read the same. */
export interface Rename {
  /** The group that has handled messages, and is not in the code any more. */
  readonly gone: string;
  /** The group that has handled none. */
  readonly fresh: string;
  /** A category that both read; or in which the one that is gone has what it has received from outside. */
  readonly category: string;
  /** Whether both take events from outside, each in a category of its own. */
  readonly isReceiver: boolean;
}

/**
 * Finds groups that may have been renamed. To the store such a group is a new one, which handles all messages since the
 * beginning: what the old one did is done a second time.
 *
 * @param groups The groups of the code, with the categories they read.
 * @param checkpoints All checkpoints.
 * @returns Pairs of groups, by name.
 */
export function renamesIn(
  groups: readonly { readonly name: string; readonly categories: readonly string[] }[],
  checkpoints: readonly Checkpoint[],
): Rename[] {
  // All generations that a handler feeds are of its name.
  const known = new Set(checkpoints.map(({ group }) => generationOf(group).projection));
  const kept = new Set(groups.map(({ name }) => generationOf(name).projection));
  const retired = new Set(checkpoints.filter(({ group }) => group === RETIRED_GROUP).map(({ category }) => category));
  const gone = checkpoints.filter(({ group, position }) =>
    position > 0 && !group.startsWith("$") && !kept.has(generationOf(group).projection) && !retired.has(group)
  );
  const renames = new Map<string, Rename>();
  for (const { name, categories } of groups) {
    if (known.has(generationOf(name).projection)) continue;
    for (const { group, category } of gone) {
      // Nobody else reads what a subscriber has received.
      const isReceiver = isReceived(category) && categories.some(isReceived);
      if (isReceiver || categories.includes(category)) {
        renames.set(JSON.stringify([name, group]), { gone: group, fresh: name, category, isReceiver });
      }
    }
  }
  return [...renames.values()];
}

/** A group that does not read what it has read, and reads something new. */
export interface Move {
  /** The group. */
  readonly group: string;
  /** A category that it has read, and does not any more. */
  readonly left: string;
  /** The categories that it reads now and has not read before. */
  readonly fresh: readonly string[];
}

/** What is kept in place of a category once it was said that a group is to leave one. */
export function retiredMove({ group, left }: Move): string {
  return `${group} ${left}`;
}

/**
 * Finds groups that read other categories than before: an aggregate may have been renamed. Under its new name it has no
 * events, and commands that were sent under the old one are handled by nobody.
 *
 * @param groups The groups of the code, with the categories they read.
 * @param checkpoints All checkpoints.
 * @returns The groups, by name.
 */
export function movesIn(
  groups: readonly { readonly name: string; readonly categories: readonly string[] }[],
  checkpoints: readonly Checkpoint[],
): Move[] {
  const retired = new Set(checkpoints.filter(({ group }) => group === RETIRED_GROUP).map(({ category }) => category));
  return groups.flatMap(({ name: group, categories }) => {
    const read = checkpoints.filter((checkpoint) => checkpoint.group === group);
    const fresh = categories.filter((category) => !read.some((checkpoint) => checkpoint.category === category));
    if (fresh.length === 0) return [];
    const left = read.filter(({ category, position }) => position > 0 && !categories.includes(category));
    return [...new Set(left.map(({ category }) => category))].map((category) => ({ group, left: category, fresh }))
      .filter((move) => !retired.has(retiredMove(move)));
  });
}

/** The group whose checkpoints name, in place of a category, the projections that a group has kept. */
export const KEPT_GROUP = "$kept";

/** `keeps` are the rows of generations. */
type Keeper = { readonly name: string; readonly keeps: readonly string[] };

function keptName(group: string, projection: string): string {
  return `${group} ${projection}`;
}

/** A group that is to keep a projection, and has kept others. */
export interface Unkept {
  /** The group. */
  readonly group: string;
  /** The projections that it has kept. */
  readonly before: readonly string[];
  /** The projection that it is to keep now. */
  readonly projection: string;
}

/**
 * Finds groups that are to keep another projection than before: it has no rows, and the group does not begin anew.
 *
 * @param groups The groups of the code, with the projections they keep.
 * @param checkpoints All checkpoints.
 * @returns The groups, by name.
 */
export function unkeptIn(groups: readonly Keeper[], checkpoints: readonly Checkpoint[]): Unkept[] {
  const noted = checkpoints.filter(({ group }) => group === KEPT_GROUP).map(({ category }) => category);
  return groups.flatMap(({ name: group, keeps }) => {
    if (!checkpoints.some((checkpoint) => checkpoint.group === group && checkpoint.position > 0)) return [];
    const start = keptName(group, "");
    const before = noted.filter((name) => name.startsWith(start)).map((name) => name.slice(start.length));
    if (before.length === 0) return [];
    return keeps.map(storedAs).filter((projection) => !before.includes(projection))
      .map((projection) => ({ group, before, projection }));
  });
}

/** What is to be noted of the projections that groups keep: names in place of a category, see {@linkcode KEPT_GROUP}. */
export function keptBy(groups: readonly Keeper[], checkpoints: readonly Checkpoint[]): string[] {
  const noted = new Set(checkpoints.filter(({ group }) => group === KEPT_GROUP).map(({ category }) => category));
  return groups.flatMap(({ name, keeps }) => keeps.map((rows) => keptName(name, storedAs(rows))))
    .filter((name) => !noted.has(name));
}

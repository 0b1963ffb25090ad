import type { EventStore } from "../store/port.ts";

/** A group, as far as it matters where it begins. */
export interface Starting {
  /** Its name. */
  readonly name: string;
  /** The categories it reads. */
  readonly categories: readonly string[];
  /** Where it begins to read when it is new and the log is not. */
  readonly startsAt: "now" | "start";
}

/** Where a new group begins. */
export interface Start {
  /** The group. */
  readonly group: string;
  /** A category that it has not read. */
  readonly category: string;
  /** It begins after this position. */
  readonly after: number;
}

/**
 * Finds out where new groups begin: at the log's end if they want to, unless the domain has not run yet.
 *
 * @param store Knows what has run before.
 * @param groups What is to run.
 */
export async function startsOf(store: EventStore, groups: readonly Starting[]): Promise<Start[]> {
  const checkpoints = await store.checkpoints();
  const isFirst = !checkpoints.some(({ group }) => !group.startsWith("$"));
  const last = isFirst ? 0 : await store.lastPosition();
  const known = new Set(checkpoints.map(({ group, category }) => JSON.stringify([group, category])));
  return groups.flatMap(({ name: group, categories, startsAt }) =>
    categories.filter((category) => !known.has(JSON.stringify([group, category])))
      .map((category) => ({ group, category, after: startsAt === "now" ? last : 0 }))
  );
}

/** How many starts are placed at the same time. */
const TOGETHER = 500;

/**
 * Says where new groups begin that do not want what was before them. Said once for each category, whatever many servers
 * start at the same time.
 *
 * @param store Knows what has run before.
 * @param groups What is to run.
 */
export async function placeStarts(store: EventStore, groups: readonly Starting[]): Promise<void> {
  const late = groups.filter(({ startsAt }) => startsAt === "now");
  if (late.length === 0) return;
  const starts = await startsOf(store, late);
  // Many groups may read many categories; commits at the same time share a transaction.
  for (let done = 0; done < starts.length; done += TOGETHER) {
    await Promise.all(
      starts.slice(done, done + TOGETHER).map(({ group, category, after: position }) =>
        store.commit({
          checkpoint: { group, category, partitions: 1, partition: 0, position },
          once: { key: `$start ${group} ${category}`, value: String(position) },
        })
      ),
    );
  }
}

import { KEPT_GROUP, RETIRED_GROUP } from "../groups/renames.ts";
import { generationOf } from "../store/generations.ts";
import type {
  Checkpoint,
  DeadLetter,
  DeferredMessage,
  EventStore,
  ProjectionRow,
  ScheduledMessage,
} from "../store/port.ts";

/**
 * What there is besides the log, one at a time: where groups are, what failed, what is scheduled, keys of what is done once,
 * rows that nobody can build.
 */
export type StateRecord =
  | { readonly checkpoint: Checkpoint }
  | { readonly deferred: DeferredMessage }
  | { readonly deadLetter: DeadLetter }
  | { readonly scheduled: ScheduledMessage }
  | { readonly row: ProjectionRow }
  | { readonly once: { readonly key: string; readonly value: string } };

/** How much is read at a time. */
const PAGE = 1_000;

/** Whether another store has to know it: not how far the relay is, nor which events have tags, which are no part of an export. */
function isMoved(group: string): boolean {
  return !group.startsWith("$") || group === RETIRED_GROUP || group === KEPT_GROUP;
}

/**
 * Reads what there is besides the log. Rows that projectors keep are made again from it, and so is how far these are.
 *
 * @param store The store.
 * @param kept The projections that projectors keep, and the groups of these, without versions.
 */
export async function* readState(
  store: EventStore,
  kept: { readonly projections: ReadonlySet<string>; readonly groups: ReadonlySet<string> },
): AsyncGenerator<StateRecord, void, undefined> {
  const isKept = (group: string) => kept.groups.has(generationOf(group).projection);
  const checkpoints = (await store.checkpoints()).filter(({ group }) => !isKept(group) && isMoved(group));
  for (const checkpoint of checkpoints) yield { checkpoint };
  for (const group of new Set(checkpoints.map((one) => one.group))) {
    for (const deferred of await store.deferred(group)) yield { deferred };
  }
  let before: string | undefined;
  while (true) {
    const page = await store.deadLetters({ limit: PAGE, ...(before !== undefined && { before }) });
    for (const deadLetter of page) if (!isKept(deadLetter.group)) yield { deadLetter };
    if (page.length < PAGE) break;
    before = page.at(-1)!.id;
  }
  let after: string | undefined;
  while (true) {
    const page = await store.scheduled({ limit: PAGE, ...(after !== undefined && { after }) });
    for (const scheduled of page) yield { scheduled };
    if (page.length < PAGE) break;
    after = page.at(-1)!.key;
  }
  let behind: string | undefined;
  while (true) {
    const page = await store.onceKeys({ limit: PAGE, ...(behind !== undefined && { after: behind }) });
    for (const once of page) yield { once };
    if (page.length < PAGE) break;
    behind = page.at(-1)!.key;
  }
  for (const projection of await store.projections()) {
    if (kept.projections.has(generationOf(projection).projection)) continue;
    for (let after = "";;) {
      const page = await store.listRows(projection, { after, limit: PAGE });
      for (const row of page) yield { row };
      if (page.length < PAGE) break;
      after = page.at(-1)!.key;
    }
  }
}

/** Writes what was read by {@linkcode readState}. */
export async function writeState(store: EventStore, records: readonly StateRecord[]): Promise<void> {
  const all = <K extends string>(name: K) =>
    records.flatMap((record) => name in record ? [(record as Record<K, any>)[name]] : []);
  // One a commit; they are written together.
  await Promise.all(all("once").map((once) => store.commit({ once })));
  await store.commit({
    checkpoints: all("checkpoint"),
    defer: all("deferred"),
    deadLetters: all("deadLetter"),
    rows: all("row"),
    schedule: all("scheduled").map(({ key, dueAt, category, stream, message }: ScheduledMessage) => ({
      key,
      due: { at: dueAt },
      category,
      stream,
      message,
    })),
  });
}

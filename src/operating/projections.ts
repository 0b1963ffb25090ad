import { sleep } from "../lib/sleep.ts";
import type { HandlerDescription, ProjectionDescription } from "../isolation/protocol.ts";
import { type Difference, differences } from "../projections/difference.ts";
import { isHeld } from "../projections/place.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { isLeftOut, LARGE } from "../store/large.ts";
import { buildGroup, compareGenerations, type Generation, rowsOf, versionOf } from "../store/generations.ts";
import type { EventStore, ProjectionRow, SwapRefusal } from "../store/port.ts";
import { reachedBy } from "../store/reached.ts";
import type { Operator } from "./operator.ts";
import { scan } from "./scan.ts";
import { MOST_SHOWN, streamPage } from "./streams.ts";

/** How long a swap waits for a moment in which one generation has what the other has, in milliseconds. */
const SWAP_PATIENCE = 30_000;
const SWAP_PAUSE = 20;

/** How long servers may take to stop feeding what was dropped, in milliseconds. */
const DROP_PATIENCE = 10_000;
const DROP_PAUSE = 50;

/** How many rows of a dropped generation are deleted at a time. */
const CLEARED = 5_000;

/** How many messages of a category are looked through for those that name a key, and how many at a time. */
const MOST_SEARCHED = 10_000;
const SEARCHED_TOGETHER = 100;

/** How long to look for them, in milliseconds. */
const SEARCH_PATIENCE = 2_000;

/** How many rows are read at a time, at most: nobody knows how large they are. */
const ROWS_TOGETHER = 100;

/** A generation, and how far it is. */
export interface GenerationStatus extends Generation {
  /** The position up to which events are in its rows; `Infinity` if nobody knows what it is made of. */
  readonly position: number;
  /** The number of messages after that. */
  readonly behind: number;
  /** How many messages its group has deferred or given up. */
  readonly held: number;
  /** Whether a server feeds or builds it at the moment. */
  readonly isRun: boolean;
}

/** Whatever is known of a projection's code and generations. */
export interface FoundProjection {
  /** Its newest code. */
  readonly code: ProjectionDescription;
  /** The handler that keeps it. */
  readonly handler: HandlerDescription;
  /** Its generations, the oldest first. */
  readonly generations: readonly Generation[];
}

/** Finds a projection by its name; `null` if no code keeps one. */
export async function findProjection(operator: Operator, name: string): Promise<FoundProjection | null> {
  const known = operator.domain.projections.filter((one) => one.name === name);
  if (known.length === 0) return null;
  const code = known.reduce((a, b) => a.version > b.version ? a : b);
  const handler = operator.domain.handlers.find((one) => one.name === code.group)!;
  const generations = (await operator.store.generations()).filter(({ projection }) => projection === name);
  return { code, handler, generations };
}

/** The categories that a generation is made of. */
function categoriesOf({ domain }: Operator, { projection, generation }: Generation): readonly string[] {
  const known = domain.projections.filter(({ name }) => name === projection);
  const code = known.find(({ version }) => version === versionOf(generation)) ?? known.at(-1);
  return domain.handlers.find(({ name }) => name === code?.group)?.categories ?? [];
}

/**
 * Determines how far generations are. The number of calls of the store does not depend on how many there are.
 *
 * @param operator The domain.
 * @param generations Which ones. @default {all}
 */
export async function generationStatuses(
  operator: Operator,
  generations?: readonly Generation[],
): Promise<GenerationStatus[]> {
  const { store } = operator;
  const [all, checkpoints, leases, dead, deferred] = await Promise.all([
    generations ?? store.generations(),
    store.checkpoints(),
    store.leases(),
    store.countDeadLetters(),
    store.countDeferred(),
  ]);
  const checkpointsBy = Map.groupBy(checkpoints, ({ group }) => group);
  const running = new Set(leases.filter(({ isHeld }) => isHeld).map(({ group }) => group));
  const reached = all.map((one) =>
    categoriesOf(operator, one).map((category) => ({
      category,
      after: reachedBy(checkpointsBy.get(one.group) ?? [], category),
    }))
  );
  const behind = await store.lags(reached.flat());
  return all.map((one, i) => {
    const its = behind.splice(0, reached[i].length);
    const set = deferred.filter(({ group }) => group === one.group).reduce((sum, { count }) => sum + count, 0);
    return {
      ...one,
      position: Math.min(Infinity, ...reached[i].map(({ after }) => after)),
      behind: its.reduce((sum, { messages }) => sum + messages, 0),
      held: set + (Object.hasOwn(dead, one.group) ? dead[one.group] : 0),
      isRun: running.has(one.group) || running.has(buildGroup(one.projection, one.generation)),
    };
  });
}

/** Whether a generation has everything, and is only to be swapped in by an operator. */
export function waitsForSwap(
  { config }: Pick<Operator, "config">,
  one: Generation,
  all: readonly Generation[],
): boolean {
  const active = all.find(({ projection, isActive }) => projection === one.projection && isActive);
  const isNewer = active !== undefined && compareGenerations(one.generation, active.generation) > 0;
  return one.state === "fed" && isNewer && (config.projectionSwap === "manual" || active.isPinned);
}

/** The generation that readers see. */
export function activeOf({ generations }: FoundProjection): Generation | undefined {
  return generations.find(({ isActive }) => isActive);
}

/** The newest generation. */
export function newestOf({ generations }: FoundProjection): Generation | undefined {
  return generations.findLast(({ state }) => state !== "dropped");
}

/** The newest generation that readers do not see. */
export function candidateOf({ generations }: FoundProjection): Generation | undefined {
  return generations.findLast(({ isActive, state }) => !isActive && state !== "dropped");
}

/** The generation that readers saw before. */
export function previousOf({ generations }: FoundProjection): Generation | undefined {
  return generations.filter(({ isActive, swappedAt, state }) => !isActive && swappedAt !== null && state !== "dropped")
    .sort((a, b) => b.swappedAt! - a.swappedAt!)[0];
}

/**
 * Makes another generation what readers see; waits for a moment in which it has everything.
 *
 * @param operator The domain.
 * @param found The projection.
 * @param change From which generation to which, whether it may lack what readers see now, and how long to wait.
 * @returns Why it may not be swapped; `null` if readers see it now.
 */
export async function swapGeneration(
  { store }: Pick<Operator, "store">,
  found: FoundProjection,
  { from, to, isStale = false, patience = SWAP_PATIENCE }: {
    readonly from: Generation;
    readonly to: Generation;
    readonly isStale?: boolean;
    readonly patience?: number;
  },
): Promise<SwapRefusal | null> {
  const until = performance.now() + patience;
  while (true) {
    const refusal = await store.swapGenerations({
      projection: found.code.name,
      from: from.generation,
      to: to.generation,
      categories: found.handler.categories,
      // Going back is a choice; the newest is what would be seen anyway.
      pin: to.generation !== found.generations.findLast(({ state }) => state === "fed")?.generation,
      stale: isStale,
    });
    const isLacking = refusal?.reason === "held" || refusal?.reason === "behind";
    if (refusal === null || performance.now() > until || !isLacking) return refusal;
    await sleep(SWAP_PAUSE);
  }
}

/**
 * Deletes a generation that readers do not see.
 *
 * @returns `busy` if a server still feeds it: its rows are deleted when that has stopped.
 */
export async function dropGeneration(
  { store }: Pick<Operator, "store">,
  { code: { name } }: FoundProjection,
  its: Generation,
  patience: number = DROP_PATIENCE,
): Promise<"deleted" | "busy"> {
  await store.markGeneration({ ...its, state: "dropped", error: null }, its.state);
  const until = performance.now() + patience;
  while (await isHeld(store, its.group) || await isHeld(store, buildGroup(name, its.generation))) {
    if (performance.now() > until) return "busy";
    await sleep(DROP_PAUSE);
  }
  // Servers do the same.
  while (await store.clearGeneration(name, its.generation, CLEARED) > 0);
  return "deleted";
}

/** Rows that are shown together. */
export interface RowPage {
  /** The rows, by key. */
  readonly rows: readonly ProjectionRow[];
  /** The key behind which there are more; `null` if there are none. */
  readonly next: string | null;
}

/**
 * Returns rows of a projection, by key: as many as were asked for, or fewer if they are large.
 *
 * @param store The store.
 * @param projection The projection.
 * @param page Behind which key, and the most rows.
 */
export async function rowPage(
  store: Pick<EventStore, "listRows">,
  projection: string,
  { after: start, limit }: { readonly after?: string | undefined; readonly limit: number },
): Promise<RowPage> {
  const rows: ProjectionRow[] = [];
  for (let [after, together, characters] = [start, 1, 0];;) {
    const most = Math.min(together, limit + 1 - rows.length);
    const page = await store.listRows(projection, { limit: most, ...(after !== undefined && { after }) });
    for (const one of page) {
      if (rows.length === limit || characters > MOST_SHOWN) return { rows, next: rows.at(-1)!.key };
      characters += one.row!.length;
      rows.push(one);
    }
    if (page.length < most) return { rows, next: null };
    after = page.at(-1)!.key;
    // As many as fit if they are like those before.
    const fitting = Math.floor((MOST_SHOWN - characters) * rows.length / (characters + 1));
    together = Math.max(1, Math.min(ROWS_TOGETHER, 4 * together, fitting));
  }
}

/** The events whose id, or field of the key's name, is a row's key, newest first; large payloads are left out. */
export async function eventsOfRow(
  { store }: Pick<Operator, "store">,
  { code, handler }: Pick<FoundProjection, "code" | "handler">,
  key: string,
  limit: number,
): Promise<MessageRecord[]> {
  const found: MessageRecord[] = [];
  const newest = () => found.sort((a, b) => b.position - a.position).slice(0, limit);
  for (const category of handler.categories) {
    const { records } = await streamPage(store, `${category}-${key}`, { limit });
    found.push(...records.filter(({ type }) => handler.handles.includes(type)));
  }
  if (found.length > 0) return newest();
  // Not the id of a stream: the last ones that name it.
  const last = await store.lastPosition();
  const until = performance.now() + SEARCH_PATIENCE;
  for (const category of handler.categories) {
    let [upTo, left, its] = [last, MOST_SEARCHED, 0];
    while (left > 0 && its < limit && upTo > 0) {
      const range = { category, after: 0, upTo, backward: true, limit: SEARCHED_TOGETHER, largest: LARGE, until };
      const { records, stoppedAt } = await scan(store, range);
      for (const record of records) {
        if (!handler.handles.includes(record.type) || isLeftOut(record)) continue;
        if (JSON.parse(record.data)?.[code.key] !== key || its === limit) continue;
        found.push(record);
        its++;
      }
      if (stoppedAt === null || records.length === 0) break;
      [upTo, left] = [stoppedAt, left - records.length];
    }
  }
  return newest();
}

/** What two generations differ in, and the events behind the first difference. */
export interface GenerationDifference {
  /** The number of rows of both. */
  readonly rows: number;
  /** How many of them differ. */
  readonly differing: number;
  /** In how many rows each field differs. */
  readonly fields: ReadonlyMap<string, number>;
  /** The first of those that differ. */
  readonly shown: readonly Difference[];
  /** The last events behind the first of them. */
  readonly events: readonly MessageRecord[];
}

/** How many events are shown behind a difference. */
const EVENTS_BEHIND = 10;

/**
 * Compares two generations, row by row.
 *
 * @param operator The domain.
 * @param found The projection.
 * @param generations The two.
 * @param limit How many differences to return.
 */
export async function compareRows(
  operator: Pick<Operator, "store">,
  found: FoundProjection,
  [before, after]: readonly [Generation, Generation],
  limit: number,
): Promise<GenerationDifference> {
  const { name } = found.code;
  const all = await differences(
    operator.store,
    rowsOf(name, before.generation),
    rowsOf(name, after.generation),
    limit,
  );
  const [first] = all.shown;
  return { ...all, events: first ? await eventsOfRow(operator, found, first.key, EVENTS_BEHIND) : [] };
}

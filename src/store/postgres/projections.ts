import {
  buildGroup,
  type Generation,
  rangesBehind,
  renamedMark,
  rowsOf,
  storedAs,
  type Swap,
  type SwapRefusal,
  swapRefusal,
} from "../generations.ts";
import type { Checkpoint } from "../port.ts";
import type { Session } from "./transaction.ts";

const GENERATION = `select projection, generation, "group", state, is_active, is_pinned, swapped_at, error
  from annals.generations`;

/** The generations of one projection, or of all. */
export const GENERATIONS = `${GENERATION} where $1::text is null or projection = $1
  order by projection, string_to_array(generation, '.')::int[]`;

/** Adds a generation, which readers see if it is to and they see no other. */
export const ADD_GENERATION = `insert into annals.generations
  select $1, $2, $3, $4, $5, $6 and not exists (select from annals.generations where projection = $1 and is_active), $7,
    $8::bigint, $9
  on conflict do nothing returning 1`;

/** Says how far a generation is. */
export const MARK_GENERATION = `update annals.generations set state = $3, error = $4
  where projection = $1 and generation = $2 and state = $5 and not ($3 = 'dropped' and is_active) returning 1`;

/** Indexes of rows by the beginnings of their names, and whether each is whole. */
export const INDEXES = `select c.relname::text, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $1 and exists (select from unnest($2::text[]) p where starts_with(c.relname::text, p))`;

/** Returns a generation from a row of {@linkcode GENERATIONS}. */
export function toGeneration(
  [projection, generation, group, state, isActive, isPinned, swappedAt, error]: any[],
): Generation {
  return { projection, generation, group, state, isActive, isPinned, swappedAt, error };
}

/** Runs statements in one transaction, with `annals.` for the schema. */
export type Ask = (sql: string, values?: readonly (string | number | boolean | null)[]) => Promise<any[][]>;

/** Returns how to ask within a transaction. */
export function asking(session: Session, text: (sql: string) => string): Ask {
  return async (sql, values = []) => await session.unsafe(text(sql), values).values();
}

/** Makes another generation what readers see. */
export async function swapIn(ask: Ask, swap: Swap): Promise<SwapRefusal | null> {
  await ask("select 1 from annals.generations where projection = $1 for update", [swap.projection]);
  const generations = (await ask(GENERATIONS, [swap.projection])).map(toGeneration);
  const groups = [swap.from, swap.to].map((of) => generations.find(({ generation }) => generation === of)?.group ?? "");
  // Whoever feeds what readers see waits for us: what it passes next is after the swap.
  const checkpoints = (await ask(
    `select "group", category, partitions, partition, position from annals.checkpoints
     where "group" in ($1, $2) order by 1, 2, 3, 4 for share`,
    groups,
  )).map(([group, category, partitions, partition, position]): Checkpoint => ({
    group,
    category,
    partitions,
    partition,
    position,
  }));
  const [[held]] = await ask(
    `select (select count(*) from annals.deferred where "group" = $1)
       + (select count(*) from annals.dead_letters where "group" = $1)`,
    [groups[1]],
  );
  const refusal = swapRefusal(swap, {
    generations,
    held,
    lacking: await lackingIn(ask, swap, generations, checkpoints),
  });
  if (refusal !== null) return refusal;
  // One after the other: readers see one of them at any time.
  await ask("update annals.generations set is_active = false, is_pinned = false where projection = $1 and is_active", [
    swap.projection,
  ]);
  await ask(
    `update annals.generations set is_active = true, is_pinned = $3,
       swapped_at = annals.server_time() where projection = $1 and generation = $2`,
    [swap.projection, swap.to, swap.pin],
  );
  return null;
}

/** A category in which there are messages that only the generation has that readers see. */
async function lackingIn(
  ask: Ask,
  swap: Swap,
  generations: readonly Generation[],
  checkpoints: readonly Checkpoint[],
): Promise<string | undefined> {
  for (const { category, after, upTo } of rangesBehind(swap, { generations, checkpoints })) {
    const sql = "select 1 from annals.messages where category = $1 and position > $2 and position <= $3 limit 1";
    if ((await ask(sql, [category, after, upTo])).length > 0) return category;
  }
  return undefined;
}

const FENCE = `update annals.leases set token = token + 1, expires_at = 0, clean = true, owner = '' where "group" = $1`;

/** Deletes some rows of a generation that was dropped, and with the last ones the generation. */
export async function clearIn(ask: Ask, projection: string, generation: string, limit: number): Promise<number> {
  const found = (await ask(GENERATIONS, [projection])).map(toGeneration).find((one) => one.generation === generation);
  if (found?.state !== "dropped") return 0;
  await ask(FENCE, [buildGroup(projection, generation)]);
  const [[deleted]] = await ask(
    `with gone as (delete from annals.projections where projection = $1 and key in
       (select key from annals.projections where projection = $1 limit $2) returning 1) select count(*) from gone`,
    [storedAs(rowsOf(projection, generation)), limit],
  );
  if (deleted > 0) return deleted;
  await ask("delete from annals.generations where projection = $1 and generation = $2", [projection, generation]);
  for (const table of ["checkpoints", "deferred", "dead_letters"]) {
    await ask(`delete from annals.${table} where "group" = $1`, [found.group]);
  }
  await ask(FENCE, [found.group]);
  return 0;
}

/** Gives a group another name. */
export async function renameIn(
  ask: Ask,
  from: string,
  to: string,
  now: number | null,
): Promise<"renamed" | "held" | "absent"> {
  const [[isThere, isTaken]] = await ask(
    `select exists (select from annals.checkpoints where "group" = $1),
       exists (select from annals.checkpoints where "group" = $2)`,
    [from, to],
  );
  if (!isThere || isTaken) return "absent";
  const builds = (await ask(GENERATIONS, [null])).map(toGeneration).filter(({ group }) => group === from)
    .map(({ projection, generation }) => buildGroup(projection, generation));
  // Whoever takes a lease meanwhile waits for us.
  await ask("select pg_advisory_xact_lock(annals_lease_lock)");
  for (const group of [from, ...builds]) {
    const leases = await ask(
      `select expires_at > coalesce($2::bigint, annals.server_time()) from annals.leases where "group" = $1 for update`,
      [group, now],
    );
    if (leases.some(([isHeld]) => isHeld)) return "held";
  }
  for (const group of builds) await ask(FENCE, [group]);
  const mark = renamedMark(from);
  await ask("insert into annals.checkpoints values ($1, $2, $3, $4, $5) on conflict do nothing", [
    mark.group,
    from,
    mark.partitions,
    mark.partition,
    mark.position,
  ]);
  await ask(`delete from annals.checkpoints where "group" = $1 and category = $2`, [mark.group, to]);
  for (const table of ["checkpoints", "deferred", "dead_letters", "generations"]) {
    await ask(`update annals.${table} set "group" = $2 where "group" = $1`, [from, to]);
  }
  await ask(FENCE, [from]);
  return "renamed";
}

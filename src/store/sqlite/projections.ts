import type { StatementSync } from "node:sqlite";
import type { SqliteDatabase } from "../../sqlite/database.ts";
import {
  buildGroup,
  type Generation,
  generationOf,
  rangesBehind,
  renamedMark,
  rowsOf,
  storedAs,
  type Swap,
  type SwapRefusal,
  swapRefusal,
} from "../generations.ts";
import { indexesOf, indexName } from "../index_name.ts";
import type { Checkpoint, ProjectionRow, RowIndex, RowQuery } from "../port.ts";
import { namedViews, type ProjectionShape } from "../views.ts";
import { countSql, indexSql, rowsSql, viewSql } from "./rows.ts";

const ROW = "select projection, key, row, position from projections";
/** How many statements are kept. */
const MOST_PREPARED = 200;

const GENERATION = `select projection, generation, "group", state, is_active as isActive, is_pinned as isPinned,
  swapped_at as swappedAt, error from generations`;
const CHECKPOINTS = `select "group", category, partitions, partition, position from checkpoints where "group" = ?`;

/** The rows of projections in an SQLite file, and which generation readers see. */
export class SqliteProjections {
  #db: SqliteDatabase;
  #now: () => number;
  #prepared = new Map<string, StatementSync>();

  /**
   * @param db The connection.
   * @param now Returns the time, in milliseconds since 1970.
   */
  constructor(db: SqliteDatabase, now: () => number) {
    this.#db = db;
    this.#now = now;
  }

  #statement(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    // Queries have many shapes.
    if (!statement && this.#prepared.size >= MOST_PREPARED) this.#prepared.clear();
    if (!statement) this.#prepared.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  #all<T>(sql: string, ...values: (string | number | null)[]): T[] {
    // Rows of `node:sqlite` have no prototype.
    return this.#statement(sql).all(...values).map((row) => ({ ...row }) as T);
  }

  /** What the rows are stored under that a name stands for. */
  #rowsOf(name: string): string {
    const { projection, generation } = generationOf(name);
    if (generation !== null) return storedAs(name);
    const active = this.#statement("select rows from generations where projection = ? and is_active").get(projection);
    return active?.rows as string | undefined ?? name;
  }

  /** Returns one row. */
  readRow(projection: string, key: string): ProjectionRow | null {
    return this.#all<ProjectionRow>(`${ROW} where projection = ? and key = ?`, this.#rowsOf(projection), key)[0] ??
      null;
  }

  /** Returns the rows with these keys. */
  readRows(projection: string, keys: readonly string[]): ProjectionRow[] {
    const sql = `${ROW} where projection = ? and key in (select value from json_each(?))`;
    return this.#all(sql, this.#rowsOf(projection), JSON.stringify(keys));
  }

  /** Returns all rows, by key. */
  listRows(projection: string, { after = "", limit = -1 }: { after?: string; limit?: number }): ProjectionRow[] {
    const sql = `${ROW} where projection = ? and key > ? order by key limit ?`;
    return this.#all(sql, this.#rowsOf(projection), after, limit);
  }

  /** Returns the rows that a query selects. */
  query(query: RowQuery): ProjectionRow[] {
    const rows = this.#rowsOf(query.projection);
    const { sql, values } = rowsSql(rows, query);
    try {
      return this.#all(sql, ...values);
    } catch (error) {
      // It is not made yet, or not of these rows.
      if (query.index === undefined || !/no such index|no query solution/.test(String(error))) throw error;
      const other = rowsSql(rows, query, false);
      return this.#all(other.sql, ...other.values);
    }
  }

  /** Returns the number of rows. */
  count({ projection, where }: Pick<RowQuery, "projection" | "where">): number {
    const { sql, values } = countSql(this.#rowsOf(projection), where);
    return this.#all<{ count: number }>(sql, ...values)[0].count;
  }

  /** Returns the generations of one projection, or of all. */
  generations(projection: string | null = null): Generation[] {
    const sql = `${GENERATION} where ?1 is null or projection = ?1
      order by projection, cast(generation as real), length(generation), generation`;
    return this.#all<Omit<Generation, "isActive" | "isPinned"> & { isActive: number; isPinned: number }>(
      sql,
      projection,
    )
      .map((one) => ({ ...one, isActive: Boolean(one.isActive), isPinned: Boolean(one.isPinned) }));
  }

  /** Adds a generation. */
  add({ projection, generation, group, state, isActive, isPinned, swappedAt, error }: Generation): boolean {
    const hasActive = this.generations(projection).some((one) => one.isActive);
    const { changes } = this.#statement("insert or ignore into generations values (?, ?, ?, ?, ?, ?, ?, ?, ?)").run(
      projection,
      generation,
      storedAs(rowsOf(projection, generation)),
      group,
      state,
      Number(isActive && !hasActive),
      Number(isPinned),
      swappedAt,
      error,
    );
    return changes > 0;
  }

  /** Says how far a generation is. */
  mark(
    { projection, generation, state, error }: Pick<Generation, "projection" | "generation" | "state" | "error">,
    from: Generation["state"],
  ): boolean {
    const { changes } = this.#statement(
      `update generations set state = ?3, error = ?4 where projection = ?1 and generation = ?2 and state = ?5
       and not (?3 = 'dropped' and is_active)`,
    ).run(projection, generation, state, error, from);
    return changes > 0;
  }

  /** Makes another generation what readers see; to be called in a transaction. */
  swap(swap: Swap): SwapRefusal | null {
    const generations = this.generations(swap.projection);
    const group = (of: string) => generations.find(({ generation }) => generation === of)?.group ?? "";
    const checkpoints = [swap.from, swap.to].flatMap((one) => this.#all<Checkpoint>(CHECKPOINTS, group(one)));
    const [{ held }] = this.#all<{ held: number }>(
      `select (select count(*) from deferred where "group" = ?1) + (select count(*) from dead_letters where "group" = ?1)
       as held`,
      group(swap.to),
    );
    const lacking = rangesBehind(swap, { generations, checkpoints }).find(({ category, after, upTo }) =>
      this.#statement("select 1 from messages where category = ? and position > ? and position <= ? limit 1")
        .get(category, after, upTo) !== undefined
    )?.category;
    const refusal = swapRefusal(swap, { generations, held, lacking });
    if (refusal !== null) return refusal;
    // One after the other: readers see one of them at any time.
    this.#statement("update generations set is_active = 0, is_pinned = 0 where projection = ?").run(swap.projection);
    this.#statement(
      `update generations set is_active = 1, is_pinned = ?3, swapped_at = ?4
       where projection = ?1 and generation = ?2`,
    ).run(swap.projection, swap.to, Number(swap.pin), this.#now());
    return null;
  }

  /** Deletes some rows of a generation that was dropped, and with the last ones the generation. */
  clear(projection: string, generation: string, limit: number): number {
    const found = this.generations(projection).find((one) => one.generation === generation);
    if (found?.state !== "dropped") return 0;
    this.#fence(buildGroup(projection, generation));
    const rows = storedAs(rowsOf(projection, generation));
    const { changes } = this.#statement(
      "delete from projections where projection = ?1 and key in (select key from projections where projection = ?1 limit ?2)",
    ).run(rows, limit);
    if (changes > 0) return Number(changes);
    this.#statement("delete from generations where projection = ? and generation = ?").run(projection, generation);
    for (const table of ["checkpoints", "deferred", "dead_letters"]) {
      this.#statement(`delete from ${table} where "group" = ?`).run(found.group);
    }
    this.#fence(found.group);
    this.#dropIndexes(rows, []);
    return 0;
  }

  /** Whoever works for a group has lost its leases. */
  #fence(group: string): void {
    this.#statement(
      `update leases set token = token + 1, expires_at = 0, clean = 1, owner = '' where "group" = ?`,
    ).run(group);
  }

  /** Gives a group another name; to be called in a transaction. */
  rename(from: string, to: string): "renamed" | "held" | "absent" {
    const has = (group: string) => this.#all(`${CHECKPOINTS} limit 1`, group).length > 0;
    if (!has(from) || has(to)) return "absent";
    const builds = this.generations().filter(({ group }) => group === from)
      .map(({ projection, generation }) => buildGroup(projection, generation));
    const held = `select 1 from leases where "group" = ? and expires_at > ? limit 1`;
    for (const group of [from, ...builds]) if (this.#statement(held).get(group, this.#now())) return "held";
    for (const group of builds) this.#fence(group);
    const mark = renamedMark(from);
    this.#statement(`insert or ignore into checkpoints values (?, ?, ?, ?, ?)`)
      .run(mark.group, from, mark.partitions, mark.partition, mark.position);
    this.#statement(`delete from checkpoints where "group" = ? and category = ?`).run(mark.group, to);
    for (const table of ["checkpoints", "deferred", "dead_letters", "generations"]) {
      this.#statement(`update ${table} set "group" = ? where "group" = ?`).run(to, from);
    }
    this.#fence(from);
    return "renamed";
  }

  #dropIndexes(rows: string, keep: readonly string[]): void {
    const found = this.#all<{ name: string }>(
      "select name from sqlite_master where type = 'index' and name glob ?",
      `${indexesOf(rows)}*`,
    );
    for (const { name } of found) if (!keep.includes(name)) this.#db.prepare(`drop index ${name}`).run();
  }

  /** Makes what is missing of these indexes, and drops others; to be called in a transaction. */
  keepIndexes(projections: readonly string[], declared: readonly RowIndex[]): void {
    for (const index of declared) this.#db.prepare(indexSql(index)).run();
    for (const projection of projections) {
      const its = declared.filter((index) => storedAs(index.projection) === storedAs(projection));
      this.#dropIndexes(projection, its.map(indexName));
    }
  }

  /** Whether all of these indexes are there, and no others. */
  hasIndexes(projections: readonly string[], declared: readonly RowIndex[]): boolean {
    const found = projections.flatMap((projection) =>
      this.#all<{ name: string }>(
        "select name from sqlite_master where type = 'index' and name glob ?",
        `${indexesOf(projection)}*`,
      ).map(({ name }) => name)
    );
    const names = new Set(declared.map(indexName));
    return found.length === names.size && found.every((name) => names.has(name));
  }

  /** Creates or replaces the views of projections; to be called in a transaction. */
  publishViews(shapes: readonly ProjectionShape[]): string[] {
    const { views, warnings } = namedViews(shapes);
    for (const { name, shape } of views) {
      const sql = viewSql(shape);
      const [known] = this.#all<{ sql: string }>(
        "select sql from sqlite_master where type = 'view' and name = ?",
        name,
      );
      if (known?.sql === sql) continue;
      // What is built on it is looked up when it is used.
      if (known) this.#db.prepare(`drop view ${name}`).run();
      this.#db.prepare(sql).run();
    }
    return warnings;
  }

  /** Whether views of projections are as they are to be. */
  hasViews(shapes: readonly ProjectionShape[]): boolean {
    const sql = "select sql from sqlite_master where type = 'view' and name = ?";
    return namedViews(shapes).views.every(({ name, shape }) =>
      this.#all<{ sql: string }>(sql, name)[0]?.sql === viewSql(shape)
    );
  }
}

import type { CategoryRange } from "./behind.ts";
import {
  buildGroup,
  type Generation,
  generationOf,
  rangesBehind,
  rowsOf,
  storedAs,
  type Swap,
  type SwapRefusal,
  swapRefusal,
} from "./generations.ts";
import type { Checkpoint, ProjectionRow } from "./port.ts";
import { compareTexts, type RowQuery, selectRows } from "./row_query.ts";

/** The rows of projections in memory, and which generation readers see. */
export class MemoryRows {
  #rows = new Map<string, Map<string, ProjectionRow>>();
  #generations = new Map<string, Generation>();

  /** The rows that a name stands for. */
  #of(name: string): ReadonlyMap<string, ProjectionRow> | undefined {
    const { projection, generation } = generationOf(name);
    const active = generation === null ? this.#activeOf(projection)?.generation : undefined;
    return this.#rows.get(storedAs(active === undefined ? name : rowsOf(projection, active)));
  }

  #activeOf(projection: string): Generation | undefined {
    return [...this.#generations.values()].find((one) => one.projection === projection && one.isActive);
  }

  /** Writes or deletes a row. */
  write(row: ProjectionRow): void {
    const projection = storedAs(row.projection);
    const rows = this.#rows.get(projection) ?? new Map<string, ProjectionRow>();
    if (row.row === null) rows.delete(row.key);
    else rows.set(row.key, { projection, key: row.key, row: row.row, position: row.position });
    this.#rows.set(projection, rows);
  }

  /** Whether rows are at the positions that are expected. */
  areAs(rows: readonly ProjectionRow[]): boolean {
    return rows.every(({ projection, key, expected }) =>
      expected === undefined || (this.#rows.get(storedAs(projection))?.get(key)?.position ?? 0) === expected
    );
  }

  /** Returns one row. */
  read(projection: string, key: string): ProjectionRow | null {
    return this.#of(projection)?.get(key) ?? null;
  }

  /** Returns all rows, by key. */
  list(projection: string, { after, limit }: { after?: string; limit?: number }): ProjectionRow[] {
    return [...this.#of(projection)?.values() ?? []]
      .filter((row) => after === undefined || row.key > after)
      .sort((a, b) => compareTexts(a.key, b.key))
      .slice(0, limit);
  }

  /** Returns the rows that a query selects. */
  query({ projection, ...query }: RowQuery): ProjectionRow[] {
    const rows = this.#of(projection);
    const values = [...rows?.values() ?? []].map(({ key, row }) => ({ key, value: JSON.parse(row!) }));
    return selectRows(values, query).map((key) => rows!.get(key)!);
  }

  /** What rows are stored under. */
  get projections(): string[] {
    return [...this.#rows].filter(([, rows]) => rows.size > 0).map(([name]) => name).sort(compareTexts);
  }

  /** Returns all generations, by projection. */
  get generations(): Generation[] {
    return [...this.#generations.values()].sort((a, b) =>
      compareTexts(a.projection, b.projection) ||
      a.generation.localeCompare(b.generation, "en", { numeric: true })
    );
  }

  /** Adds a generation. */
  add(generation: Generation): boolean {
    const name = rowsOf(generation.projection, generation.generation);
    if (this.#generations.has(name)) return false;
    this.#generations.set(name, {
      ...generation,
      isActive: generation.isActive && this.#activeOf(generation.projection) === undefined,
    });
    return true;
  }

  /** Says how far a generation is. */
  mark(
    { projection, generation, state, error }: Pick<Generation, "projection" | "generation" | "state" | "error">,
    from: Generation["state"],
  ): boolean {
    const name = rowsOf(projection, generation);
    const found = this.#generations.get(name);
    if (found?.state !== from || (state === "dropped" && found.isActive)) return false;
    this.#generations.set(name, { ...found, state, error });
    return true;
  }

  /** Makes another generation what readers see. */
  swap(
    swap: Swap,
    known: {
      readonly checkpoints: readonly Checkpoint[];
      readonly held: (group: string) => number;
      readonly hasMessages: (range: CategoryRange) => boolean;
    },
    now: number,
  ): SwapRefusal | null {
    const generations = this.generations.filter(({ projection }) => projection === swap.projection);
    const next = generations.find(({ generation }) => generation === swap.to);
    const refusal = swapRefusal(swap, {
      generations,
      held: next ? known.held(next.group) : 0,
      lacking: rangesBehind(swap, { generations, checkpoints: known.checkpoints }).find(known.hasMessages)?.category,
    });
    if (refusal !== null) return refusal;
    for (const one of generations) {
      const isActive = one.generation === swap.to;
      this.#generations.set(rowsOf(one.projection, one.generation), {
        ...one,
        isActive,
        isPinned: isActive && swap.pin,
        swappedAt: isActive ? now : one.swappedAt,
      });
    }
    return null;
  }

  /** Whether a generation was dropped. */
  isDropped(projection: string, generation: string): boolean {
    return this.#generations.get(rowsOf(projection, generation))?.state === "dropped";
  }

  /** The groups under whose leases generations are built that a group feeds. */
  buildsOf(group: string): string[] {
    return this.generations.filter((one) => one.group === group)
      .map(({ projection, generation }) => buildGroup(projection, generation));
  }

  /** Gives the group of a generation another name. */
  rename(from: string, to: string): void {
    for (const [name, one] of this.#generations) {
      if (one.group === from) this.#generations.set(name, { ...one, group: to });
    }
  }

  /** Deletes rows of a generation that was dropped, and the generation with the last ones. */
  clear(projection: string, generation: string, limit: number): { readonly deleted: number; readonly group?: string } {
    const name = rowsOf(projection, generation);
    const found = this.#generations.get(name);
    if (found?.state !== "dropped") return { deleted: 0 };
    const rows = this.#rows.get(storedAs(name)) ?? new Map();
    const doomed = [...rows.keys()].slice(0, limit);
    for (const key of doomed) rows.delete(key);
    if (doomed.length > 0) return { deleted: doomed.length };
    this.#generations.delete(name);
    this.#rows.delete(storedAs(name));
    return { deleted: 0, group: found.group };
  }
}

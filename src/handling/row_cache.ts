/** An LRU cache of the rows of the projection that a handler keeps, as JSON text; nobody else writes them. */
export class RowCache {
  #most: number;
  #rows = new Map<string, string | null>();
  #characters = 0;

  /**
   * Creates an empty cache.
   *
   * @param most How much to keep, in characters of keys and rows.
   */
  constructor(most = 4_000_000) {
    this.#most = most;
  }

  #remove(key: string): void {
    const row = this.#rows.get(key);
    if (row !== undefined && this.#rows.delete(key)) this.#characters -= key.length + (row?.length ?? 0);
  }

  /** Returns a row, `null` if it is known that there is none, `undefined` if it is not cached. */
  get(key: string): string | null | undefined {
    const row = this.#rows.get(key);
    if (row === undefined) return undefined;
    this.#rows.delete(key);
    this.#rows.set(key, row);
    return row;
  }

  /** Caches a row as it is stored. */
  set(key: string, row: string | null): void {
    this.#remove(key);
    this.#rows.set(key, row);
    this.#characters += key.length + (row?.length ?? 0);
    // Beginning to go through a map passes all entries that were taken out since it grew: only if there is a need.
    if (this.#characters <= this.#most) return;
    for (const oldest of this.#rows.keys()) {
      if (this.#characters <= this.#most) break;
      this.#remove(oldest);
    }
  }

  /** Forgets all rows. */
  clear(): void {
    this.#rows.clear();
    this.#characters = 0;
  }
}

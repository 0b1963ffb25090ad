import type { AppendCondition, Tagged, Tagging } from "./port.ts";

interface Entry {
  readonly position: number;
  readonly type: string;
}

/** Which messages have which tags, in memory. */
export class MemoryTags {
  /** By tag, in order of position. */
  #entries = new Map<string, Entry[]>();

  /** Gives a message tags. */
  add({ position, type, tags }: Tagging): void {
    for (const tag of tags) {
      const entries = this.#entries.get(tag) ?? [];
      this.#entries.set(tag, entries);
      let i = entries.length;
      while (i > 0 && entries[i - 1].position > position) i--;
      if (entries[i - 1]?.position !== position) entries.splice(i, 0, { position, type });
    }
  }

  /** Returns the positions of the selected messages after a position, in order. */
  find(among: readonly Tagged[], after = 0): number[] {
    const found = new Set<number>();
    for (const { tag, types } of among) {
      const entries = this.#entries.get(tag) ?? [];
      for (let i = entries.length - 1; i >= 0 && entries[i].position > after; i--) {
        if (types.includes(entries[i].type)) found.add(entries[i].position);
      }
    }
    return [...found].sort((a, b) => a - b);
  }

  /** Whether no message that a condition excludes is there. */
  holds({ among, after }: AppendCondition): boolean {
    return this.find(among, after).length === 0;
  }
}

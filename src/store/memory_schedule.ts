import type { Commit, DueMessages, ScheduledAs, ScheduledMessage } from "./port.ts";

function compare(a: ScheduledMessage, b: ScheduledMessage): number {
  return a.dueAt - b.dueAt || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

/** The schedule of a store in memory: by key, and in order of due time. */
export class MemorySchedule {
  #byKey = new Map<string, ScheduledMessage>();
  #inOrder: ScheduledMessage[] = [];

  /** Whether all of these are scheduled as they were read. */
  hasAll(read: readonly ScheduledAs[]): boolean {
    return read.every(({ key, id, dueAt }) => {
      const found = this.#byKey.get(key);
      return found?.message.id === id && found.dueAt === dueAt;
    });
  }

  /** Applies a commit. */
  change({ release = [], unschedule = [], schedule = [] }: Commit, now: number): void {
    for (const { key } of release) this.#remove(key);
    for (const key of unschedule) this.#remove(key);
    for (const { due: { at, after = 0 }, ...entry } of schedule) {
      this.#remove(entry.key);
      const scheduled = { ...entry, dueAt: at ?? now + after };
      this.#byKey.set(entry.key, scheduled);
      this.#inOrder.splice(this.#placeOf(scheduled), 0, scheduled);
    }
  }

  #placeOf(scheduled: ScheduledMessage): number {
    let [low, high] = [0, this.#inOrder.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compare(this.#inOrder[middle], scheduled) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #remove(key: string): void {
    const found = this.#byKey.get(key);
    if (found === undefined) return;
    this.#byKey.delete(key);
    this.#inOrder.splice(this.#placeOf(found), 1);
  }

  /** Returns the first that are due. */
  due(limit: number, now: number): DueMessages {
    const messages: ScheduledMessage[] = [];
    for (const scheduled of this.#inOrder) {
      if (scheduled.dueAt > now || messages.length === limit) break;
      messages.push(scheduled);
    }
    const next = this.#inOrder[messages.length];
    return { messages, now, wait: next === undefined ? null : Math.max(0, next.dueAt - now) };
  }

  /** Returns what is scheduled, by key. */
  list({ key, after, limit }: { key?: string; after?: string; limit?: number }): ScheduledMessage[] {
    const found = key === undefined
      ? [...this.#byKey.values()]
      : [this.#byKey.get(key)].filter((one) => one !== undefined);
    return found.filter((one) => after === undefined || one.key > after)
      .sort((a, b) => a.key < b.key ? -1 : 1).slice(0, limit);
  }
}

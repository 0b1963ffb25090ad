/** Lets so many do something at a time, in the order in which they ask. */
export class Semaphore {
  #free: number;
  #waiting: (() => void)[] = [];

  /** @param most How many. */
  constructor(most: number) {
    this.#free = most;
  }

  /**
   * Waits for a turn, and does it.
   *
   * @param work What to do.
   * @returns What it came to.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

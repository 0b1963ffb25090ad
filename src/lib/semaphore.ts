/** A semaphore that bounds concurrent work and starts it in order of request. */
export class Semaphore {
  #free: number;
  #waiting: (() => void)[] = [];

  /** @param most The maximum number running at a time. */
  constructor(most: number) {
    this.#free = most;
  }

  /**
   * Runs work once there is a free slot.
   *
   * @param work The work.
   * @returns Its result.
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

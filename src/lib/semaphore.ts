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
   * @param signal Gives up waiting for a slot.
   * @returns Its result.
   * @throws {unknown} The signal's reason, if it was aborted before the work began.
   */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await this.#slot(signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }

  #slot(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        reject(signal?.reason);
      };
      this.#waiting.push(begin);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }
}

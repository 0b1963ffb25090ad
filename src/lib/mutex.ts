/** A mutex that runs work in order of request. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  /** Whether it was closed: work that comes to its turn should not begin. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Closes it. */
  close(): void {
    this.#isClosed = true;
  }

  /** Opens it again. */
  open(): void {
    this.#isClosed = false;
  }

  /**
   * Runs work once all earlier work has finished.
   *
   * @param work The work.
   * @returns Its result.
   */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

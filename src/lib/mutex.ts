/** A mutex that runs work in order of request. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

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

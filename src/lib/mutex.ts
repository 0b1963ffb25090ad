/** Lets one after the other do something. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Waits until all who asked before are through, then does it.
   *
   * @param work What to do.
   * @returns What it came to.
   */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

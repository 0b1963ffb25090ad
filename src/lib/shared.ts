/** One answer for many who ask at about the same time. */
export class Shared<T> {
  #ask: () => Promise<T>;
  #lasts: number;
  #answer: Promise<T> | undefined;
  #askedAt = -Infinity;

  /**
   * @param ask Finds the answer.
   * @param lasts For how long an answer is good, in milliseconds.
   */
  constructor(ask: () => Promise<T>, lasts: number) {
    this.#ask = ask;
    this.#lasts = lasts;
  }

  /** The answer; one that is not older than it may be. */
  get(): Promise<T> {
    if (!this.#answer || performance.now() - this.#askedAt > this.#lasts) {
      this.#askedAt = performance.now();
      const answer = this.#answer = this.#ask();
      // What went wrong is not kept.
      answer.catch(() => {
        if (this.#answer === answer) this.#answer = undefined;
      });
    }
    return this.#answer;
  }
}

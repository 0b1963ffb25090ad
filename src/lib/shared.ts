import type { Clock } from "./clock.ts";

/** One answer for many who ask at about the same time. */
export class Shared<T> {
  #ask: () => Promise<T>;
  #lasts: number;
  #clock: Pick<Clock, "elapsed">;
  #answer: Promise<T> | undefined;
  #askedAt = -Infinity;

  /**
   * @param ask Finds the answer.
   * @param lasts For how long an answer is good, in milliseconds.
   * @param clock Time.
   */
  constructor(ask: () => Promise<T>, lasts: number, clock: Pick<Clock, "elapsed">) {
    this.#ask = ask;
    this.#lasts = lasts;
    this.#clock = clock;
  }

  /** The answer; one that is not older than it may be. */
  get(): Promise<T> {
    if (!this.#answer || this.#clock.elapsed() - this.#askedAt > this.#lasts) {
      this.#askedAt = this.#clock.elapsed();
      const answer = this.#answer = this.#ask();
      // What went wrong is not kept.
      answer.catch(() => {
        if (this.#answer === answer) this.#answer = undefined;
      });
    }
    return this.#answer;
  }
}

import type { Clock } from "./clock.ts";

/** Caches an answer for a short time and shares it among concurrent callers. */
export class Shared<T> {
  #ask: () => Promise<T>;
  #lasts: number;
  #clock: Pick<Clock, "elapsed">;
  #answer: Promise<T> | undefined;
  #askedAt = -Infinity;

  /**
   * @param ask Fetches the answer.
   * @param lasts How long an answer stays valid, in milliseconds.
   * @param clock The source of time.
   */
  constructor(ask: () => Promise<T>, lasts: number, clock: Pick<Clock, "elapsed">) {
    this.#ask = ask;
    this.#lasts = lasts;
    this.#clock = clock;
  }

  /** Returns the cached answer if still valid, or else a fresh one. */
  get(): Promise<T> {
    if (!this.#answer || this.#clock.elapsed() - this.#askedAt > this.#lasts) {
      this.#askedAt = this.#clock.elapsed();
      const answer = this.#answer = this.#ask();
      // Do not cache failures.
      answer.catch(() => {
        if (this.#answer === answer) this.#answer = undefined;
      });
    }
    return this.#answer;
  }
}

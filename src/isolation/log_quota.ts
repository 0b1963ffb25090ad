/** Most lines and characters that may be written per {@linkcode WINDOW}. */
const LINES = 2_000;
const CHARACTERS = 1_000_000;

/** The length of the rate limit's window, in milliseconds. */
const WINDOW = 2_000;

/** A rate limit for log output: lines beyond it are counted and dropped. */
export class LogQuota {
  #now: () => number;
  #share: number;
  #since = -Infinity;
  #lines = 0;
  #characters = 0;
  #dropped = 0;

  /**
   * @param now Returns the time, in milliseconds.
   * @param share How much of the limit to allow. Who checks what was limited before allows a little more, so that it is only
   *   said once how much was dropped. @default {1}
   */
  constructor(now: () => number, share = 1) {
    this.#now = now;
    this.#share = share;
  }

  /** Whether a line of the given length may be written. */
  take(characters: number): boolean {
    const now = this.#now();
    if (now - this.#since > WINDOW) [this.#since, this.#lines, this.#characters] = [now, 0, 0];
    const isOver = this.#lines >= LINES * this.#share || this.#characters + characters > CHARACTERS * this.#share;
    if (isOver) {
      this.#dropped++;
      return false;
    }
    this.#lines++;
    this.#characters += characters;
    return true;
  }

  /** Returns the number of lines dropped since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}

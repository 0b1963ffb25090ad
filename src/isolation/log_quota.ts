/** How many lines and characters may be written within {@linkcode WINDOW}. */
const LINES = 2_000;
const CHARACTERS = 1_000_000;

/** In milliseconds. */
const WINDOW = 2_000;

/** Bounds what may be logged at a time: a flood is counted, and dropped. */
export class LogQuota {
  #now: () => number;
  #since = -Infinity;
  #lines = 0;
  #characters = 0;
  #dropped = 0;

  /** @param now Tells the time, in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether a line of so many characters may be written. */
  take(characters: number): boolean {
    const now = this.#now();
    if (now - this.#since > WINDOW) [this.#since, this.#lines, this.#characters] = [now, 0, 0];
    if (this.#lines >= LINES || this.#characters + characters > CHARACTERS) {
      this.#dropped++;
      return false;
    }
    this.#lines++;
    this.#characters += characters;
    return true;
  }

  /** How many lines were dropped since this was last asked. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}

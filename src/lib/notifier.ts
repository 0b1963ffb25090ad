import { type Clock, REAL_CLOCK } from "./clock.ts";

/** Wakes waiters when something changes. */
export class Notifier {
  #waiting = new Set<() => void>();
  #clock: Clock;

  /** @param clock The source of time. */
  constructor(clock: Clock = REAL_CLOCK) {
    this.#clock = clock;
  }

  /** Wakes all current waiters. */
  notify(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /**
   * Waits for the next {@linkcode Notifier.notify}.
   *
   * @param timeout The timeout, in milliseconds.
   * @param signal Ends the wait early.
   * @returns Resolves when notified, timed out or aborted; never rejects.
   */
  wait(timeout: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const over = this.#clock.after(timeout, () => done());
      const done = () => {
        over();
        this.#waiting.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal?.addEventListener("abort", done);
    });
  }

  /** The number of waiters. */
  get waiting(): number {
    return this.#waiting.size;
  }
}

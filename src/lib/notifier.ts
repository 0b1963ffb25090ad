/** Wakes those who wait for something to change. */
export class Notifier {
  #waiting = new Set<() => void>();

  /** Wakes everybody who waits now. */
  notify(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /**
   * Waits for the next {@linkcode Notifier.notify}.
   *
   * @param timeout How long at most, in milliseconds.
   * @param signal Ends the wait early.
   * @returns Resolves when notified, timed out or aborted; never rejects.
   */
  wait(timeout: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, timeout);
      this.#waiting.add(done);
      signal?.addEventListener("abort", done);
    });
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }
}

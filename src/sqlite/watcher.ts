/** The idle time before switching from polling to watching the file, in milliseconds. */
const CALM = 250;

/**
 * Detects writes of other connections, in this process or another. While writes are frequent, it polls every few
 * milliseconds. A timer that fires 250 times a second costs 3% of a core in Deno, so when idle, it uses file
 * notifications.
 */
export class FileWatcher {
  #path: string;
  #look: () => boolean;
  #poll: ReturnType<typeof setInterval> | undefined;
  #watch: Deno.FsWatcher | undefined;
  #lastChange = 0;
  #interval: number;

  /**
   * Creates a watcher; it is not started yet.
   *
   * @param path The file that changes with each write.
   * @param look Checks whether there was a write.
   * @param interval The polling interval while others write, in milliseconds.
   */
  constructor(path: string, look: () => boolean, interval: number) {
    this.#path = path;
    this.#look = look;
    this.#interval = interval;
  }

  /** Starts, unless already started. */
  start(): void {
    if (this.#poll === undefined && this.#watch === undefined) this.#startPolling();
  }

  #startPolling(): void {
    this.#lastChange = performance.now();
    this.#poll = setInterval(() => {
      if (this.#look()) this.#lastChange = performance.now();
      else if (performance.now() - this.#lastChange > CALM) this.#calmDown();
    }, this.#interval);
  }

  #calmDown(): void {
    try {
      this.#watch = Deno.watchFs(this.#path);
    } catch {
      // No permission or too many watches: keep polling.
      this.#lastChange = Infinity;
      return;
    }
    clearInterval(this.#poll);
    this.#poll = undefined;
    void this.#listen(this.#watch);
    // A write before the watch began would otherwise be missed.
    if (this.#look()) this.#wakeUp();
  }

  async #listen(watch: Deno.FsWatcher): Promise<void> {
    for await (const _event of watch) {
      if (this.#watch !== watch) return;
      if (this.#look()) return this.#wakeUp();
    }
  }

  #wakeUp(): void {
    this.#closeWatch();
    this.#startPolling();
  }

  #closeWatch(): void {
    const watch = this.#watch;
    this.#watch = undefined;
    watch?.close();
  }

  /** Stops. */
  stop(): void {
    clearInterval(this.#poll);
    this.#poll = undefined;
    this.#closeWatch();
  }
}

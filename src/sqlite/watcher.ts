/** How long nobody has to have written until the file is watched instead, in milliseconds. */
const CALM = 250;

/**
 * Notices writes of other connections, in this process or another. While they are frequent it looks every few
 * milliseconds; a timer that fires 250 times a second costs 3% of a core in Deno, so in calm times the operating system
 * is asked to tell.
 */
export class FileWatcher {
  #path: string;
  #look: () => boolean;
  #poll: ReturnType<typeof setInterval> | undefined;
  #watch: Deno.FsWatcher | undefined;
  #lastChange = 0;
  #interval: number;

  /**
   * Makes a watcher that does not watch yet.
   *
   * @param path The file whose changes tell of writes.
   * @param look Looks whether there was one.
   * @param interval How often to look while others write, in milliseconds.
   */
  constructor(path: string, look: () => boolean, interval: number) {
    this.#path = path;
    this.#look = look;
    this.#interval = interval;
  }

  /** Begins, unless it has. */
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
      // No permission, or too many watches: looking goes on.
      this.#lastChange = Infinity;
      return;
    }
    clearInterval(this.#poll);
    this.#poll = undefined;
    void this.#listen(this.#watch);
    // What was written before the watch began would wake nobody.
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

  /** Ends. */
  stop(): void {
    clearInterval(this.#poll);
    this.#poll = undefined;
    this.#closeWatch();
  }
}

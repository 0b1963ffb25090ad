/** Beyond so many notifications in a period, polling costs less than being told of each write. */
const BUSY = 500;

/** Below so many changes in a period, being told of each costs less than polling. */
const CALM = 100;

/** How often that is decided, in milliseconds. While notified, it also looks by itself this often. */
const PERIOD = 250;

/** After so many periods in which only looking found the writes, notifications are taken for broken. */
const DEAF = 4;

/**
 * Detects writes of other connections, in this process or another.
 *
 * File notifications tell of a write in 0.2 ms, and cost nothing while there is none; a poll every 2 ms finds it after
 * 1.2 ms on average and costs 3% of a core in Deno. But notifications also tell of this process's own writes, and there
 * are several per write: while there are very many, it polls. Network and shared file systems may not notify at all.
 */
export class FileWatcher {
  #path: string;
  #look: () => boolean;
  #interval: number;
  #poll: ReturnType<typeof setInterval> | undefined;
  #period: ReturnType<typeof setInterval> | undefined;
  #watch: Deno.FsWatcher | undefined;
  /** In the current period: notifications, and changes found. */
  #notified = 0;
  #changes = 0;
  /** Periods with changes but without a notification. */
  #unheard = 0;
  #mayWatch = true;

  /**
   * Creates a watcher; it is not started yet.
   *
   * @param path The file that changes with each write.
   * @param look Checks whether there was a write.
   * @param interval The polling interval while others write much, in milliseconds.
   */
  constructor(path: string, look: () => boolean, interval: number) {
    this.#path = path;
    this.#look = look;
    this.#interval = interval;
  }

  /** Starts, unless already started. */
  start(): void {
    if (this.#period !== undefined) return;
    this.#startPolling();
    this.#period = setInterval(() => this.#decide(), PERIOD);
  }

  #check(): void {
    if (this.#look()) this.#changes++;
  }

  #startPolling(): void {
    this.#poll = setInterval(() => this.#check(), this.#interval);
  }

  /** Once in a period: how to go on. */
  #decide(): void {
    if (this.#watch) {
      this.#check();
      if (this.#notified > 0) this.#unheard = 0;
      else if (this.#changes > 0 && ++this.#unheard >= DEAF) this.#mayWatch = false;
      if (this.#notified > BUSY || !this.#mayWatch) {
        this.#closeWatch();
        this.#startPolling();
      }
    } else if (this.#mayWatch && this.#changes < CALM) this.#startWatching();
    this.#notified = 0;
    this.#changes = 0;
  }

  #startWatching(): void {
    try {
      this.#watch = Deno.watchFs(this.#path);
    } catch {
      // No permission or too many watches: keep polling.
      this.#mayWatch = false;
      return;
    }
    clearInterval(this.#poll);
    this.#poll = undefined;
    void this.#listen(this.#watch);
    // A write before the watch began would otherwise be missed.
    this.#check();
  }

  async #listen(watch: Deno.FsWatcher): Promise<void> {
    for await (const _event of watch) {
      if (this.#watch !== watch) return;
      this.#notified++;
      this.#check();
    }
  }

  #closeWatch(): void {
    const watch = this.#watch;
    this.#watch = undefined;
    watch?.close();
  }

  /** Stops. */
  stop(): void {
    clearInterval(this.#period);
    clearInterval(this.#poll);
    this.#period = this.#poll = undefined;
    this.#closeWatch();
  }
}

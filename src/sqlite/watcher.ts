import process from "node:process";
import { isPermitted, watchFile } from "../lib/platform.ts";

/**
 * Notifications in a period beyond which polling costs less, and changes in a period below which they do. On systems where
 * they come late, any change is a reason to poll for a while.
 */
const [BUSY, CALM] = process.platform === "linux" ? [500, 100] : [0, 1];

/** How often that is decided, in milliseconds. While notified, it also looks by itself this often. */
const PERIOD = 250;

/** After so many periods in which only looking found the writes, notifications are taken for broken. */
const DEAF = 4;

/** How long it polls then, before it tries again, in milliseconds: the file may be there again, or the process less busy. */
const RETRY = 60_000;

/**
 * Detects writes of other connections, in this process or another.
 *
 * Whoever has committed touches a file beside the database. A notification of that comes within 0.2 ms, and costs nothing
 * while there is none; a poll every 2 ms finds a commit after 1.2 ms on average. While there are very many, it polls all the
 * same: notifications also tell of this process's own commits. Some file systems do not notify at all.
 *
 * None of SQLite's files is fit to be watched. The write-ahead log is written before a commit can be seen. And Deno opens and
 * closes what it watches, which ends all POSIX locks that the process has on that file (https://sqlite.org/howtocorrupt.html,
 * section 2.2): on the database or its index, two processes would write at once, and commits would be lost.
 */
export class FileWatcher {
  #path: string;
  #look: () => boolean;
  #interval: number;
  #poll: ReturnType<typeof setInterval> | undefined;
  #period: ReturnType<typeof setInterval> | undefined;
  #endWatch: (() => void) | undefined;
  /** In the current period: notifications, what they led to, and all changes found. */
  #notified = 0;
  #heard = 0;
  #changes = 0;
  /** Periods in which only looking found changes. This process's own commits are notified of as well, and prove nothing. */
  #unheard = 0;
  #mayWatch: boolean;
  /** From when on it tries again after notifications were broken. */
  #deafUntil = 0;

  /**
   * Creates a watcher; it is not started yet.
   *
   * @param path The file that is touched after each commit.
   * @param look Checks whether there was a write.
   * @param interval The polling interval while others write much, in milliseconds.
   */
  constructor(path: string, look: () => boolean, interval: number) {
    this.#path = path;
    this.#look = look;
    this.#interval = interval;
    // Without asking on a terminal.
    this.#mayWatch = isPermitted("read", path);
  }

  /** Starts, unless already started. */
  start(): void {
    if (this.#period !== undefined) return;
    this.#period = setInterval(() => this.#decide(), PERIOD);
    if (this.#isFitToWatch) this.#startWatching();
    else this.#startPolling();
  }

  get #isFitToWatch(): boolean {
    return this.#mayWatch && performance.now() >= this.#deafUntil;
  }

  #check(): void {
    if (this.#look()) this.#changes++;
  }

  #giveUp(): void {
    this.#unheard = 0;
    this.#deafUntil = performance.now() + RETRY;
  }

  #startPolling(): void {
    this.#closeWatch();
    this.#poll = setInterval(() => this.#check(), this.#interval);
  }

  /** Once in a period: how to go on. */
  #decide(): void {
    if (this.#endWatch) {
      this.#check();
      if (this.#heard > 0) this.#unheard = 0;
      else if (this.#changes > 0 && ++this.#unheard >= DEAF) this.#giveUp();
      if (!this.#isFitToWatch) this.#startPolling();
    } else if (this.#isFitToWatch && this.#changes < CALM) this.#startWatching();
    this.#notified = this.#heard = 0;
    this.#changes = 0;
  }

  #startWatching(): void {
    try {
      this.#endWatch = watchFile(this.#path, () => this.#hear());
    } catch {
      // Too many watches, or no such file.
      this.#giveUp();
      return this.#poll === undefined ? this.#startPolling() : undefined;
    }
    clearInterval(this.#poll);
    this.#poll = undefined;
    // A write before the watch began would otherwise be missed.
    this.#check();
  }

  #hear(): void {
    this.#notified++;
    const before = this.#changes;
    this.#check();
    this.#heard += this.#changes - before;
    if (this.#notified > BUSY) this.#startPolling();
  }

  #closeWatch(): void {
    const end = this.#endWatch;
    this.#endWatch = undefined;
    end?.();
  }

  /** Stops. */
  stop(): void {
    clearInterval(this.#period);
    clearInterval(this.#poll);
    this.#period = this.#poll = undefined;
    this.#closeWatch();
  }
}

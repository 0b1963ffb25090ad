/** Interval between checks, in milliseconds. */
const INTERVAL = 250;

/** How long a host's main thread may miss heartbeats, in milliseconds. */
const SILENCE = 5_000;

/** CPU use beyond its work that a host is allowed, in cores, and for how long, in milliseconds. */
const EXCESS = 0.5;
const EXCESS_PATIENCE = 4_000;

/** Clock ticks per second in /proc (USER_HZ). */
const TICKS = 100;

/** The process to monitor. */
export interface Monitored {
  /** The process. */
  readonly pid: number;
  /** Returns the accumulated busy time of its workers, in milliseconds. */
  readonly work: () => number;
  /** Returns the time of its last heartbeat. */
  readonly heardAt: () => number;
  /** Kills it. */
  readonly kill: (reason: string) => void;
}

/** Monitors a process from outside: whether it is stopped, unresponsive, or uses CPU time beyond its work. */
export class ProcessMonitor {
  #monitored: Monitored;
  #timer: ReturnType<typeof setInterval>;
  #lookedAt = performance.now();
  #cpu: number | null;
  #work: number;
  #excessSince: number | null = null;

  /** @param monitored The process; monitoring starts at once. */
  constructor(monitored: Monitored) {
    this.#monitored = monitored;
    this.#cpu = this.#read()?.cpu ?? null;
    this.#work = monitored.work();
    this.#timer = setInterval(() => this.#look(), INTERVAL);
  }

  /** State and CPU time in milliseconds; `null` on systems without /proc. */
  #read(): { readonly state: string; readonly cpu: number } | null {
    try {
      // See man 5 proc: the command name is arbitrary but in parentheses; field 3 is the state, 14 and 15 are CPU
      // times.
      const fields = Deno.readTextFileSync(`/proc/${this.#monitored.pid}/stat`).split(") ").at(-1)!.split(" ");
      return { state: fields[0], cpu: (Number(fields[11]) + Number(fields[12])) * 1000 / TICKS };
    } catch {
      return null;
    }
  }

  #look(): void {
    const { work, heardAt, kill } = this.#monitored;
    const now = performance.now();
    const elapsed = now - this.#lookedAt;
    this.#lookedAt = now;
    const status = this.#read();
    if (status?.state === "T") return kill("it was stopped by a signal and would never resume");
    // If this process itself was stalled, missed heartbeats mean nothing.
    if (elapsed < 4 * INTERVAL && now - heardAt() > SILENCE) {
      return kill(`it sent no heartbeat for ${SILENCE / 1000} s`);
    }
    if (!status) return;
    const [cpu, worked] = [status.cpu - (this.#cpu ?? status.cpu), work() - this.#work];
    this.#cpu = status.cpu;
    this.#work += worked;
    // Garbage collection and compilation run in the background.
    const excess = (cpu - 2 * worked) / elapsed;
    if (excess < EXCESS) this.#excessSince = null;
    else this.#excessSince ??= now;
    if (this.#excessSince === null || now - this.#excessSince < EXCESS_PATIENCE) return;
    kill(`it used excessive CPU time for ${EXCESS_PATIENCE / 1000} s while almost idle`);
  }

  /** Stops monitoring. */
  stop(): void {
    clearInterval(this.#timer);
  }
}

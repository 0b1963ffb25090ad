/** How often a host is looked at, in milliseconds. */
const INTERVAL = 250;

/** For how long the thread of a host that hands on frames may be silent, in milliseconds. */
const SILENCE = 5_000;

/** Processor time beyond its work that a host may use, in cores, and for how long, in milliseconds. */
const EXCESS = 0.5;
const EXCESS_PATIENCE = 4_000;

/** Ticks of a processor's clock in a second, as /proc counts them (USER_HZ). */
const TICKS = 100;

/** What is watched. */
export interface Monitored {
  /** The process. */
  readonly pid: number;
  /** For how long its workers have had something to do so far, added up, in milliseconds. */
  readonly work: () => number;
  /** When it was last heard of. */
  readonly heardAt: () => number;
  /** Ends it at once. */
  readonly kill: (reason: string) => void;
}

/** Watches over a process from outside: whether it stands still, is silent, or burns processor time beyond its work. */
export class ProcessMonitor {
  #monitored: Monitored;
  #timer: ReturnType<typeof setInterval>;
  #lookedAt = performance.now();
  #cpu: number | null;
  #work: number;
  #excessSince: number | null = null;

  /** @param monitored What to watch; it begins at once. */
  constructor(monitored: Monitored) {
    this.#monitored = monitored;
    this.#cpu = this.#read()?.cpu ?? null;
    this.#work = monitored.work();
    this.#timer = setInterval(() => this.#look(), INTERVAL);
  }

  /** State and processor time in milliseconds; `null` where the system does not tell. */
  #read(): { readonly state: string; readonly cpu: number } | null {
    try {
      // man 5 proc: the command may have anything in it but is in brackets; state is the third field, times 14 and 15.
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
    if (status?.state === "T") return kill("it was stopped by a signal, and would stand still for ever");
    // When this process itself was held up, nobody's silence means anything.
    if (elapsed < 4 * INTERVAL && now - heardAt() > SILENCE) return kill(`it has not answered for ${SILENCE / 1000} s`);
    if (!status) return;
    const [cpu, worked] = [status.cpu - (this.#cpu ?? status.cpu), work() - this.#work];
    this.#cpu = status.cpu;
    this.#work += worked;
    // Garbage collection and compilation run beside the work.
    const excess = (cpu - 2 * worked) / elapsed;
    if (excess < EXCESS) this.#excessSince = null;
    else this.#excessSince ??= now;
    if (this.#excessSince === null || now - this.#excessSince < EXCESS_PATIENCE) return;
    kill(`it burnt processor time for ${EXCESS_PATIENCE / 1000} s with next to nothing to do`);
  }

  /** Watches no longer. */
  stop(): void {
    clearInterval(this.#timer);
  }
}

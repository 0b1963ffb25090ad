import { setImmediate } from "node:timers";

/** What became of one job of a batch. */
export type Fate<Result> = { readonly ok: Result } | { readonly error: unknown };

/**
 * Gathers jobs that are submitted while another batch is under way, and runs them as one: throughput grows with load
 * while a lone job waits for nobody (group commit).
 */
export class GroupCommit<Job, Result> {
  #run: (jobs: Job[]) => Promise<Fate<Result>[]>;
  #most: number;
  #queue: { job: Job; resolve: (result: Result) => void; reject: (error: unknown) => void }[] = [];
  #running: Promise<void> | undefined;

  /**
   * @param run Runs a batch; answers each job's fate, in order. When it rejects, all of the batch do.
   * @param most How many jobs a batch may have.
   */
  constructor(run: (jobs: Job[]) => Promise<Fate<Result>[]>, most = 1000) {
    this.#run = run;
    this.#most = most;
  }

  /** Submits a job; resolves or rejects with its own fate. */
  submit(job: Job): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ job, resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      // One turn of the event loop, so that all who were woken by the last batch are on this one.
      await new Promise<void>((resolve) => setImmediate(() => resolve()));
      const batch = this.#queue.splice(0, this.#most);
      try {
        const fates = await this.#run(batch.map((entry) => entry.job));
        batch.forEach((entry, i) => {
          const fate = fates[i];
          if ("ok" in fate) entry.resolve(fate.ok);
          else entry.reject(fate.error);
        });
      } catch (error) {
        for (const entry of batch) entry.reject(error);
      }
    }
    this.#running = undefined;
  }

  /** Resolves when nothing is under way or queued. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }
}

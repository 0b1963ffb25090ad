import { setImmediate } from "node:timers";

/** The result of one job of a batch. */
export type Fate<Result> = { readonly ok: Result } | { readonly error: unknown };

/**
 * Group commit: collects jobs submitted while a batch is running and runs them as the next batch. Throughput grows with
 * load, while a single job does not wait.
 */
export class GroupCommit<Job, Result> {
  #run: (jobs: Job[]) => Promise<Fate<Result>[]>;
  #most: number;
  #queue: { job: Job; resolve: (result: Result) => void; reject: (error: unknown) => void }[] = [];
  #running: Promise<void> | undefined;

  /**
   * @param run Runs a batch and returns each job's result, in order. If it rejects, all jobs of the batch do.
   * @param most The maximum number of jobs in a batch.
   */
  constructor(run: (jobs: Job[]) => Promise<Fate<Result>[]>, most = 1000) {
    this.#run = run;
    this.#most = most;
  }

  /** Submits a job; resolves or rejects with its own result. */
  submit(job: Job): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ job, resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      // Yield once, so that callers resumed by the last batch can join this one.
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

  /** Resolves when no job is running or queued. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }
}

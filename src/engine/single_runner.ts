import { LEASE_TTL } from "../cluster/balancer.ts";
import type { Clock } from "../lib/clock.ts";
import { FencedError } from "../store/errors.ts";
import type { EventStore, Fence } from "../store/port.ts";
import type { Report } from "../telemetry/events.ts";
import { retryForever } from "./retry.ts";

/** Interval between attempts to get the lease while another process holds it, in milliseconds. */
const INTERVAL = 500;

/** Work that one among all processes does. */
export interface SingleWork {
  /** The name of its lease. */
  readonly lease: string;
  /** The group that it works for. @default {the engine as a whole} */
  readonly group?: string;
  /** Does it until stopped, or until it cannot: then a process that can may take over. */
  readonly run: (fence: Fence, signal: AbortSignal) => Promise<void>;
}

/** Dependencies of a {@linkcode SingleRunner}. */
export interface SingleRunnerOptions {
  /** The store. */
  readonly store: Pick<EventStore, "acquireLease" | "releaseLease">;
  /** The owner of the lease. */
  readonly owner: string;
  /** The source of time and randomness. */
  readonly clock: Clock;
  /** Receives engine events. */
  readonly report: Report;
}

/** Keeps work running while this process holds its lease. Whoever renews leases asks for its fence. */
export class SingleRunner {
  #work: SingleWork;
  #options: SingleRunnerOptions;
  #fence: Fence | undefined;
  #lost = new AbortController();

  /**
   * Creates a runner; `run()` starts it.
   *
   * @param work The work.
   * @param options Its dependencies.
   */
  constructor(work: SingleWork, options: SingleRunnerOptions) {
    this.#work = work;
    this.#options = options;
  }

  /** The lease it holds, if any. */
  get fence(): Fence | undefined {
    return this.#fence;
  }

  /** Ends what it does: its lease is lost. */
  abandon(): void {
    this.#lost.abort("lost");
  }

  /** Runs until stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, owner, clock, report } = this.#options;
    const { lease, group = "" } = this.#work;
    await retryForever(
      async () => {
        const granted = await store.acquireLease({ name: lease, group: lease, partitions: 1, owner, ttl: LEASE_TTL });
        if (!granted) {
          await clock.sleep(INTERVAL, signal);
          return "again";
        }
        const fence = this.#fence = { lease, token: granted.token };
        const { signal: lost } = this.#lost = new AbortController();
        try {
          await this.#work.run(fence, AbortSignal.any([signal, lost]));
          if (lost.aborted && !signal.aborted) return "again";
        } catch (error) {
          if (!(error instanceof FencedError)) throw error;
          report({ type: "lease.lost", group, lease });
          return "again";
        } finally {
          this.#fence = undefined;
          // Another process may do better; if the store is away, nobody can tell it.
          await store.releaseLease(fence, true).catch(() => {});
        }
      },
      { clock, signal, report, group },
    );
  }
}

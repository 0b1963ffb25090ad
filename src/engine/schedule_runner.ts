import { clockOf } from "../lib/clock.ts";
import { LEASE_TTL } from "../cluster/balancer.ts";
import { Scheduler, SCHEDULER_GROUP, type SchedulerOptions } from "../outbox/scheduler.ts";
import { FencedError } from "../store/errors.ts";
import type { Fence } from "../store/port.ts";
import { NO_REPORT } from "../telemetry/events.ts";
import { retryForever } from "./retry.ts";

/** Interval between attempts to get the lease while another process holds it, in milliseconds. */
const INTERVAL = 500;

/**
 * Keeps the scheduler running while this process holds its lease: one among all processes. The lease is not the relay's,
 * which is given back while the broker is away: timers need no broker.
 */
export class ScheduleRunner {
  #options: Omit<SchedulerOptions, "fence">;
  #owner: string;
  #fence: Fence | undefined;

  /**
   * Creates a runner; `run()` starts it.
   *
   * @param options The scheduler's options.
   * @param owner The owner of the lease.
   */
  constructor(options: Omit<SchedulerOptions, "fence">, owner: string) {
    this.#options = options;
    this.#owner = owner;
  }

  /** The lease it holds, if any. */
  get fence(): Fence | undefined {
    return this.#fence;
  }

  /** Runs until stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, report = NO_REPORT } = this.#options;
    const clock = clockOf(this.#options.clock);
    await retryForever(
      async () => {
        const request = { name: SCHEDULER_GROUP, group: SCHEDULER_GROUP, partitions: 1 };
        const granted = await store.acquireLease({ ...request, owner: this.#owner, ttl: LEASE_TTL });
        if (!granted) {
          await clock.sleep(INTERVAL, signal);
          return "again";
        }
        const fence = this.#fence = { lease: SCHEDULER_GROUP, token: granted.token };
        try {
          await new Scheduler({ ...this.#options, fence }).run(signal);
          await store.releaseLease(fence, true);
        } catch (error) {
          if (!(error instanceof FencedError)) throw error;
          return "again";
        } finally {
          this.#fence = undefined;
        }
      },
      { clock, signal, report },
    );
  }
}

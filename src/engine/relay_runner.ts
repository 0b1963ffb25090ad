import { clockOf } from "../lib/clock.ts";
import { NO_REPORT } from "../telemetry/events.ts";
import { Relay, type RelayOptions } from "../outbox/relay.ts";
import { BrokerUnavailableError } from "../broker/errors.ts";
import { FencedError } from "../store/errors.ts";
import type { Fence } from "../store/port.ts";
import { RELAY_GROUP } from "../groups/watermark.ts";
import { retryForever } from "./retry.ts";
import { LEASE_TTL } from "../cluster/balancer.ts";

/** Interval between attempts to get the relay's lease while another process holds it, in milliseconds. */
const INTERVAL = 500;

/** Keeps the relay running while this process holds its lease: one relay among all processes. */
export class RelayRunner {
  #options: Omit<RelayOptions, "fence">;
  #owner: string;
  #fence: Fence | undefined;
  /** Ends the running relay, so that a new one reads everything again. */
  #restart = new AbortController();
  #ended: Promise<unknown> = Promise.resolve();
  /** Whether this process released the lease because it could not reach the broker. */
  #cutOff = false;

  /**
   * Creates a runner; `run()` starts it.
   *
   * @param options The relay's options.
   * @param owner The owner of the lease.
   */
  constructor(options: Omit<RelayOptions, "fence">, owner: string) {
    this.#options = options;
    this.#owner = owner;
  }

  /** The lease it holds, if any. */
  get fence(): Fence | undefined {
    return this.#fence;
  }

  /** Starts the relay anew, if it runs here; resolves when the old one has ended. */
  async restart(): Promise<void> {
    this.#restart.abort("restart");
    await this.#ended;
  }

  /** Checks whether the broker is reachable again; waits a moment if not. */
  async #reaches(signal: AbortSignal): Promise<boolean> {
    const [category] = this.#options.readers.keys();
    try {
      await this.#options.broker.describe(category ?? "");
      this.#cutOff = false;
      return true;
    } catch (error) {
      if (!(error instanceof BrokerUnavailableError)) throw error;
      await clockOf(this.#options.clock).sleep(INTERVAL, signal);
      return false;
    }
  }

  /** Runs until stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, report = NO_REPORT } = this.#options;
    const clock = clockOf(this.#options.clock);
    await retryForever(
      async () => {
        if (this.#cutOff && !await this.#reaches(signal)) return "again";
        const request = { name: RELAY_GROUP, group: RELAY_GROUP, partitions: 1, owner: this.#owner, ttl: LEASE_TTL };
        const granted = await store.acquireLease(request);
        if (!granted) {
          await clock.sleep(INTERVAL, signal);
          return "again";
        }
        this.#fence = { lease: RELAY_GROUP, token: granted.token };
        const { signal: restarted } = this.#restart = new AbortController();
        try {
          const running = new Relay({ ...this.#options, fence: this.#fence }).run(AbortSignal.any([signal, restarted]));
          this.#ended = running.catch(() => {});
          await running;
          await store.releaseLease(this.#fence, true);
          if (!signal.aborted) return "again";
        } catch (error) {
          if (restarted.aborted) return "again";
          if (error instanceof BrokerUnavailableError) {
            // This process reaches the store but not the broker; one that reaches both can take over.
            this.#cutOff = true;
            await store.releaseLease(this.#fence, true);
            await clock.sleep(INTERVAL, signal);
            return "again";
          }
          if (!(error instanceof FencedError)) throw error;
          report({ type: "lease.lost", group: RELAY_GROUP, lease: RELAY_GROUP });
          return "again";
        } finally {
          this.#fence = undefined;
        }
      },
      { clock, signal, report },
    );
  }
}

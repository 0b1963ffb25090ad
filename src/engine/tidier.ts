import type { Config } from "../config/config.ts";
import { receivedKeys } from "../exchange/intake.ts";
import { lagOf } from "../groups/progress.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import type { Clock } from "../lib/clock.ts";
import type { EventStore } from "../store/port.ts";
import type { Report } from "../telemetry/events.ts";

/** How often it looks, in milliseconds. */
const INTERVAL = 3_600_000;

/** When it looks first, in milliseconds after the start. */
const FIRST = 60_000;

/** How much is deleted in one transaction, and the pause before the next, in milliseconds. */
const BATCH = 1_000;
const PAUSE = 100;

/** Dependencies of a tidier. */
export interface TidierOptions {
  /** The store. */
  readonly store: EventStore;
  /** The domain. */
  readonly domain: {
    readonly name: string;
    readonly handlers: readonly Pick<DomainDescription["handlers"][number], "name" | "categories" | "writes">[];
  };
  /** How long things are kept. */
  readonly config: Pick<Config, "keepOutcomes" | "keepIdempotencyKeys">;
  /** The source of time. */
  readonly clock: Clock;
  /** Receives events. */
  readonly report: Report;
}

/**
 * Deletes outcomes and keys of idempotency that are older than they are kept, a few at a time. Every server does: what one
 * has deleted, the others do not find.
 */
export class Tidier {
  #options: TidierOptions;

  /** @param options Its dependencies. */
  constructor(options: TidierOptions) {
    this.#options = options;
  }

  /** Runs until stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, report } = this.#options;
    for (let wait = FIRST; !signal.aborted; wait = INTERVAL) {
      await clock.sleep(wait * (1 + clock.random() / 10), signal);
      if (signal.aborted) return;
      await this.tidy(signal).catch((error) => {
        // Next time, if the store is back.
        if (recoveryOf(error) === "none") report({ type: "engine.failed", error: `Tidying: ${messageOf(error)}` });
      });
    }
  }

  /** Deletes all that is old. */
  async tidy(signal?: AbortSignal): Promise<void> {
    const { store, domain: { name }, config: { keepOutcomes, keepIdempotencyKeys }, clock } = this.#options;
    if (keepOutcomes === Infinity && keepIdempotencyKeys === Infinity) return;
    // Whoever repeats a command that nobody has decided yet must not send it twice.
    const isPending = await this.#waitsFor(keepIdempotencyKeys);
    const commands = { of: `${name}:command:`, age: isPending ? Infinity : keepIdempotencyKeys };
    const received = { of: receivedKeys(name), age: keepIdempotencyKeys };
    for (const keys of [commands, received]) {
      while (!signal?.aborted && await store.tidy({ outcomes: keepOutcomes, keys }, BATCH) >= BATCH) {
        await clock.sleep(PAUSE, signal);
      }
    }
  }

  /** Whether a command that is older than that was not decided yet. */
  async #waitsFor(age: number): Promise<boolean> {
    const { store, domain: { handlers }, clock } = this.#options;
    const since = clock.now() - age;
    for (const { name, categories, writes } of handlers) {
      if (!writes.outcomes) continue;
      const { oldest } = await lagOf(store, name, categories);
      if (oldest !== null && oldest < since) return true;
      const positions = (await store.deferred(name, { limit: 1_000 })).map(({ position }) => position);
      if ((await store.readAt(positions, { largest: 0 })).some(({ time }) => time < since)) return true;
    }
    return false;
  }
}

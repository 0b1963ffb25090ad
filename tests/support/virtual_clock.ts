import { setImmediate } from "node:timers/promises";
import { seededRandom } from "../../examples/fidelis/simulate.ts";
import type { Clock } from "../../src/lib/clock.ts";

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly call: () => void;
  readonly owner: Machine;
}

/** A machine as its processes see it: what stands still does not hear its timers. */
interface Machine {
  isHalted: boolean;
}

/** For so many turns of the event loop nobody asks for time: everything that can go on without waiting has. */
const QUIET = 4;

/** Time that passes only when everybody waits for it: hours in milliseconds, the same again for the same seed. */
export class VirtualTime {
  #now = 1_700_000_000_000;
  #order = 0;
  #timers: Timer[] = [];
  #ids = 0;
  /** Numbers from 0 to 1. */
  readonly random: () => number;

  /** @param seed The same seed, the same numbers. */
  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** The clock of one machine. */
  machine(): { readonly clock: Clock; readonly halt: () => void } {
    const machine: Machine = { isHalted: false };
    const after = (milliseconds: number, call: () => void): () => void => {
      const wait = Math.min(Math.max(0, milliseconds), 1e12);
      const timer = { at: this.#now + wait, order: this.#order++, call, owner: machine };
      this.#timers.push(timer);
      return () => void (this.#timers = this.#timers.filter((other) => other !== timer));
    };
    const clock: Clock = {
      now: () => this.#now,
      elapsed: () => this.#now,
      random: this.random,
      newId: () => `00000000-0000-7000-8000-${String(++this.#ids).padStart(12, "0")}`,
      after,
      sleep: (milliseconds, signal) =>
        new Promise((resolve) => {
          if (signal?.aborted) return resolve();
          const done = (): void => {
            cancel();
            signal?.removeEventListener("abort", done);
            resolve();
          };
          const cancel = after(milliseconds, done);
          signal?.addEventListener("abort", done);
        }),
    };
    return { clock, halt: () => void (machine.isHalted = true) };
  }

  /** Lets so much time pass, or as much as it takes until something is so. */
  async pass(milliseconds: number, until: () => boolean = () => false): Promise<void> {
    const end = this.#now + milliseconds;
    while (true) {
      for (let quiet = 0, before = this.#order; quiet < QUIET; quiet++) {
        await setImmediate();
        if (this.#order !== before) [quiet, before] = [0, this.#order];
      }
      if (until()) return;
      const next = this.#timers.reduce<Timer | undefined>(
        (first, timer) =>
          !first || timer.at < first.at || (timer.at === first.at && timer.order < first.order) ? timer : first,
        undefined,
      );
      if (!next || next.at > end) {
        this.#now = end;
        return;
      }
      this.#now = Math.max(this.#now, next.at);
      this.#timers = this.#timers.filter((timer) => timer !== next);
      if (!next.owner.isHalted) next.call();
    }
  }
}

import { v7 } from "uuid";
import { sleep } from "./sleep.ts";

/** Time and chance: everything that an engine does comes out the same again when these do. */
export interface Clock {
  /** The time, in milliseconds since 1970; it may jump. */
  readonly now: () => number;
  /** Milliseconds since some moment; never jumps. */
  readonly elapsed: () => number;
  /** A number from 0 to 1. */
  readonly random: () => number;
  /** A new identifier: a UUIDv7. */
  readonly newId: () => string;
  /** Calls back after so many milliseconds, unless what it returns is called before. */
  readonly after: (milliseconds: number, call: () => void) => () => void;
  /** Waits; the signal ends it early. */
  readonly sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

/** The real ones. */
export const REAL_CLOCK: Clock = Object.freeze<Clock>({
  now: () => Date.now(),
  elapsed: () => performance.now(),
  random: () => Math.random(),
  newId: () => v7(),
  after: (milliseconds, call) => {
    const timer = setTimeout(call, milliseconds);
    return () => clearTimeout(timer);
  },
  sleep,
});

/**
 * Completes a clock.
 *
 * @param given What is not to be real.
 * @returns The rest is.
 */
export function clockOf(given: Partial<Clock> | undefined): Clock {
  return given === undefined ? REAL_CLOCK : { ...REAL_CLOCK, ...given };
}

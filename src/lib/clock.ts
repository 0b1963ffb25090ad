import { v7 } from "uuid";
import { sleep } from "./sleep.ts";

/** A source of time and randomness; an engine is deterministic given these. */
export interface Clock {
  /** Returns the wall-clock time, in milliseconds since 1970; it may jump. */
  readonly now: () => number;
  /** Returns the monotonic time, in milliseconds. */
  readonly elapsed: () => number;
  /** Returns a random number from 0 to 1. */
  readonly random: () => number;
  /** Returns a new UUIDv7. */
  readonly newId: () => string;
  /** Calls back after a delay in milliseconds; the returned function cancels it. */
  readonly after: (milliseconds: number, call: () => void) => () => void;
  /** Sleeps; the signal ends it early. */
  readonly sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

/** The system's clock, timers and randomness. */
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
 * @param given The functions to replace.
 * @returns A clock with the remaining functions of {@linkcode REAL_CLOCK}.
 */
export function clockOf(given: Partial<Clock> | undefined): Clock {
  return given === undefined ? REAL_CLOCK : { ...REAL_CLOCK, ...given };
}

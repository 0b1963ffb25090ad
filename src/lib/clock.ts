import { sleep } from "./sleep.ts";

/** Time and chance: everything that an engine does comes out the same again when these do. */
export interface Clock {
  /** The time, in milliseconds since 1970. */
  readonly now: () => number;
  /** A number from 0 to 1. */
  readonly random: () => number;
  /** Waits; the signal ends it early. */
  readonly sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

/** The real ones. */
export const REAL_CLOCK: Clock = Object.freeze({ now: () => Date.now(), random: () => Math.random(), sleep });

import { recoveryOf } from "./annals_error.ts";
import type { Clock } from "./clock.ts";

/** How pauses between tries grow, in milliseconds: doubled each time, up to the longest, half of each at random. */
export interface Backoff {
  /** The first pause. */
  readonly first: number;
  /** The longest. */
  readonly longest: number;
}

/** For services that are away. */
export const SERVICE_BACKOFF: Backoff = { first: 50, longest: 5_000 };

/** For conflicts with others who write to the same: over in milliseconds. */
export const CONFLICT_BACKOFF: Backoff = { first: 2, longest: 64 };

/**
 * The pause before the next try.
 *
 * @param tries How often it was tried in vain.
 * @param backoff How pauses grow.
 * @param random A number from 0 to 1.
 * @returns Milliseconds.
 */
export function pauseBefore(tries: number, { first, longest }: Backoff, random: number): number {
  return Math.min(longest, first * 2 ** Math.min(tries - 1, 20)) * (0.5 + random / 2);
}

/** How {@linkcode retry} goes about it. */
export interface RetryOptions {
  /** Time and chance. */
  readonly clock: Clock;
  /** Ends it: the last error is thrown. */
  readonly signal?: AbortSignal;
  /** How pauses grow. @default {SERVICE_BACKOFF} */
  readonly backoff?: Backoff;
  /** Whether an error is worth another try. @default {what may pass by itself} */
  readonly when?: (error: unknown, tries: number) => boolean;
  /** Called before each pause. */
  readonly failed?: (error: unknown, tries: number) => void;
}

/**
 * Tries until it works: the one place where something is tried again.
 *
 * @param work What to do; told how often it was tried in vain.
 * @param options Whether, when and how often.
 * @returns What came of it.
 * @throws The last error, when it is not worth another try or the signal has ended it.
 */
export async function retry<T>(work: (tries: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, signal, backoff = SERVICE_BACKOFF, when = (error) => recoveryOf(error) !== "none", failed } = options;
  for (let tries = 0;;) {
    try {
      return await work(tries);
    } catch (error) {
      tries++;
      if (signal?.aborted || !when(error, tries)) throw error;
      failed?.(error, tries);
      await clock.sleep(pauseBefore(tries, backoff, clock.random()), signal);
      if (signal?.aborted) throw error;
    }
  }
}

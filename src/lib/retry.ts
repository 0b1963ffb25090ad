import { recoveryOf } from "./annals_error.ts";
import type { Clock } from "./clock.ts";

/** Exponential backoff in milliseconds: doubles up to a maximum, with half of each delay random. */
export interface Backoff {
  /** The first delay. */
  readonly first: number;
  /** The longest delay. */
  readonly longest: number;
}

/** The backoff for unavailable services. */
export const SERVICE_BACKOFF: Backoff = { first: 50, longest: 5_000 };

/** The backoff for write conflicts, which pass within milliseconds. */
export const CONFLICT_BACKOFF: Backoff = { first: 2, longest: 64 };

/**
 * Computes the delay before the next attempt.
 *
 * @param tries The number of failed attempts.
 * @param backoff The backoff.
 * @param random A number from 0 to 1.
 * @returns Milliseconds.
 */
export function pauseBefore(tries: number, { first, longest }: Backoff, random: number): number {
  return Math.min(longest, first * 2 ** Math.min(tries - 1, 20)) * (0.5 + random / 2);
}

/** Settings of {@linkcode retry}. */
export interface RetryOptions {
  /** The source of time and randomness. */
  readonly clock: Clock;
  /** Aborts the retries; the last error is thrown. */
  readonly signal?: AbortSignal;
  /** The backoff. @default {SERVICE_BACKOFF} */
  readonly backoff?: Backoff;
  /** Whether to retry after an error. @default {whether waiting may help} */
  readonly when?: (error: unknown, tries: number) => boolean;
  /** Called before each delay. */
  readonly failed?: (error: unknown, tries: number) => void;
}

/**
 * Retries an operation until it succeeds; all retries go through here.
 *
 * @param work The operation; receives the number of failed attempts.
 * @param options When and how to retry.
 * @returns The operation's result.
 * @throws The last error, if it is not retried or the signal was aborted.
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

import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import type { Clock } from "../lib/clock.ts";
import { retry } from "../lib/retry.ts";
import type { Report } from "../telemetry/events.ts";

/** Dependencies of a retry. */
export interface Retrying {
  /** The source of time and randomness. */
  readonly clock: Clock;
  /** Aborts the retries. */
  readonly signal: AbortSignal;
  /** Receives failures as engine events. */
  readonly report: Report;
  /** The group that it is for. @default {the engine as a whole} */
  readonly group?: string;
}

/**
 * Runs an operation, retrying while the service it needs is unavailable.
 *
 * @param work The operation.
 * @param retrying Clock, abort signal and listener; on abort, the last error is thrown.
 * @returns The operation's result.
 * @throws Errors that waiting cannot fix.
 */
export async function retryUntilUp<T>(
  work: () => Promise<T>,
  { report, group = "", ...options }: Retrying,
): Promise<T> {
  let said = "";
  const result = await retry(work, {
    ...options,
    failed: (error) => {
      const text = messageOf(error);
      if (text !== said) report({ type: "service.away", group, error: text });
      said = text;
    },
  });
  if (said !== "") report({ type: "service.back", group });
  return result;
}

/**
 * Repeats an operation until it succeeds; every failure is reported and retried.
 *
 * @param work The operation; returns `again` if it is not finished.
 * @param retrying Clock, abort signal and listener.
 */
export async function retryForever(
  work: () => Promise<void | "again">,
  { report, group = "", ...options }: Retrying,
): Promise<void> {
  const { signal } = options;
  let isDone = false;
  while (!isDone && !signal.aborted) {
    await retry(async () => void (isDone = await work() !== "again"), {
      ...options,
      when: () => true,
      failed: (error, tries) => {
        if (recoveryOf(error) === "none") report({ type: "engine.failed", error: messageOf(error) });
        else if (tries === 1) report({ type: "service.away", group, error: messageOf(error) });
      },
    }).catch((error) => {
      if (!signal.aborted) throw error;
    });
  }
}

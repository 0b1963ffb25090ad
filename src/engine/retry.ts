import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import type { Clock } from "../lib/clock.ts";
import { retry } from "../lib/retry.ts";
import type { Report } from "../telemetry/events.ts";

/** What retries need. */
export interface Retrying {
  /** Time and chance. */
  readonly clock: Clock;
  /** Ends them. */
  readonly signal: AbortSignal;
  /** Hears what went wrong. */
  readonly report: Report;
}

/**
 * Does what needs a service that may not be up yet.
 *
 * @param work What to do.
 * @param retrying Ends the waiting: what went wrong last is thrown.
 * @returns What came of it.
 * @throws What waiting cannot help.
 */
export async function retryUntilUp<T>(work: () => Promise<T>, { report, ...options }: Retrying): Promise<T> {
  let said = "";
  return await retry(work, {
    ...options,
    failed: (error) => {
      const text = messageOf(error);
      if (text !== said) report({ type: "service.away", group: "", error: text });
      said = text;
    },
  });
}

/**
 * Does something until it is done; what goes wrong is said and tried again, whatever it is.
 *
 * @param work What to do; `again` when it is not done.
 * @param retrying Ends it.
 */
export async function retryForever(
  work: () => Promise<void | "again">,
  { report, ...options }: Retrying,
): Promise<void> {
  const { signal } = options;
  let isDone = false;
  while (!isDone && !signal.aborted) {
    await retry(async () => void (isDone = await work() !== "again"), {
      ...options,
      when: () => true,
      failed: (error, tries) => {
        if (recoveryOf(error) === "none") report({ type: "engine.failed", error: messageOf(error) });
        else if (tries === 1) report({ type: "service.away", group: "", error: messageOf(error) });
      },
    }).catch((error) => {
      if (!signal.aborted) throw error;
    });
  }
}

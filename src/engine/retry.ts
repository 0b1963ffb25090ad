import { sleep } from "../lib/sleep.ts";
import { BrokerUnavailableError } from "../broker/errors.ts";
import { StoreUnavailableError } from "../store/errors.ts";

/** Where it is said what is waited for. */
export type Say = (level: "info" | "warn" | "error", text: string) => void;

/** The longest pause between tries, in milliseconds. */
const LONGEST_PAUSE = 5_000;

function pauseOf(tries: number): number {
  return Math.min(LONGEST_PAUSE, 100 * 2 ** Math.min(tries, 6));
}

/**
 * Does what needs a service that may not be up yet.
 *
 * @param work What to do.
 * @param signal Ends the waiting: what went wrong last is thrown.
 * @param say Where it is said, once for each thing that is wrong.
 * @returns What came of it.
 * @throws What waiting cannot help.
 */
export async function retryUntilUp<T>(work: () => Promise<T>, signal: AbortSignal, say: Say): Promise<T> {
  let said = "";
  for (let tries = 0;; tries++) {
    try {
      return await work();
    } catch (error) {
      const { message, retryable = false } = error as Error & { retryable?: boolean };
      if (!retryable || signal.aborted) throw error;
      if (message !== said) say("warn", `${message}; waiting for it`);
      said = message;
      await sleep(pauseOf(tries), signal);
      if (signal.aborted) throw error;
    }
  }
}

/**
 * Does something until it is done; what goes wrong is said and tried again, whatever it is.
 *
 * @param work What to do; `again` when it is not done.
 * @param signal Ends it.
 * @param say Where it is said.
 */
export async function retryForever(work: () => Promise<void | "again">, signal: AbortSignal, say: Say): Promise<void> {
  for (let tries = 0;; tries++) {
    try {
      if (await work() !== "again") return;
      if (signal.aborted) return;
      tries = 0;
    } catch (error) {
      if (signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      const isAway = error instanceof StoreUnavailableError || error instanceof BrokerUnavailableError;
      if (tries === 0 || !isAway) say(isAway ? "warn" : "error", message);
      await sleep(pauseOf(tries), signal);
    }
  }
}

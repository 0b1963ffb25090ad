import type { EventStore } from "./port.ts";

/** How to wait for a change. */
export interface WaitForChange {
  /** The longest wait, in milliseconds: a notification may be lost. */
  readonly wait: number;
  /** Ends the wait. @default {never} */
  readonly signal?: AbortSignal;
  /** What counts as a change. @default {anything} */
  readonly what?: "anything" | "messages";
}

/**
 * Looks for something; if it is not there, waits for the next change. A write between looking and waiting is not missed.
 *
 * @param store The store.
 * @param look Looks; `null` if it is not there.
 * @param options How to wait.
 * @returns What was found; `null` after a change, or when the wait is over: then it is time to look again.
 */
export async function lookOrWait<T>(
  store: Pick<EventStore, "changed">,
  look: () => Promise<T | null>,
  { wait, signal, what = "anything" }: WaitForChange,
): Promise<T | null> {
  const stop = new AbortController();
  const changed = store.changed(
    Math.max(0, wait),
    signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
    what,
  );
  // The promise may never be awaited.
  changed.catch(() => {});
  try {
    const found = await look();
    if (found === null) await changed;
    return found;
  } finally {
    // Without a reason, `abort()` creates an exception with a stack each time.
    stop.abort("done");
  }
}

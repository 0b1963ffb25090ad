import { AsyncLocalStorage } from "node:async_hooks";

/** Where strays go that are nobody's fault who is in hand. */
export type OnLate = (position: number | null, error: unknown) => void;

/**
 * Errors that handlers let go: rejections that nobody waits for, errors thrown in timers. A rejection is known by the
 * message in whose handling its promise was made, also when that has long ended.
 */
export class Strays {
  #handling = new AsyncLocalStorage<number>();
  #inHand = new Set<number>();
  #found: { readonly error: unknown } | undefined;
  #late: OnLate;

  /**
   * Makes an empty collection.
   *
   * @param late Called with what comes when its message is no longer in hand; `null` when it cannot be told whose it is.
   */
  constructor(late: OnLate) {
    this.#late = late;
  }

  /** The handling of a message begins (its position), or nothing is in hand any more (0). */
  started(position: number): void {
    this.#handling.enterWith(position);
    if (position === 0) this.#inHand.clear();
    else this.#inHand.add(position);
  }

  /** Takes an error that nobody has caught. */
  add(error: unknown): void {
    const position = this.#handling.getStore() ?? 0;
    const isInHand = position === 0 ? this.#inHand.size > 0 : this.#inHand.has(position);
    if (isInHand) this.#found ??= { error };
    else this.#late(position === 0 ? null : position, error);
  }

  /** One of those whose message is in hand, since this was last asked. */
  take(): unknown {
    const found = this.#found;
    this.#found = undefined;
    return found?.error;
  }
}

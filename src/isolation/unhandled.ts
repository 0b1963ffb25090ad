import { AsyncLocalStorage } from "node:async_hooks";
import type { Watch } from "../handling/executor.ts";

/**
 * Receives rejections of messages that are no longer in flight: the session, the message (`null`: unknown), the error.
 */
export type OnLate = (session: string | null, position: number | null, error: unknown) => void;

interface Handling {
  readonly watch: SessionWatch;
  readonly position: number;
}

class SessionWatch implements Watch {
  readonly inHand = new Set<number>();
  found: { readonly error: unknown } | undefined;
  #current: AsyncLocalStorage<Handling>;
  #active: Set<SessionWatch>;

  constructor(readonly session: string, current: AsyncLocalStorage<Handling>, active: Set<SessionWatch>) {
    this.#current = current;
    this.#active = active;
  }

  started(position: number): void {
    this.#current.enterWith({ watch: this, position });
    if (position === 0) {
      this.inHand.clear();
      this.#active.delete(this);
      return;
    }
    this.inHand.add(position);
    this.#active.add(this);
  }

  takeStray(): unknown {
    const found = this.found;
    this.found = undefined;
    return found?.error;
  }
}

/**
 * Tracks unhandled rejections and errors thrown in timers. A rejection is attributed to the message whose handler
 * created the promise, even after that handler has finished.
 */
export class Unhandled {
  #current = new AsyncLocalStorage<Handling>();
  #active = new Set<SessionWatch>();
  #late: OnLate;

  /** @param late Called with errors whose message is no longer in flight. */
  constructor(late: OnLate) {
    this.#late = late;
  }

  /** Tracks one batch of a session. */
  watch(session: string): Watch {
    return new SessionWatch(session, this.#current, this.#active);
  }

  /** Attributes an uncaught error. */
  add(error: unknown): void {
    const handling = this.#current.getStore();
    const { watch, position } = handling ?? { watch: undefined, position: 0 };
    // Without a message, attribute it to the only batch in flight, if there is just one.
    const whose = position === 0 ? (this.#active.size === 1 ? [...this.#active][0] : undefined) : watch;
    const isInHand = position === 0 ? whose !== undefined : whose!.inHand.has(position);
    if (isInHand) whose!.found ??= { error };
    else this.#late(watch?.session ?? null, position === 0 ? null : position, error);
  }
}

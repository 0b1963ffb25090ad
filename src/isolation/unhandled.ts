import { AsyncLocalStorage } from "node:async_hooks";
import type { Watch } from "../handling/executor.ts";

/** Where rejections go that are nobody's fault who is in hand: the session, the message (`null`: unknown), the error. */
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
 * Unhandled rejections, and errors thrown in timers. A rejection is known by the message in whose handling its promise
 * was made, also when that has long ended.
 */
export class Unhandled {
  #current = new AsyncLocalStorage<Handling>();
  #active = new Set<SessionWatch>();
  #late: OnLate;

  /** @param late Called with what comes when its message is no longer in hand. */
  constructor(late: OnLate) {
    this.#late = late;
  }

  /** Watches over one batch of a session. */
  watch(session: string): Watch {
    return new SessionWatch(session, this.#current, this.#active);
  }

  /** Takes an error that nobody has caught. */
  add(error: unknown): void {
    const handling = this.#current.getStore();
    const { watch, position } = handling ?? { watch: undefined, position: 0 };
    // Without a message it is of whoever is in hand, if that is but one.
    const whose = position === 0 ? (this.#active.size === 1 ? [...this.#active][0] : undefined) : watch;
    const isInHand = position === 0 ? whose !== undefined : whose!.inHand.has(position);
    if (isInHand) whose!.found ??= { error };
    else this.#late(watch?.session ?? null, position === 0 ? null : position, error);
  }
}

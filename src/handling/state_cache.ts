import type { Loaded } from "../domain/context.ts";

/** A state folded from a stream. */
export interface Folded<State> {
  /** The state. */
  readonly state: State;
  /** The version of the last message that is in it; -1 if there is none. */
  readonly version: number;
  /** The id of that message. */
  readonly message: string | null;
  /** The version of the newest snapshot, as far as is known; -1 if there is none. */
  readonly snapshot: number;
}

/** A state that is kept. */
export interface Kept<State = unknown> extends Folded<State> {
  /** Whether nobody else can have changed it, as far as is known. */
  readonly trusted: boolean;
}

/** An LRU cache of aggregate states by stream. */
export class StateCache {
  #most: number;
  #states = new Map<string, Kept>();

  /**
   * Creates an empty cache.
   *
   * @param most The number of states to keep.
   */
  constructor(most = 10_000) {
    this.#most = most;
  }

  /** Returns the state of a stream, if cached. */
  get(stream: string): Kept | undefined {
    const found = this.#states.get(stream);
    if (found) {
      this.#states.delete(stream);
      this.#states.set(stream, found);
    }
    return found;
  }

  /** Caches the state of a stream. */
  set(
    stream: string,
    { state, version, message = null, snapshot = -1 }: Loaded<unknown> & Partial<Folded<unknown>>,
  ): void {
    this.#states.delete(stream);
    this.#states.set(stream, { state, version, message, snapshot, trusted: true });
    if (this.#states.size > this.#most) this.#states.delete(this.#states.keys().next().value!);
  }

  /** Marks a stream's state as stale after a foreign write, to be updated before use. */
  distrust(stream: string): void {
    const found = this.#states.get(stream);
    if (found) this.#states.set(stream, { ...found, trusted: false });
  }
}

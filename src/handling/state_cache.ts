import type { Loaded } from "../domain/context.ts";

/** An LRU cache of aggregate states by stream. */
export class StateCache {
  #most: number;
  #states = new Map<string, Loaded<unknown> & { readonly trusted: boolean }>();

  /**
   * Creates an empty cache.
   *
   * @param most The number of states to keep.
   */
  constructor(most = 10_000) {
    this.#most = most;
  }

  /** Returns the state of a stream, if cached. */
  get(stream: string): Loaded<unknown> & { readonly trusted: boolean } | undefined {
    const found = this.#states.get(stream);
    if (found) {
      this.#states.delete(stream);
      this.#states.set(stream, found);
    }
    return found;
  }

  /** Caches the state of a stream. */
  set(stream: string, { state, version }: Loaded<unknown>): void {
    this.#states.delete(stream);
    this.#states.set(stream, { state, version, trusted: true });
    if (this.#states.size > this.#most) this.#states.delete(this.#states.keys().next().value!);
  }

  /** Marks a stream's state as stale after a foreign write, to be updated before use. */
  distrust(stream: string): void {
    const found = this.#states.get(stream);
    if (found) this.#states.set(stream, { ...found, trusted: false });
  }
}

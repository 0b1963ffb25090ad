import type { Loaded } from "../domain/context.ts";

/** States of aggregates by stream, the least recently used ones forgotten. */
export class StateCache {
  #most: number;
  #states = new Map<string, Loaded<unknown> & { readonly trusted: boolean }>();

  /**
   * Makes an empty cache.
   *
   * @param most How many states to keep.
   */
  constructor(most = 10_000) {
    this.#most = most;
  }

  /** The state of a stream, when known. */
  get(stream: string): Loaded<unknown> & { readonly trusted: boolean } | undefined {
    const found = this.#states.get(stream);
    if (found) {
      this.#states.delete(stream);
      this.#states.set(stream, found);
    }
    return found;
  }

  /** Remembers the state of a stream. */
  set(stream: string, { state, version }: Loaded<unknown>): void {
    this.#states.delete(stream);
    this.#states.set(stream, { state, version, trusted: true });
    if (this.#states.size > this.#most) this.#states.delete(this.#states.keys().next().value!);
  }

  /** Somebody else wrote to a stream: its state is to be caught up before it is used. */
  distrust(stream: string): void {
    const found = this.#states.get(stream);
    if (found) this.#states.set(stream, { ...found, trusted: false });
  }
}

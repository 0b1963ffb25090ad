import { repaint } from "./screen.js";

/** Something that is read from the server: what is shown meanwhile stays, and only the latest question counts. */
export class Resource {
  value = null;
  error = null;
  isLoading = false;
  #asked = null;

  /** Reads it again. */
  async load(reader) {
    this.#asked?.abort();
    const asked = this.#asked = new AbortController();
    this.isLoading = true;
    repaint();
    try {
      const value = await reader(asked.signal);
      if (asked !== this.#asked) return null;
      [this.value, this.error] = [value, null];
      return value;
    } catch (error) {
      if (asked === this.#asked && error.name !== "AbortError") this.error = error;
      return null;
    } finally {
      if (asked === this.#asked) {
        this.isLoading = false;
        repaint();
      }
    }
  }

  /** Forgets it. */
  clear() {
    this.#asked?.abort();
    this.#asked = null;
    [this.value, this.error, this.isLoading] = [null, null, false];
  }
}

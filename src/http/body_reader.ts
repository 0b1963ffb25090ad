import { within } from "../lib/within.ts";

/** How long a body may take to arrive, in milliseconds. */
const PATIENCE = 10_000;

/** How much may be read at the same time, in bodies of the longest kind. */
const MOST_AT_ONCE = 4;

/** Reads bodies of requests that nobody vouches for yet: not for ever, and not without an end. */
export class BodyReader {
  #longest: number;
  #held = 0;

  /** @param longest The longest body, in bytes. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /**
   * Reads a body.
   *
   * @param request The request.
   * @returns Its text; or why it was not read to its end.
   */
  async read(request: Request): Promise<{ readonly text: string } | "too long" | "too slow" | "busy"> {
    if (Number(request.headers.get("content-length") ?? 0) > this.#longest) return "too long";
    const reader = request.body?.getReader();
    if (!reader) return { text: "" };
    let bytes = 0;
    try {
      const decoder = new TextDecoder();
      let text = "";
      const until = performance.now() + PATIENCE;
      while (true) {
        const part = await within(until - performance.now(), reader.read());
        if (part === undefined) return "too slow";
        if (part.done) return { text: text + decoder.decode() };
        bytes += part.value.length;
        this.#held += part.value.length;
        if (bytes > this.#longest) return "too long";
        if (this.#held > MOST_AT_ONCE * this.#longest) return "busy";
        text += decoder.decode(part.value, { stream: true });
      }
    } finally {
      this.#held -= bytes;
      // What is left of it is not read.
      await reader.cancel().catch(() => {});
    }
  }
}

import { within } from "../lib/within.ts";

/** How long a body may take to arrive, in milliseconds. */
const PATIENCE = 10_000;

/** How much may be read at the same time, in bodies of the longest kind, unless it is said. */
const MOST_AT_ONCE = 4;

/** Reads bodies of requests that nobody vouches for yet: not for ever, and not without an end. */
export class BodyReader {
  #longest: number;
  #mostAtOnce: number;
  #held = 0;

  /**
   * @param longest The longest body, in bytes.
   * @param mostAtOnce How many of them may be held at the same time.
   */
  constructor(longest: number, mostAtOnce = MOST_AT_ONCE) {
    this.#longest = longest;
    this.#mostAtOnce = mostAtOnce;
  }

  /**
   * Reads a body.
   *
   * @param request The request.
   * @returns Its text; or why it was not read to its end.
   */
  async read(request: Request): Promise<{ readonly text: string } | "too long" | "too slow" | "busy" | "no text"> {
    if (Number(request.headers.get("content-length") ?? 0) > this.#longest) return "too long";
    const reader = request.body?.getReader();
    if (!reader) return { text: "" };
    let bytes = 0;
    try {
      const decoder = new TextDecoder("utf-8", { fatal: true });
      let text = "";
      const until = performance.now() + PATIENCE;
      while (true) {
        const part = await within(until - performance.now(), reader.read());
        if (part === undefined) return "too slow";
        if (part.done) return { text: text + decoder.decode() };
        bytes += part.value.length;
        this.#held += part.value.length;
        if (bytes > this.#longest) return "too long";
        if (this.#held > this.#mostAtOnce * this.#longest) return "busy";
        text += decoder.decode(part.value, { stream: true });
      }
    } catch (error) {
      // What is not UTF-8 would be stored as something else; or whoever sent it has hung up.
      return error instanceof TypeError ? "no text" : "too slow";
    } finally {
      this.#held -= bytes;
      // What is left of it is not read.
      await reader.cancel().catch(() => {});
    }
  }
}

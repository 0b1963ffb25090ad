import { within } from "../lib/within.ts";

/** A body that is being read. */
interface Held {
  readonly since: number;
  bytes: number;
  isLeft: boolean;
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
}

/** How long a body may take to arrive before it makes room for others, in milliseconds. */
const SHARE = 1_000;

/** How long a body may take to arrive, in milliseconds. */
const PATIENCE = 10_000;

/** How much may be read at the same time, in bodies of the longest kind, unless it is said. */
const MOST_AT_ONCE = 4;

/** Reads bodies of requests that nobody vouches for yet: not for ever, and not without an end. */
export class BodyReader {
  #longest: number;
  #mostAtOnce: number;
  #held = new Set<Held>();

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
    const own: Held = { since: performance.now(), bytes: 0, isLeft: false, reader };
    this.#held.add(own);
    try {
      const decoder = new TextDecoder("utf-8", { fatal: true });
      let text = "";
      const until = own.since + PATIENCE;
      while (true) {
        const part = await within(until - performance.now(), reader.read());
        if (part === undefined) return "too slow";
        if (own.isLeft) return "busy";
        if (part.done) return { text: text + decoder.decode() };
        own.bytes += part.value.length;
        if (own.bytes > this.#longest) return "too long";
        if (!this.#hasRoom(own)) return "busy";
        text += decoder.decode(part.value, { stream: true });
      }
    } catch (error) {
      // What is not UTF-8 would be stored as something else; or whoever sent it has hung up.
      return error instanceof TypeError ? "no text" : "too slow";
    } finally {
      this.#held.delete(own);
      // What is left of it is not read.
      await reader.cancel().catch(() => {});
    }
  }

  /** Whether there is room for what was read; who is slow is left for it, so that a few who send nothing keep nobody out. */
  #hasRoom(own: Held): boolean {
    const most = this.#mostAtOnce * this.#longest;
    let held = 0;
    for (const { bytes } of this.#held) held += bytes;
    const slow = [...this.#held].filter((one) => one !== own && performance.now() - one.since > SHARE);
    for (const one of slow) {
      if (held <= most) break;
      one.isLeft = true;
      this.#held.delete(one);
      held -= one.bytes;
      void one.reader.cancel().catch(() => {});
    }
    return held <= most;
  }
}

import { LogQuota } from "./log_quota.ts";

/** The longest line that is not split, in characters. */
const LONGEST = 4_000;

/** Splits a process's output into lines and drops lines beyond a rate limit. */
export class LineReader {
  #line: (text: string) => void;
  #dropped: (lines: number) => void;
  #quota = new LogQuota(() => performance.now());

  /**
   * Creates a reader.
   *
   * @param line Called with each line.
   * @param dropped Called with the number of dropped lines once lines are accepted again.
   */
  constructor(line: (text: string) => void, dropped: (lines: number) => void) {
    this.#line = line;
    this.#dropped = dropped;
  }

  /** Reads until the stream ends. */
  async read(stream: ReadableStream<Uint8Array>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!.slice(0, LONGEST);
      for (const line of lines) this.#take(line);
    }
    if (rest !== "") this.#take(rest);
  }

  #take(line: string): void {
    if (line.trim() === "") return;
    const text = line.slice(0, LONGEST);
    if (!this.#quota.take(text.length)) return;
    const dropped = this.#quota.takeDropped();
    if (dropped > 0) this.#dropped(dropped);
    this.#line(text);
  }
}

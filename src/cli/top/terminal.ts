import process from "node:process";
import { emitKeypressEvents } from "node:readline";
import type { Size } from "./render.ts";
import type { Key } from "./state.ts";

// The other screen, so that what was there before comes back; without the cursor, and without breaking long lines.
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const REST_OF_LINE = "\x1b[K";
const REST_OF_SCREEN = "\x1b[J";

/** The exit codes of signals that ask to end. */
const SIGNALS: readonly (readonly [Deno.Signal, number])[] = Deno.build.os === "windows"
  ? [["SIGINT", 130]]
  : [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]];

/** What comes before a process ends that nobody has asked to: a crash has no `unload`. */
const ENDS = ["unload", "error", "unhandledrejection"] as const;

const encoder = new TextEncoder();

function write(text: string): void {
  const bytes = encoder.encode(text);
  for (let sent = 0; sent < bytes.length;) sent += Deno.stdout.writeSync(bytes.subarray(sent));
}

/** Receives what comes from the terminal. */
export interface Listening {
  /** A key was pressed. */
  readonly key: (key: Key) => void;
  /** The terminal has another size. */
  readonly resized: () => void;
  /** The process is asked to end. */
  readonly ended: (exitCode: number) => void;
}

/** A terminal that is drawn on, and is as it was before afterwards: also after an error, a signal, or `Deno.exit()`. */
export class Terminal implements Disposable {
  #drawn = "";
  #isOpen = true;
  #listening: Listening;
  #signals: readonly (readonly [Deno.Signal, () => void])[];

  /**
   * Takes the terminal.
   *
   * @param listening Receives what comes from it.
   */
  constructor(listening: Listening) {
    this.#listening = listening;
    for (const end of ENDS) globalThis.addEventListener(end, this.#restore);
    this.#signals = [
      ...SIGNALS.map(([signal, code]) => [signal, () => listening.ended(code)] as const),
      ...Deno.build.os === "windows" ? [] : [["SIGWINCH", this.#resized] as const],
    ];
    for (const [signal, work] of this.#signals) Deno.addSignalListener(signal, work);
    emitKeypressEvents(process.stdin);
    process.stdin.setRawMode(true);
    process.stdin.on("keypress", this.#pressed);
    process.stdin.on("end", this.#lost);
    process.stdin.resume();
    write(ENTER);
  }

  #pressed = (_text: string | undefined, key: Key): void => this.#listening.key(key);
  /** The terminal is gone, and nobody can press a key any more. */
  #lost = (): void => this.#listening.ended(129);
  #resized = (): void => {
    this.#drawn = "";
    this.#listening.resized();
  };

  /** Its size. */
  get size(): Size {
    return Deno.consoleSize();
  }

  /** Draws a frame; nothing is sent if it is the one that is there. */
  draw(lines: readonly string[]): void {
    const frame = HOME + lines.map((line) => line + REST_OF_LINE).join("\r\n") + REST_OF_SCREEN;
    if (frame === this.#drawn || !this.#isOpen) return;
    this.#drawn = frame;
    write(frame);
  }

  #restore = (): void => {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    try {
      process.stdin.setRawMode(false);
      write(LEAVE);
    } catch {
      // The terminal is gone.
    }
  };

  /** Gives it back. */
  [Symbol.dispose](): void {
    this.#restore();
    for (const end of ENDS) globalThis.removeEventListener(end, this.#restore);
    for (const [signal, work] of this.#signals) Deno.removeSignalListener(signal, work);
    process.stdin.off("keypress", this.#pressed);
    process.stdin.off("end", this.#lost);
    process.stdin.pause();
  }
}

import { fileURLToPath } from "node:url";
import { until } from "./server.ts";

const SCRIPT = fileURLToPath(new URL("./terminal.py", import.meta.url));

/** Whether a program can be run in a terminal here: that takes Python. */
export function canOpenTerminal(): boolean {
  try {
    return new Deno.Command("python3", { args: ["-c", "import termios"], stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** How a program in a terminal ended. */
export interface TerminalEnd {
  /** Its exit code. */
  readonly code: number;
  /** Whether the terminal had other settings when keys were pressed. */
  readonly was_raw: boolean;
  /** Whether it has the settings that it had before. */
  readonly is_restored: boolean;
}

/** A program in a pseudo terminal. */
export class TerminalProgram {
  /** Everything it has written. */
  output = "";
  #child: Deno.ChildProcess;
  #input: WritableStreamDefaultWriter<Uint8Array>;
  #reading: Promise<void>;
  #said: Promise<string>;

  /** Starts it. */
  constructor(command: readonly string[], cwd: string, size: { rows: number; columns: number }) {
    const child = this.#child = new Deno.Command("python3", {
      args: [SCRIPT, String(size.rows), String(size.columns), ...command],
      cwd,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = child.stdin.getWriter();
    this.#reading = (async () => {
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) this.output += text;
    })();
    this.#said = new Response(child.stderr).text();
  }

  #do(what: object): Promise<void> {
    return this.#input.write(new TextEncoder().encode(`${JSON.stringify(what)}\n`));
  }

  /** Presses keys. */
  async press(keys: string): Promise<void> {
    await this.#do({ keys });
  }

  /** Gives it another size. */
  async resize(rows: number, columns: number): Promise<void> {
    await this.#do({ size: [rows, columns] });
  }

  /** Sends it a signal. */
  async signal(signal: "SIGTERM" | "SIGINT"): Promise<void> {
    await this.#do({ signal });
  }

  /** The last frame that was drawn in full, as its lines without colours. */
  get screen(): string[] {
    const frames = this.output.split("\x1b[H").slice(1).filter((frame) => frame.includes("\x1b[J"));
    // deno-lint-ignore no-control-regex
    const text = (frames.at(-1) ?? "").split("\x1b[J")[0].replaceAll(/\x1b\[[\d;?]*[A-Za-z]/g, "");
    return text.split(/\r*\n/);
  }

  /** Waits until something is on the screen. */
  async shows(what: RegExp): Promise<void> {
    await until(() => what.test(this.screen.join("\n")), () => `${what} in\n${this.screen.join("\n")}`);
  }

  /** Waits until it has ended. */
  async ended(): Promise<TerminalEnd> {
    await this.#reading;
    const said = await this.#said;
    await this.#input.close().catch(() => {});
    await this.#child.status;
    return JSON.parse(said.slice(said.lastIndexOf("{")));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#reading;
    await this.#said;
    await this.#child.status;
  }
}

import { sleep } from "../async/sleep.ts";
import { ownFlags } from "./own_flags.ts";

/** The exit code that means: start me again. */
export const START_AGAIN = 75;

/** Set in the engine's environment: its stdin is the launcher's hand. */
export const LAUNCHED = "ANNALS_LAUNCHED";

/** Exit codes that are the engine's last word: done, cannot start, wrong usage. */
const FINAL = [0, 1, 2];

/** The longest pause before the engine is started again, in milliseconds. */
const LONGEST_PAUSE = 10_000;

/** An engine that lived so long has recovered, in milliseconds. */
const HEALTHY = 60_000;

/** Settings of {@linkcode launch}. */
export interface LaunchOptions {
  /** The server's module: a URL. */
  readonly server: string;
  /** The engine's arguments. */
  readonly args: readonly string[];
  /** The engine's heap, in MiB. */
  readonly maxHeapMb: number;
  /** Where the launcher's lines go. */
  readonly log: (level: "warn" | "error", text: string) => void;
}

/**
 * Starts the engine in a process of its own, hands on signals, and starts it again when it ends otherwise than asked.
 *
 * The engine ends when this process does: its stdin is a pipe from here, and closes with it.
 *
 * @param options What to start.
 * @returns The exit code.
 */
export async function launch(options: LaunchOptions): Promise<number> {
  const { server, args, maxHeapMb, log } = options;
  const flags = ownFlags();
  if (!flags.includes("--unstable-worker-options")) flags.push("--unstable-worker-options");
  const stop = new AbortController();
  let signals = 0;
  let tell = (_word: string): void => {};
  const onSignal = (): void => {
    stop.abort();
    tell(++signals > 1 ? "abort\n" : "stop\n");
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  for (let failures = 0;;) {
    const started = performance.now();
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        ...flags,
        `--v8-flags=--max-old-space-size=${maxHeapMb}`,
        server,
        ...args,
      ],
      env: { [LAUNCHED]: "1" },
      stdin: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    tell = (word) => void writer.write(new TextEncoder().encode(word)).catch(() => {});
    if (signals > 0) tell(signals > 1 ? "abort\n" : "stop\n");
    const { code, signal } = await child.status;
    await writer.close().catch(() => {});
    if (signal === null && FINAL.includes(code)) return code;
    if (stop.signal.aborted) return signals > 1 ? 0 : 1;
    failures = performance.now() - started > HEALTHY ? 1 : failures + 1;
    const pause = Math.min(LONGEST_PAUSE, 100 * 2 ** (failures - 1));
    const why = signal !== null
      ? `was ended by ${signal}`
      : code === START_AGAIN
      ? "asked to be replaced"
      : `ended with code ${code}`;
    log("error", `The engine ${why}; starting it again in ${pause / 1000} s. Nothing is lost: it goes on where it was`);
    await sleep(pause, stop.signal);
    if (stop.signal.aborted) return 0;
  }
}

/**
 * Listens to the launcher.
 *
 * @param on What to do: `stop` in order, `abort` at once, or `orphaned`: the launcher is gone.
 */
export async function listenToLauncher(
  on: { readonly stop: () => void; readonly abort: () => void; readonly orphaned: () => void },
): Promise<void> {
  let text = "";
  try {
    for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (text.includes("abort\n")) return on.abort();
      if (text.includes("stop\n")) on.stop();
    }
  } catch {
    // The pipe broke: the same as its end.
  }
  on.orphaned();
}

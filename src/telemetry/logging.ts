import { configureSync, type LogRecord } from "@logtape/logtape";
import { type ColorSupport, paint } from "./colors.ts";
import { escapeControl } from "./escape.ts";
import type { LogLevel } from "./log_line.ts";

/** The format of log lines. */
export type LogFormat = "text" | "json";

/** Settings of {@linkcode configureLogging}. */
export interface LoggingOptions {
  /** The format. @default {"text"} */
  readonly format?: LogFormat;
  /** The minimum severity. @default {"info"} */
  readonly level?: LogLevel;
}

const encoder = new TextEncoder();

/** Writes a whole line to stderr, which keeps logs apart from command output. */
function write(line: string): void {
  const bytes = encoder.encode(line + "\n");
  try {
    for (let written = 0; written < bytes.length;) written += Deno.stderr.writeSync(bytes.subarray(written));
  } catch {
    // stderr is closed; the server keeps running without logs.
  }
}

function textOf({ level, category, message, properties, timestamp }: LogRecord, colors: ColorSupport): string {
  const time = new Date(timestamp).toISOString();
  const name = (level === "warning" ? "warn" : level).toUpperCase().padEnd(5);
  const color = level === "error" || level === "fatal" ? "red" : level === "warning" ? "yellow" : "none";
  const group = category.slice(1).join(".").trimEnd();
  const fields = Object.entries(properties)
    .map(([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`).join("");
  const text = escapeControl(`${group ? `${group}: ` : ""}${message.join("")}`);
  return `${paint(time, "dim", colors)} ${paint(name, color, colors)} ${text}${
    paint(escapeControl(fields), "dim", colors)
  }`;
}

/** Fields present on every line. */
const OWN = ["time", "level", "group", "message"];

function jsonOf({ level, category, message, properties, timestamp }: LogRecord): string {
  const own = {
    time: new Date(timestamp).toISOString(),
    level: level === "warning" ? "warn" : level,
    ...(category.length > 1 && { group: category.slice(1).join(".").trimEnd() }),
    message: message.join(""),
  };
  // A handler's fields must not overwrite the server's.
  const added = Object.entries(properties).map(([key, value]) => [OWN.includes(key) ? `${key}_` : key, value]);
  return JSON.stringify({ ...own, ...Object.fromEntries(added) });
}

/**
 * Sends the log of this process to stderr.
 *
 * @param options Format and minimum severity.
 */
export function configureLogging(options: LoggingOptions = {}): void {
  const { format = "text", level = "info" } = options;
  const colors: ColorSupport = { enabled: Deno.stderr.isTerminal() && !Deno.noColor };
  configureSync({
    reset: true,
    sinks: { stderr: (record) => write(format === "json" ? jsonOf(record) : textOf(record, colors)) },
    loggers: [
      { category: ["annals"], sinks: ["stderr"], lowestLevel: level === "warn" ? "warning" : level },
      { category: ["logtape", "meta"], sinks: [], lowestLevel: "fatal" },
    ],
  });
}

import { getLogger } from "@logtape/logtape";

/** How severe a line of the log is. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/**
 * Writes one line of the log.
 *
 * @param group The consumer group; empty for the engine itself.
 * @param level The severity.
 * @param text The message.
 * @param fields Structured fields.
 */
export function logLine(group: string, level: LogLevel, text: string, fields: Record<string, unknown> = {}): void {
  // LogTape looks categories up in plain objects: a name like "constructor" must not find what all objects have.
  const name = group in {} ? `${group} ` : group;
  const logger = getLogger(group === "" ? ["annals"] : ["annals", name]);
  // Escape braces: the text is not a LogTape template.
  const escaped = text.replaceAll("{", "{{").replaceAll("}", "}}");
  logger[level](escaped, fields);
}

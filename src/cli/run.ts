import { AnnalsError } from "../lib/annals_error.ts";
import { CommanderError, InvalidArgumentError } from "commander";
import { ConfigError } from "../config/errors.ts";

/** Thrown when the health check fails. */
export class HealthError extends AnnalsError {
  /** Always `HealthError`. */
  override readonly name = "HealthError";
}

/** Thrown when something was found that somebody has to act on; it was printed already. */
export class FindingsError extends AnnalsError {
  /** Always `FindingsError`. */
  override readonly name = "FindingsError";
}

/** Thrown when a signal has ended a command, which has tidied up. */
export class EndedError extends Error {
  /**
   * Creates the error.
   *
   * @param code The exit code, like 143 for SIGTERM.
   */
  constructor(readonly code: number) {
    super(`Ended by a signal (exit code ${code})`);
  }
}

/** Thrown when the command line names something that does not exist. */
export class UsageError extends AnnalsError {
  /** Always `UsageError`. */
  override readonly name = "UsageError";

  /** Always 2: wrong usage. */
  override readonly exitCode = 2;
}

/** Parses an option that is a whole number. */
export function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("Expected a whole number.");
  return Number(text);
}

/** Parses a time: ISO 8601, or an age such as `15m`, `2h`, `3d`. */
export function since(text: string): number {
  const ago = /^(\d+)([smhd])$/.exec(text);
  if (ago) return Date.now() - Number(ago[1]) * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[ago[2] as "s" | "m" | "h" | "d"];
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new InvalidArgumentError("Expected a time like 2026-01-31T12:00:00Z, or 15m, 2h, 3d.");
  return time;
}

/**
 * Runs a command and turns errors into a message and an exit code: 0 success, 1 failure, 2 wrong usage or
 * configuration.
 *
 * @param work The command; its result is the exit code (default 0).
 * @returns The exit code.
 */
export async function runCommand(work: () => Promise<number | void>): Promise<number> {
  try {
    return await work() ?? 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof EndedError) return error.code;
    if (!(error instanceof AnnalsError)) {
      console.error(error);
      return 1;
    }
    if (error instanceof FindingsError) return error.exitCode;
    const start = error instanceof ConfigError ? "error: " : "";
    for (const line of error.message.split("\n")) console.error(`${start}${line}`);
    return error.exitCode;
  }
}

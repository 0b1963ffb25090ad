import { AnnalsError } from "../lib/annals_error.ts";
import { CommanderError } from "commander";
import { ConfigError } from "../config/errors.ts";

/** What should run does not. */
export class HealthError extends AnnalsError {
  /** Always `HealthError`. */
  override readonly name = "HealthError";
}

/** The command line asks for something that there is not. */
export class UsageError extends AnnalsError {
  /** Always `UsageError`. */
  override readonly name = "UsageError";

  /** Always 2: wrong usage. */
  override readonly exitCode = 2;
}

/**
 * Runs a command and turns what it throws into a message and an exit code: 0 done, 1 it did not work, 2 wrong usage or
 * configuration.
 *
 * @param work The command; its result is the exit code, 0 when it returns nothing.
 * @returns The exit code.
 */
export async function runCommand(work: () => Promise<number | void>): Promise<number> {
  try {
    return await work() ?? 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof AnnalsError)) {
      console.error(error);
      return 1;
    }
    const start = error instanceof ConfigError ? "error: " : "";
    for (const line of error.message.split("\n")) console.error(`${start}${line}`);
    return error.exitCode;
  }
}

import { CommanderError } from "commander";
import { ConfigError } from "../config/errors.ts";

/** Errors that a person can do something about: their message is enough. */
const EXPECTED: Record<string, number> = {
  ConfigError: 2,
  UsageError: 2,
  PayloadError: 2,
  EngineStartError: 1,
  StoreUnavailableError: 1,
  BrokerUnavailableError: 1,
  DomainRuleError: 1,
  DomainDefinitionError: 1,
  HealthError: 1,
};

/** What should run does not. */
export class HealthError extends Error {
  /** Always `HealthError`. */
  override readonly name = "HealthError";
}

/** The command line asks for something that there is not. */
export class UsageError extends Error {
  /** Always `UsageError`. */
  override readonly name = "UsageError";
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
    const { name, message, usage } = error as Error & { usage?: boolean };
    const code = EXPECTED[name];
    if (code === undefined) {
      console.error(error);
      return 1;
    }
    for (const line of message.split("\n")) console.error(error instanceof ConfigError ? `error: ${line}` : line);
    return usage ? 2 : code;
  }
}

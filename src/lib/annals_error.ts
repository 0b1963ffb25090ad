/**
 * Whether retrying may help. `wait`: retry later, nothing was done. `unsure`: retry later, but the outcome is unknown:
 * it may have been done or may still be. `none`: retrying will not help.
 */
export type Recovery = "wait" | "unsure" | "none";

/** The base class of this package's errors, whose messages say what was found and what to do. */
export abstract class AnnalsError extends Error {
  /** Whether retrying may help. */
  get recovery(): Recovery {
    return "none";
  }

  /** The exit code of a command that fails with it: 1 failure, 2 wrong usage or configuration. */
  readonly exitCode: 1 | 2 = 1;
}

/** Returns whether retrying may help. Decided by class; errors thrown by handlers never get here.
 *
 * @param error The error.
 */
export function recoveryOf(error: unknown): Recovery {
  return error instanceof AnnalsError ? error.recovery : "none";
}

/**
 * Formats an error for reports; the name is included unless it is an error of this package.
 *
 * @param error The error.
 */
export function messageOf(error: unknown): string {
  return error instanceof AnnalsError ? error.message : String(error);
}

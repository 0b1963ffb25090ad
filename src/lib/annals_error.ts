/**
 * Whether doing the same again may help. `wait`: it may work later, and nothing was done. `unsure`: it may work later, and
 * nobody knows whether it was done, or will be. `none`: it will not help.
 */
export type Recovery = "wait" | "unsure" | "none";

/** An error that this package explains: what was found, and what to do. */
export abstract class AnnalsError extends Error {
  /** Whether doing the same again may help. */
  get recovery(): Recovery {
    return "none";
  }

  /** What a command that ends with it exits with: 1 it did not work, 2 wrong usage or configuration. */
  readonly exitCode: 1 | 2 = 1;
}

/**
 * Whether doing the same again may help. Told by class: what a handler threw never gets here, whatever it is called.
 *
 * @param error What was thrown.
 */
export function recoveryOf(error: unknown): Recovery {
  return error instanceof AnnalsError ? error.recovery : "none";
}

/**
 * What an error says, for reports: errors of this package explain themselves, of others the name says something too.
 *
 * @param error What was thrown.
 */
export function messageOf(error: unknown): string {
  return error instanceof AnnalsError ? error.message : String(error);
}

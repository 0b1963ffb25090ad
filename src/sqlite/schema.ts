/** Why a file cannot be used. */
export type Reason =
  | "locked"
  | "full"
  | "foreign"
  | "newer"
  | "damaged"
  | "missing"
  | "read-only"
  | "closed"
  | "failed";

/** The tables of one kind of file. */
export interface Schema {
  /**
   * Creates the owner's error, from a message (what was being done, what was found, what to do), a reason and whether
   * retrying can help.
   */
  readonly unavailable: (message: string, reason: Reason, retryable: boolean) => Error;
  /** The application id that identifies this kind of file. */
  readonly applicationId: number;
  /** The migrations. A released migration is never edited: changes are new migrations. */
  readonly migrations: readonly { readonly name: string; readonly sql: string }[];
}

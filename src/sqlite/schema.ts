/** What is wrong with a file. */
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
  /** Makes the error of whoever has the file: what was being done, what was found, what to do; whether waiting can help. */
  readonly unavailable: (message: string, reason: Reason, retryable: boolean) => Error;
  /** Marks a file as ours, and as of this kind. */
  readonly applicationId: number;
  /** How the tables came to be what they are. A migration is never edited once released: changes are new ones. */
  readonly migrations: readonly { readonly name: string; readonly sql: string }[];
}

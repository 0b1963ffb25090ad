/** How long a member stays in the table after it has expired, in milliseconds. */
export const FORGOTTEN = 60_000;

/** No lease or membership is taken for longer, in milliseconds: what lasts longer is from before the clock was set back. */
export const LONGEST_LEASE = 60_000;

/** The longest that a request may wait, in seconds. */
const LONGEST_WAIT = 60;

/**
 * Reads how long the sender of a request wants to wait (RFC 7240).
 *
 * @param prefer The header `Prefer`, like `wait=2`.
 * @returns Seconds, up to a minute; `null` if it does not say.
 */
export function waitOf(prefer: string | undefined): number | null {
  const seconds = /(?:^|[,;\s])wait\s*=\s*"?(\d{1,9}(?:\.\d{1,3})?)"?\s*(?:$|[,;])/i.exec(prefer ?? "")?.[1];
  return seconds === undefined ? null : Math.min(Number(seconds), LONGEST_WAIT);
}

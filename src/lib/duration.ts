/** A length of time, like `90s` or `25h`. */
export type Duration = `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The longest, in milliseconds: what is later than in a thousand years is a mistake. */
const LONGEST = 1_000 * 365 * UNITS.d;

/**
 * Returns the milliseconds of a length of time.
 *
 * @param duration The length.
 * @returns A whole number, 0 or more.
 * @throws {RangeError} If it is no length of time.
 */
export function millisecondsOf(duration: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(duration)) ?? [];
  const milliseconds = unit === undefined ? NaN : Math.round(Number(amount) * UNITS[unit]);
  if (milliseconds <= LONGEST) return milliseconds;
  throw new RangeError(`"${duration}" is no length of time; write it like "90s", "25h" or "30d"`);
}

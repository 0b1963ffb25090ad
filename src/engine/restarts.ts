import type { Ends } from "../store/port.ts";

/** How often a worker may end within a minute before its group rests, beyond the group's own retries. */
const MOST_ENDS = 5;

/** Ends that are older count no more, in milliseconds. */
const WINDOW = 60_000;

/** How long a group rests, in milliseconds; twice as long each time, up to the longest. */
const REST = 60_000;
const LONGEST_REST = 3_600_000;

/** The longest pause before a worker is started again, in milliseconds. */
const LONGEST_PAUSE = 5_000;

/** A group that went without an end for so long after a rest begins with the shortest one again, in milliseconds. */
const RECOVERED = 600_000;

/**
 * Counts one more end of a worker.
 *
 * @param ends The ends before; `null` for none.
 * @param now The time, in milliseconds since 1970.
 * @param reason Why it ended.
 * @param retries How many more the group's own retries allow for.
 * @returns The ends now; they say whether the group rests.
 */
export function countEnd(ends: Ends | null, now: number, reason: string, retries: number): Ends {
  const at = [...ends?.at ?? [], now].filter((time) => time > now - WINDOW);
  const hasRecovered = ends !== null && now - ends.restingUntil > RECOVERED;
  const rests = hasRecovered ? 0 : ends?.rests ?? 0;
  if (at.length <= MOST_ENDS + retries) {
    return { at, rests, restingUntil: hasRecovered ? 0 : ends?.restingUntil ?? 0, reason };
  }
  const rest = Math.min(LONGEST_REST, REST * 2 ** rests);
  return { at, rests: rests + 1, restingUntil: now + rest, reason };
}

/** How long to wait before a worker is started again, in milliseconds: longer when it has ended often. */
export function pauseAfter({ at, restingUntil }: Ends, now: number): number {
  if (restingUntil > now) return restingUntil - now;
  return Math.min(LONGEST_PAUSE, 100 * 2 ** (at.length - 1));
}

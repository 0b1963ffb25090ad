import type { Ends } from "../store/port.ts";

/** How many times a worker may end within a minute, beyond the group's retries, before the group rests. */
const MOST_ENDS = 5;

/** Ends older than this are ignored, in milliseconds. */
const WINDOW = 60_000;

/** The first rest of a group, in milliseconds; doubles each time, up to the longest. */
const REST = 60_000;
const LONGEST_REST = 3_600_000;

/** The longest delay before a worker is restarted, in milliseconds. */
const LONGEST_PAUSE = 5_000;

/** After this long without an end, rests start from the shortest again, in milliseconds. */
const RECOVERED = 600_000;

/**
 * Records the end of a worker.
 *
 * @param ends The previous ends; `null` for none.
 * @param now The current time, in milliseconds since 1970.
 * @param reason Why it ended.
 * @param retries The number of further ends that the group's retries allow.
 * @returns The updated ends, including whether the group rests.
 */
export function countEnd(ends: Ends | null, now: number, reason: string, retries: number): Ends {
  // The clock may have been set back.
  const at = [...ends?.at ?? [], now].filter((time) => time > now - WINDOW && time <= now);
  const hasRecovered = ends !== null && now - ends.restingUntil > RECOVERED;
  const rests = hasRecovered ? 0 : ends?.rests ?? 0;
  if (at.length <= MOST_ENDS + retries) {
    // Whoever works does not rest any more, whatever the clock says.
    return { at, rests, restingUntil: hasRecovered ? 0 : Math.min(ends?.restingUntil ?? 0, now), reason };
  }
  return { at, rests: rests + 1, restingUntil: now + lengthOf(rests + 1), reason };
}

/** The length of a group's nth rest, in milliseconds. */
function lengthOf(rests: number): number {
  return Math.min(LONGEST_REST, REST * 2 ** (rests - 1));
}

/** How much is left of a group's rest, in milliseconds, whatever the clock was set to meanwhile; at most 0 for none. */
export function restLeft({ rests, restingUntil }: Ends, now: number): number {
  return Math.min(restingUntil - now, lengthOf(rests));
}

/** The delay before a worker is restarted, in milliseconds; grows with the number of ends. */
export function pauseAfter(ends: Ends, now: number): number {
  const rest = restLeft(ends, now);
  return rest > 0 ? rest : Math.min(LONGEST_PAUSE, 100 * 2 ** (ends.at.length - 1));
}

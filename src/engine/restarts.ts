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
  const at = [...ends?.at ?? [], now].filter((time) => time > now - WINDOW);
  const hasRecovered = ends !== null && now - ends.restingUntil > RECOVERED;
  const rests = hasRecovered ? 0 : ends?.rests ?? 0;
  if (at.length <= MOST_ENDS + retries) {
    return { at, rests, restingUntil: hasRecovered ? 0 : ends?.restingUntil ?? 0, reason };
  }
  const rest = Math.min(LONGEST_REST, REST * 2 ** rests);
  return { at, rests: rests + 1, restingUntil: now + rest, reason };
}

/** The delay before a worker is restarted, in milliseconds; grows with the number of ends. */
export function pauseAfter({ at, restingUntil }: Ends, now: number): number {
  if (restingUntil > now) return restingUntil - now;
  return Math.min(LONGEST_PAUSE, 100 * 2 ** (at.length - 1));
}

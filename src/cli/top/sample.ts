import { groupsOf, type GroupStatus, groupStatuses, runningProcesses } from "../../operating/groups.ts";
import type { Operator } from "../../operating/operator.ts";
import { type OutboxStatus, outboxStatus } from "../../operating/outbox.ts";

/** What was seen at one moment. */
export interface Sample {
  /** When, in milliseconds of a clock that only goes forward. */
  readonly at: number;
  /** The same, in milliseconds since 1970. */
  readonly time: number;
  /** The position of the last message. */
  readonly position: number;
  /** The groups. */
  readonly groups: readonly GroupStatus[];
  /** How many messages each group was given since the sample before. */
  readonly arrived: Readonly<Record<string, number>>;
  /** The processes that run the domain. */
  readonly processes: readonly string[];
  /** What has not reached the broker yet. */
  readonly outbox: OutboxStatus;
}

/**
 * Looks at a domain.
 *
 * @param operator The domain.
 * @param before The sample before; `null` if there is none.
 */
export async function take(operator: Operator, before: Sample | null): Promise<Sample> {
  const { store } = operator;
  const at = performance.now();
  const reading = await groupsOf(operator);
  const categories = [...new Set(reading.flatMap((group) => group.categories))];
  const position = await store.lastPosition();
  const counted = before === null || before.position === position
    ? []
    : await store.lags(categories.map((category) => ({ category, after: before.position })));
  const arrivedIn = new Map(counted.map(({ messages }, i) => [categories[i], messages]));
  const arrived = Object.fromEntries(reading.map((group) => [
    group.name,
    group.categories.reduce((sum, category) => sum + (arrivedIn.get(category) ?? 0), 0),
  ]));
  const [groups, processes, outbox] = await Promise.all([
    groupStatuses(operator),
    runningProcesses(operator),
    outboxStatus(operator),
  ]);
  return { at, time: Date.now(), position, groups, arrived, processes, outbox };
}

/** Messages a second. */
export interface Rates {
  /** Given to a group. */
  readonly in: number;
  /** Done by it: handled, deferred or given up. */
  readonly out: number;
}

/** How many messages a second come and go, over some samples; `null` if there are too few. */
export function ratesOf(samples: readonly Sample[], group: string): Rates | null {
  const [first, last] = [samples[0], samples.at(-1)];
  if (samples.length < 2 || last!.at <= first.at) return null;
  const seconds = (last!.at - first.at) / 1_000;
  const arrived = samples.slice(1).reduce((sum, one) => sum + (one.arrived[group] ?? 0), 0);
  const lagIn = (sample: Sample) => sample.groups.find((one) => one.group === group)?.lagMessages ?? 0;
  return { in: arrived / seconds, out: Math.max(0, arrived + lagIn(first) - lagIn(last!)) / seconds };
}

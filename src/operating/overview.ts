import { type GroupStatus, groupStatuses } from "./groups.ts";
import type { Operator } from "./operator.ts";
import { type OutboxStatus, outboxStatus } from "./outbox.ts";

/** How a domain is doing, as its store knows it: the same whoever asks. */
export interface Overview {
  /** Its groups. */
  readonly groups: readonly GroupStatus[];
  /** What has not reached the broker yet. */
  readonly outbox: OutboxStatus;
  /** The number of processes that run it. */
  readonly members: number;
  /** The last position of the log. */
  readonly last: number;
}

/**
 * Determines how a domain is doing. The number of calls of the store does not depend on how many groups there are.
 *
 * @param operator The domain.
 * @param now The time, in milliseconds since 1970. @default {now}
 */
export async function overviewOf(operator: Operator, now: number = Date.now()): Promise<Overview> {
  const { store } = operator;
  const [groups, outbox, members, last] = await Promise.all([
    groupStatuses(operator, now),
    outboxStatus(operator, now),
    store.members(),
    store.lastPosition(),
  ]);
  return { groups, outbox, members: members.length, last };
}

import { RELAY_GROUP } from "../groups/watermark.ts";
import type { Operator } from "./operator.ts";

/** What has not reached the broker yet. */
export interface OutboxStatus {
  /** How many messages wait. */
  readonly waiting: number;
  /** The age of the first of them, in seconds. */
  readonly oldestSeconds: number;
  /** Everything up to this position has reached the broker. */
  readonly published: number;
  /** The process in which the relay runs; `null` if it does not. */
  readonly relay: string | null;
}

/**
 * Determines what has not reached the broker yet.
 *
 * @param operator The domain.
 * @param now The time, in milliseconds since 1970. @default {now}
 */
export async function outboxStatus(
  { store }: Pick<Operator, "store">,
  now: number = Date.now(),
): Promise<OutboxStatus> {
  const { waiting, oldest, published } = await store.outboxStatus();
  const relay = (await store.leases()).find((lease) => lease.name === RELAY_GROUP && lease.isHeld);
  return {
    waiting,
    oldestSeconds: oldest === null ? 0 : Math.max(0, now - oldest) / 1000,
    published,
    relay: relay?.owner ?? null,
  };
}

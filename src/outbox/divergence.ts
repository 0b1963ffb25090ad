import type { Broker, BrokerStreamInfo } from "../broker/port.ts";
import { Semaphore } from "../lib/semaphore.ts";
import type { EventStore } from "../store/port.ts";

/** How many streams are looked at at a time. */
const TOGETHER = 50;

/**
 * Returns whether a broker stream ends with a message that the log does not have, because the log was restored from a
 * backup.
 *
 * @param store The log.
 * @param info The state of the broker stream.
 */
export async function hasDiverged(store: EventStore, { last, lastId }: BrokerStreamInfo): Promise<boolean> {
  if (last === 0) return false;
  const [record] = await store.readLog({ after: last - 1, upTo: last, limit: 1, largest: 0 });
  // Trimmed messages are no longer delivered.
  return record === undefined || (lastId !== null && record.id !== lastId);
}

/**
 * Deletes broker copies that diverge from the log, before any group reads them.
 *
 * @param store The log.
 * @param broker The broker.
 * @param categories The categories that are read.
 * @returns The categories whose copies were deleted; the relay rebuilds them.
 */
export async function dropDivergedCopies(
  store: EventStore,
  broker: Broker,
  categories: readonly string[],
): Promise<string[]> {
  const lasts = await broker.lasts(categories);
  const filled = categories.filter((_, i) => lasts[i] > 0);
  const looks = new Semaphore(TOGETHER);
  const diverged = await Promise.all(
    filled.map((category) => looks.run(async () => await hasDiverged(store, await broker.describe(category)))),
  );
  const dropped = filled.filter((_, i) => diverged[i]);
  for (const category of dropped) await broker.remove(category);
  return dropped;
}

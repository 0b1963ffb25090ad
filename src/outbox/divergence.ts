import type { Broker, BrokerStreamInfo } from "../broker/port.ts";
import type { EventStore } from "../store/port.ts";

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
  categories: Iterable<string>,
): Promise<string[]> {
  const dropped: string[] = [];
  for (const category of categories) {
    if (!await hasDiverged(store, await broker.describe(category))) continue;
    await broker.remove(category);
    dropped.push(category);
  }
  return dropped;
}

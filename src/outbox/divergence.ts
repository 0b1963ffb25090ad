import type { Broker, BrokerStreamInfo } from "../broker/port.ts";
import type { EventStore } from "../store/port.ts";

/**
 * Whether a broker stream ends with something that the log does not have: the log was put back from a backup, and what
 * it had in the meantime is gone.
 *
 * @param store The log.
 * @param info What the broker stream holds.
 */
export async function hasDiverged(store: EventStore, { last, lastId }: BrokerStreamInfo): Promise<boolean> {
  if (last === 0) return false;
  const [record] = await store.readLog({ after: last - 1, upTo: last, limit: 1 });
  // What was trimmed is not delivered to anybody any more.
  return record === undefined || (lastId !== null && record.id !== lastId);
}

/**
 * Deletes copies that are not of this log, before anybody reads them.
 *
 * @param store The log.
 * @param broker The broker.
 * @param categories The categories that are read.
 * @returns The categories whose copies were deleted; the relay makes them again.
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

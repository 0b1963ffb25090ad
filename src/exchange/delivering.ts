import type { BatchItem, BatchResult, Failure } from "../handling/executor.ts";
import type { GroupWorker, HandlerSession } from "../handling/runner.ts";
import { overriding } from "../lib/overriding.ts";
import { StoppedError } from "../subscriptions/errors.ts";
import type { Courier, Delivery } from "./courier.ts";

/** Delivers what a batch has made, and lets what did not arrive fail like a message that was not handled. */
async function deliver(
  courier: Courier,
  result: BatchResult,
  items: readonly BatchItem[],
  signal: AbortSignal,
): Promise<BatchResult> {
  const { deliveries } = result.effects;
  if (deliveries.length === 0) return result;
  const indexes = new Map(items.map(({ record }, i) => [record.position, i]));
  const events = [...deliveries].sort((a, b) => a.position - b.position).map(({ position, event }): Delivery => {
    const { stream, id } = items[indexes.get(position)!].record;
    return { position, stream, id, event };
  });
  const { arrived, failed } = await courier.deliver(events, signal);
  if (signal.aborted && arrived.size + failed.size === 0) {
    throw new StoppedError(`Delivery to ${courier.place} ends`);
  }
  const isLeft = new Set(events.filter(({ position }) => !arrived.has(position)).map(({ position }) => position));
  // Nothing passes what did not arrive, in its stream.
  const from = new Map<string, number>();
  for (const { position, stream } of events) {
    if (isLeft.has(position)) from.set(stream, Math.min(position, from.get(stream) ?? Infinity));
  }
  const handled = result.handled.filter((i) => {
    const { stream, position } = items[i].record;
    return position < (from.get(stream) ?? Infinity);
  });
  const failures = new Map<number, Failure>(
    // What failed behind it is tried again behind it.
    [...result.failures].filter(([i]) => !(items[i].record.position > (from.get(items[i].record.stream) ?? Infinity))),
  );
  for (const [position, error] of failed) failures.set(indexes.get(position)!, { error, stack: null });
  const underWay = new Set(
    [...from.values()].filter((position) => !failed.has(position)).map((at) => indexes.get(at)!),
  );
  return { ...result, handled, failures, underWay };
}

/**
 * Lets a worker's effects for other systems be delivered before its batch counts as handled.
 *
 * @param worker The worker of a publisher.
 * @param courier Returns what delivers.
 * @param patiently Does something again while the service that it needs is away.
 */
export function delivering(
  worker: GroupWorker,
  courier: () => Promise<Courier>,
  patiently: <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>,
): GroupWorker {
  return overriding(worker, {
    open: () => {
      const session: HandlerSession = worker.open();
      return overriding(session, {
        run: async (items, signal) => {
          const result = await session.run(items, signal);
          if (result === "apart") return result;
          try {
            const one = await courier();
            return await patiently(() => deliver(one, result, items, signal), signal);
          } catch (error) {
            session.settle(false);
            throw error;
          }
        },
      });
    },
  });
}

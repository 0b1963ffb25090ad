import { sleep } from "../async/sleep.ts";
import type { Config } from "../config/config.ts";
import type { Domain } from "../domain/domain.ts";
import type { Handler } from "../domain/handlers.ts";
import { newId } from "../messages/ids.ts";
import type { EventStore } from "../store/port.ts";
import { EventStoreSubscription } from "../subscriptions/group.ts";
import { leaseName } from "../subscriptions/lane.ts";

/** How long another process may hold a group before it is not waited for any more, in milliseconds. */
const PATIENCE = 30_000;

/** How long a lease for this lasts, in milliseconds. */
const TTL = 30_000;

/**
 * Runs the handlers of a domain here: what follows from everything up to a position, from what they then send, and so
 * on until nothing more follows. A group that a server runs is left to it, and waited for.
 *
 * @param domain The domain.
 * @param store Its store.
 * @param config How groups are fed.
 * @param position The position to reach.
 */
export async function handleInline(domain: Domain, store: EventStore, config: Config, position: number): Promise<void> {
  const handlers = [...domain.handlers.values()];
  const [deciders, followers] = [true, false].map((decides) =>
    handlers.filter((handler) => (handler.kind === "command handler") === decides)
  );
  for (let upTo = position;;) {
    for (const handler of followers) await handleGroup(domain, handler, store, config, upTo);
    const last = await store.lastPosition();
    // Commands that were decided at once are not in the log: what is there was sent by handlers.
    const open = [];
    for (const handler of deciders) if (!await isDone(domain, handler, store, config, last)) open.push(handler);
    for (const handler of open) await handleGroup(domain, handler, store, config, last);
    if (open.length === 0) return;
    upTo = await store.lastPosition();
  }
}

/** Whether a handler has passed a position, in all categories that have something for it. */
export async function isDone(
  domain: Domain,
  handler: Handler,
  store: EventStore,
  config: Config,
  position: number,
): Promise<boolean> {
  const partitions = config.workers(handler.name, domain.categoriesOf(handler));
  for (let partition = 0; partition < partitions; partition++) {
    if (!await reached(domain, handler, store, partition, position)) return false;
  }
  return true;
}

async function handleGroup(
  domain: Domain,
  handler: Handler,
  store: EventStore,
  config: Config,
  position: number,
): Promise<void> {
  const partitions = config.workers(handler.name, domain.categoriesOf(handler));
  for (let partition = 0; partition < partitions; partition++) {
    const lease = leaseName(handler.name, partition, partitions);
    const until = performance.now() + PATIENCE;
    while (!await reached(domain, handler, store, partition, position)) {
      const request = { name: lease, group: handler.name, partitions, owner: `inline:${newId()}`, ttl: TTL };
      const granted = await store.acquireLease(request);
      if (granted) {
        const fence = { lease, token: granted.token };
        try {
          await new EventStoreSubscription({
            domain,
            handler,
            store,
            fence,
            partition,
            partitions,
            settings: config.groupConfig(handler.name).settings,
            outbox: config.enableOutbox,
            suspicious: !granted.clean,
          }).runUntil(position, new AbortController().signal);
        } finally {
          await store.releaseLease(fence, true);
        }
        break;
      }
      if (performance.now() > until) return;
      await sleep(5);
    }
  }
}

/** Whether a partition of a group has passed a position in all categories that have something for it. */
async function reached(
  domain: Domain,
  handler: Handler,
  store: EventStore,
  partition: number,
  position: number,
): Promise<boolean> {
  const checkpoints = await store.checkpoints(handler.name);
  for (const category of domain.categoriesOf(handler)) {
    const own = checkpoints.find((c) => c.category === category && c.partition === partition);
    const waiting = await store.readLog({ category, after: own?.position ?? 0, upTo: position, limit: 1 });
    if (waiting.length > 0) return false;
  }
  return true;
}

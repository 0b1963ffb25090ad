import { sleep } from "../lib/sleep.ts";
import { keptBy, knownProjections, placeGenerations } from "../projections/place.ts";
import { renamesOf } from "../groups/renames.ts";
import { placeStarts } from "../groups/starts.ts";
import { pendingSwap } from "../projections/swap.ts";
import type { Config } from "../config/config.ts";
import type { Domain, Handler } from "../domain/model.ts";
import { newId } from "../messages/ids.ts";
import type { EventStore } from "../store/port.ts";
import { EventStoreSubscription } from "../subscriptions/group.ts";
import { logTo } from "../telemetry/log_lines.ts";
import { logLine } from "../telemetry/log_line.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { isHalfImported } from "../transfer/import.ts";
import { leaseName } from "../groups/partition.ts";
import { hasPassed } from "../groups/progress.ts";

/** How long to wait for a group held by another process, in milliseconds. */
const PATIENCE = 30_000;

/** The lease duration, in milliseconds. */
const TTL = 30_000;

/**
 * Runs the handlers of a domain in this process: everything up to a position, then what they send, until nothing is
 * left. A group run by a server is left to it and awaited.
 *
 * @param domain The domain.
 * @param store Its store.
 * @param config The groups' settings.
 * @param position The position to reach.
 */
export async function handleInline(domain: Domain, store: EventStore, config: Config, position: number): Promise<void> {
  const handlers = [...domain.handlers.values()];
  const [deciders, followers] = [true, false].map((decides) =>
    // What is for other systems, a server delivers.
    handlers.filter(({ kind }) => !kind.writes.deliveries)
      .filter((handler) => (handler.kind.decidesFor(handler) !== null) === decides)
  );
  const isDone = (handler: Handler, upTo: number) => hasPassed(store, handler.name, domain.categoriesOf(handler), upTo);
  for (let upTo = position;;) {
    for (const handler of followers) await handleGroup(domain, handler, store, config, upTo);
    const last = await store.lastPosition();
    // Commands decided in this process are not in the log; those in the log were sent by handlers.
    const open = [];
    for (const handler of deciders) if (!await isDone(handler, last)) open.push(handler);
    for (const handler of open) await handleGroup(domain, handler, store, config, last);
    const end = await store.lastPosition();
    // Followers write for each other only where a domain has processes.
    if (open.length === 0 && (domain.parts.size === 0 || end === upTo)) return await swapInline(domain, store);
    upTo = end;
  }
}

/** Sees to where groups begin and which rows readers see, where no server does. */
export async function placeInline(domain: Domain, store: EventStore): Promise<void> {
  if (await isHalfImported(store)) {
    throw new DomainDefinitionError(
      `The store of domain "${domain.name}" has a part of an import: import the whole export first`,
    );
  }
  const handlers = [...domain.handlers.values()].filter(({ formerly }) => formerly !== undefined);
  const known = handlers.length === 0 ? [] : await store.checkpoints();
  for (const { name, formerly } of handlers) {
    for (const { from, to } of renamesOf(name, formerly!, known)) await store.renameGroup(from, to);
  }
  await placeGenerations(store, knownProjections(domain), false);
  const groups = [...domain.handlers.values()].map((handler) => ({
    name: handler.name,
    categories: domain.categoriesOf(handler),
    startsAt: handler.startsAt ?? "start",
  }));
  await placeStarts(store, groups);
}

/** Lets readers see the generations that were fed here and have what the ones before have. */
async function swapInline(domain: Domain, store: EventStore): Promise<void> {
  const all = await store.generations();
  for (const { handler, projection: { name: projection, version } } of keptBy(domain)) {
    const its = all.filter((one) => one.projection === projection);
    const pending = pendingSwap(its, version, ({ group }) => domain.handlers.has(group));
    if (!pending) continue;
    const { from: { generation: from }, to: { generation: to } } = pending;
    await store.swapGenerations({ projection, from, to, categories: domain.categoriesOf(handler), pin: false });
  }
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
    while (!await hasPassed(store, handler.name, domain.categoriesOf(handler), position)) {
      const request = { name: lease, group: handler.name, partitions, owner: `inline:${newId()}`, ttl: TTL };
      const granted = await store.acquireLease(request);
      if (granted) {
        const fence = { lease, token: granted.token };
        // If it is lost all the same, nothing is written under it any more.
        const renewing = setInterval(() => void store.renewLeases([fence], TTL).catch(() => {}), TTL / 3);
        let clean = granted.clean;
        try {
          const subscription = new EventStoreSubscription({
            domain,
            handler,
            store,
            fence,
            partition,
            partitions,
            settings: config.groupConfig(handler.name).settings,
            outbox: config.enableOutbox,
            quarantined: !granted.clean,
            report: logTo(logLine),
          });
          await subscription.runUntil(position, new AbortController().signal);
          // A crash before is dealt with only by what was tried again.
          clean ||= !subscription.isQuarantined;
        } finally {
          clearInterval(renewing);
          await store.releaseLease(fence, clean);
        }
        break;
      }
      if (performance.now() > until) return;
      await sleep(5);
    }
  }
}

import { kindOf } from "../engine/announce.ts";
import { restLeft } from "../engine/restarts.ts";
import { partitionOfLease } from "../groups/partition.ts";
import type { DomainDescription, HandlerDescription } from "../isolation/protocol.ts";
import { generationOf, versionOf } from "../store/generations.ts";
import type { Behind, Checkpoint, DeferredCount, Lease } from "../store/port.ts";
import { reachedBy } from "../store/reached.ts";
import { type Operator, processName } from "./operator.ts";

/** The status of one group. */
export interface GroupStatus {
  /** The consumer group. */
  readonly group: string;
  /** The kind of subscription that feeds it. */
  readonly kind: "stream" | "event_store";
  /** Its checkpoint: everything up to here is handled or deferred. */
  readonly checkpoint: number;
  /** The number of messages after the checkpoint. */
  readonly lagMessages: number;
  /** The age of the first of them, in seconds. */
  readonly lagSeconds: number;
  /** The number of messages waiting behind a failed one. */
  readonly pending: number;
  /** The number of failed messages that will be retried. */
  readonly retrying: number;
  /** The number of dead letters. */
  readonly dead: number;
  /** The number of partitions being processed. */
  readonly running: number;
  /** Versions of types that no running code knows, like `Deposited@2`, and how many messages wait for each. */
  readonly awaiting: Readonly<Record<string, number>>;
  /** How many workers it should have. */
  readonly workers: number;
  /** Which process holds which partition. */
  readonly held: readonly { readonly partition: number; readonly process: string }[];
  /** Partitions paused because their worker kept ending: until when, and the last reason. */
  readonly resting: readonly { readonly partition: number; readonly until: string; readonly reason: string }[];
}

/** A group, and what it reads. */
export type ReadingGroup = Pick<HandlerDescription, "name" | "categories">;

/**
 * The groups that run the domain's handlers, each with its name in place of the handler's: those of projectors feed the generations
 * of their projections.
 */
export async function groupsOf({ store, domain }: Pick<Operator, "store" | "domain">): Promise<HandlerDescription[]> {
  const all = await store.generations();
  return domain.handlers.flatMap((handler) => {
    const its = domain.projections.filter(({ group }) => group === handler.name).flatMap(({ name, version }) =>
      all.filter(({ projection, generation, state }) =>
        projection === name && versionOf(generation) === version && state !== "dropped"
      )
    );
    if (its.length > 0) return its.map(({ group }) => ({ ...handler, name: group }));
    // The code of a version that this store has no rows of, and never will.
    const isPassed = domain.projections.some(({ group, name }) =>
      group === handler.name && all.some(({ projection }) => projection === name)
    );
    return isPassed ? [] : [handler];
  });
}

/** The categories that a group reads, which may feed a later generation of a projection. */
export function categoriesOfGroup({ handlers }: DomainDescription, group: string): readonly string[] {
  const handler = handlers.find(({ name }) => name === group) ??
    handlers.find(({ name }) => name === generationOf(group).projection);
  return handler?.categories ?? [];
}

/**
 * Determines the status of all groups. The number of calls of the store does not depend on how many there are.
 *
 * @param operator The domain.
 * @param now The time, in milliseconds since 1970. @default {now}
 */
export async function groupStatuses(operator: Operator, now: number = Date.now()): Promise<GroupStatus[]> {
  const { store, config } = operator;
  const [groups, leases, checkpoints, deferred, dead] = await Promise.all([
    groupsOf(operator),
    store.leases(),
    store.checkpoints(),
    store.countDeferred(),
    store.countDeadLetters(),
  ]);
  const checkpointsBy = Map.groupBy(checkpoints, ({ group }) => group);
  const leasesBy = Map.groupBy(leases.filter(({ isHeld }) => isHeld), ({ group }) => group);
  const deferredBy = Map.groupBy(deferred, ({ group }) => group);
  const reached = groups.map((group) => reachedIn(group, checkpointsBy.get(group.name) ?? []));
  const behind = await store.lags(reached.flat());
  return groups.map(({ name: group, categories }, i) => {
    const its = behind.splice(0, reached[i].length);
    const held = leasesBy.get(group) ?? [];
    return {
      group,
      kind: kindOf(config, group),
      checkpoint: Math.min(...reached[i].map(({ after }) => after), Infinity),
      ...lagOf(its, now),
      ...countsOf(deferredBy.get(group) ?? []),
      dead: Object.hasOwn(dead, group) ? dead[group] : 0,
      running: held.length,
      // Running servers may use another configuration.
      workers: held[0]?.partitions ?? config.workers(group, categories),
      ...workOf(held, now),
    };
  }).map((status) => status.checkpoint === Infinity ? { ...status, checkpoint: 0 } : status);
}

function reachedIn({ categories }: ReadingGroup, checkpoints: readonly Checkpoint[]) {
  return categories.map((category) => ({ category, after: reachedBy(checkpoints, category) }));
}

function lagOf(behind: readonly Behind[], now: number): Pick<GroupStatus, "lagMessages" | "lagSeconds"> {
  const oldest = Math.min(Infinity, ...behind.map((one) => one.oldest ?? Infinity));
  return {
    lagMessages: behind.reduce((sum, { messages }) => sum + messages, 0),
    lagSeconds: oldest === Infinity ? 0 : Math.max(0, now - oldest) / 1000,
  };
}

function countsOf(deferred: readonly DeferredCount[]): Pick<GroupStatus, "pending" | "retrying" | "awaiting"> {
  const awaiting: Record<string, number> = {};
  const counts = { pending: 0, retrying: 0 };
  for (const { isTried, awaits, count } of deferred) {
    counts[isTried ? "retrying" : "pending"] += count;
    if (awaits !== null) awaiting[awaits] = (awaiting[awaits] ?? 0) + count;
  }
  return { ...counts, awaiting };
}

function workOf(held: readonly Lease[], now: number): Pick<GroupStatus, "held" | "resting"> {
  return {
    held: held.map(({ name, owner }) => ({ partition: partitionOfLease(name), process: processName(owner) })),
    resting: held.flatMap(({ name, ends }) => {
      const left = ends === null ? 0 : restLeft(ends, now);
      if (left <= 0) return [];
      return [{
        partition: partitionOfLease(name),
        until: new Date(now + left).toISOString(),
        reason: ends!.reason,
      }];
    }),
  };
}

/** The processes that run the domain at the moment: what each is called. */
export async function runningProcesses({ store }: Pick<Operator, "store">): Promise<string[]> {
  return (await store.members()).map(({ owner }) => processName(owner));
}

/** The groups that there are, and those of the past that have dead letters. */
export async function knownGroups(operator: Pick<Operator, "store" | "domain">): Promise<string[]> {
  const [groups, dead] = await Promise.all([groupsOf(operator), operator.store.countDeadLetters()]);
  const names = [...operator.domain.handlers, ...groups].map(({ name }) => name);
  return [...new Set([...names, ...Object.keys(dead)])];
}

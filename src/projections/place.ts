import type { Domain, Handler } from "../domain/model.ts";
import type { Projection } from "../domain/projection.ts";
import { type Generation, generationOf, groupFor, nextGeneration, versionOf } from "../store/generations.ts";
import type { EventStore } from "../store/port.ts";

/** A version of a projection that there is code for, and the group that feeds it. */
export interface KnownProjection {
  /** The projection. */
  readonly name: string;
  /** The version of its rows. */
  readonly version: number;
  /** The handler that keeps them, which is also the name of the group of their first generation. */
  readonly group: string;
}

/** Returns the projections that the handlers of a domain keep. */
export function keptBy(domain: Domain): { readonly handler: Handler; readonly projection: Projection }[] {
  return [...domain.handlers.values()].flatMap((handler) =>
    handler.kind.keeps(handler).map((projection) => ({ handler, projection }))
  );
}

/** Returns the same as plain data. */
export function knownProjections(domain: Domain): KnownProjection[] {
  return keptBy(domain).map(({ handler, projection: { name, version } }) => ({ name, version, group: handler.name }));
}

/** Whether there is code for no newer version of a projection. */
export function isNewest(
  { name, version }: Pick<KnownProjection, "name" | "version">,
  all: readonly Pick<KnownProjection, "name" | "version">[],
): boolean {
  return all.every((other) => other.name !== name || other.version <= version);
}

function generationFor(
  { name, version, group }: KnownProjection,
  state: Generation["state"],
  isActive: boolean,
): Generation {
  return {
    projection: name,
    generation: String(version),
    group,
    state,
    isActive,
    isPinned: false,
    swappedAt: isActive ? 0 : null,
    error: null,
  };
}

/** The generations of a domain that has not run: readers see the newest version of each projection. */
export function firstGenerations(domain: Domain): Generation[] {
  const known = knownProjections(domain);
  return known.map((one) => generationFor(one, "fed", isNewest(one, known)));
}

/**
 * Adds the generations that there is code for, and no rows yet. One that has to begin in an old log is built in bulk.
 *
 * @param store The store.
 * @param projections What there is code for.
 * @param inBulk Whether somebody builds in bulk; otherwise, groups read the log from its beginning. @default {true}
 */
export async function placeGenerations(
  store: EventStore,
  projections: readonly KnownProjection[],
  inBulk = true,
): Promise<void> {
  if (projections.length === 0) return;
  const known = await store.generations();
  // Older ones are fed while they are there, and not made anew.
  const missing = projections.filter((one) =>
    isNewest(one, projections) &&
    !known.some(({ projection, generation }) => projection === one.name && versionOf(generation) === one.version)
  );
  if (missing.length === 0) return;
  const groups = new Set((await store.checkpoints()).map(({ group }) => group));
  const isEmpty = await store.lastPosition() === 0;
  for (const one of missing) {
    const its = known.filter(({ projection }) => projection === one.name);
    const first = groupFor(generationOf(one.group).projection, 1);
    // From before there were generations.
    if (its.length === 0 && one.version > 1 && groups.has(first)) {
      await store.addGeneration(generationFor({ ...one, version: 1, group: first }, "fed", true));
    }
    const isBuilt = isEmpty || (its.length === 0 && groups.has(one.group)) || !inBulk;
    // The store sees to it that readers go on with what they have.
    await store.addGeneration(generationFor(one, isBuilt ? "fed" : "building", its.length === 0));
  }
}

/**
 * Begins builds again that have stopped: the code may be another one now. What there is of them is dropped, because it may
 * have been made by other code.
 *
 * @param store The store.
 * @param projections What there is code for.
 */
export async function restartBuilds(
  store: EventStore,
  projections: readonly KnownProjection[],
): Promise<void> {
  const all = await store.generations();
  for (const { name, version, group } of projections) {
    const its = all.filter((one) => one.projection === name && versionOf(one.generation) === version);
    const last = its.at(-1);
    if (last?.state !== "building" || last.error === null) continue;
    await addRebuild(store, { name, version, group }, all);
  }
}

/**
 * Adds a generation that is made by the same code as the last one; those before it that were never finished are dropped.
 *
 * @returns Its name.
 */
export async function addRebuild(
  store: EventStore,
  { name, version, group }: KnownProjection,
  all: readonly Generation[],
): Promise<string> {
  const its = all.filter((one) => one.projection === name);
  const generation = nextGeneration(its.map((one) => one.generation), version);
  await store.addGeneration({
    projection: name,
    generation,
    group: groupFor(generationOf(group).projection, generation),
    state: "building",
    isActive: its.every(({ isActive }) => !isActive),
    isPinned: false,
    swappedAt: null,
    error: null,
  });
  for (const one of its) {
    if (one.state !== "building" || one.isActive || versionOf(one.generation) !== version) continue;
    await store.markGeneration(
      { projection: name, generation: one.generation, state: "dropped", error: null },
      "building",
    );
  }
  return generation;
}

/** Whether a process works for a group at the moment. */
export async function isHeld(store: EventStore, group: string): Promise<boolean> {
  return (await store.leases()).some((lease) => lease.group === group && lease.isHeld);
}

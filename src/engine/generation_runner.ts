import { leaseName } from "../groups/partition.ts";
import type { GroupWorker } from "../handling/runner.ts";
import type { DomainDescription, HandlerDescription, ProjectionDescription } from "../isolation/protocol.ts";
import { recoveryOf } from "../lib/annals_error.ts";
import type { Clock } from "../lib/clock.ts";
import { storable } from "../messages/text.ts";
import { textOf } from "../messages/thrown.ts";
import { Builder, BuildError, OtherCategoriesError } from "../projections/builder.ts";
import { pendingSwap } from "../projections/swap.ts";
import { rowField } from "../domain/queries.ts";
import { addRebuild, isHeld, isNewest } from "../projections/place.ts";
import { buildGroup, type Generation, generationOf, rowsOf, versionOf } from "../store/generations.ts";
import { FencedError } from "../store/errors.ts";
import type { EventStore, Fence, RowIndex } from "../store/port.ts";
import type { Report } from "../telemetry/events.ts";
import { LEASE_TTL } from "../cluster/balancer.ts";
import { retryForever } from "./retry.ts";
import type { GroupPlan } from "./supervisor.ts";

/** How often it looks which generations there are, in milliseconds. */
const INTERVAL = 500;

/** How often a swap is tried that waits for a moment in which one generation has passed what the other has. */
const SWAP_INTERVAL = 30;

/** How often the lease of a build is renewed, in milliseconds. */
const RENEWAL = LEASE_TTL / 4;

/** How long nobody may feed what readers see before they see something else, in milliseconds: a server may take over. */
const UNFED = 4 * LEASE_TTL;

/** How many rows of a dropped generation are deleted at a time. */
const CLEARED = 2_000;

/** How often a build goes on after its worker has ended. */
const MOST_ENDS = 3;

/** How long a group counts as busy after it has handled something, in milliseconds. */
const BUSY = 500;

/** Longest stored reason why a build has stopped, in characters. */
const LONGEST_ERROR = 2_000;

/** What a {@linkcode GenerationRunner} needs. */
export interface GenerationRunnerOptions {
  /** The store. */
  readonly store: EventStore;
  /** The domain. */
  readonly domain: DomainDescription;
  /** This process. */
  readonly owner: string;
  /** The share of the time that builds may take while others are busy. */
  readonly share: number;
  /** Whether a new generation takes the place of the one before by itself. */
  readonly swap: "auto" | "manual";
  /** Plans the partitions of a group that feeds a generation. */
  readonly planOf: (handler: HandlerDescription, generation: Generation) => GroupPlan[];
  /** Returns the worker that builds a generation, which reads rows from a store. */
  readonly workerOf: (
    handler: HandlerDescription,
    generation: Generation,
    readRows: EventStore["readRows"],
  ) => GroupWorker;
  /** Runs groups that are added while the server runs. */
  readonly groups: { add(plan: GroupPlan): void; remove(group: string): Promise<void> };
  /** The source of time. */
  readonly clock: Clock;
  /** Receives engine events. */
  readonly report: Report;
}

/** Returns the indexes that the generations of a projection's version are to have. */
export function indexesOf(projection: ProjectionDescription, generation: string): RowIndex[] {
  return projection.indexes.map((index) => ({
    projection: rowsOf(projection.name, generation),
    fields: index.map((field) => rowField(projection, field)),
  }));
}

/** Builds the generations of projections that this code makes, feeds them, and lets readers see them. */
export class GenerationRunner {
  #options: GenerationRunnerOptions;
  /** The groups that run here. */
  #fed: Set<string>;
  #building = new Map<string, { readonly done: Promise<void>; readonly stop: AbortController }>();
  /** Since when nobody feeds what readers see, and whether that was said. */
  #unfed = new Map<string, { readonly since: number; readonly isSaid: boolean }>();
  #busyAt = -Infinity;
  #builders = new Set<string>();
  #indexed = new Set<string>();
  #indexing: Promise<void> = Promise.resolve();

  /**
   * @param options What it needs.
   * @param fed The groups that run already.
   */
  constructor(options: GenerationRunnerOptions, fed: Iterable<string>) {
    this.#options = options;
    this.#fed = new Set(fed);
  }

  /** Says that a group has handled something: builds leave it room. */
  handled(group: string): void {
    if (!this.#builders.has(group)) this.#busyAt = this.#options.clock.elapsed();
  }

  /** Runs until stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, report } = this.#options;
    await retryForever(async () => {
      const isClose = await this.#look(signal);
      await clock.sleep(isClose ? SWAP_INTERVAL : INTERVAL, signal);
      return "again";
    }, { clock, report, signal });
    // An index may take minutes: it goes on in the database, or another server makes it.
    await Promise.allSettled([...this.#building.values()].map(({ done }) => done));
  }

  /** Looks once; returns whether a swap waits for the right moment. */
  async #look(signal: AbortSignal): Promise<boolean> {
    const { store, domain, swap } = this.#options;
    const all = await store.generations();
    await this.#stopDropped(all);
    let isClose = false;
    for (const projection of domain.projections) {
      const its = all.filter((one) => one.projection === projection.name);
      const handler = domain.handlers.find(({ name }) => name === projection.group)!;
      for (const generation of its) {
        if (generation.state === "dropped") await this.#clear(generation);
        else if (versionOf(generation.generation) === projection.version) {
          await this.#index(projection, generation.generation, signal);
          if (generation.state === "fed") this.#feed(handler, generation);
          else if (generation.error === null) this.#build(handler, generation, signal);
        }
      }
      // Older code may be there to feed what was before.
      if (!isNewest(projection, domain.projections)) continue;
      const active = its.find((one) => one.isActive);
      if (!active) continue;
      const isFed = await this.#isFed(active);
      if (swap === "auto") isClose = await this.#swap(projection, handler, its, isFed) || isClose;
    }
    return isClose;
  }

  #feed(handler: HandlerDescription, generation: Generation): void {
    if (this.#fed.has(generation.group)) return;
    this.#fed.add(generation.group);
    for (const plan of this.#options.planOf(handler, generation)) this.#options.groups.add(plan);
  }

  /** Stops the groups of generations that were dropped, here or by somebody else. */
  async #stopDropped(all: readonly Generation[]): Promise<void> {
    const kept = new Set(all.filter(({ state }) => state === "fed").map(({ group }) => group));
    const wanted = new Set(
      all.filter(({ state }) => state === "building").map((one) => rowsOf(one.projection, one.generation)),
    );
    for (const [rows, { stop }] of this.#building) if (!wanted.has(rows)) stop.abort();
    for (const group of this.#fed) {
      if (kept.has(group) || !this.#isOfGeneration(group)) continue;
      this.#fed.delete(group);
      await this.#options.groups.remove(group);
    }
  }

  /** Whether a group feeds a generation; all others are run anyway. */
  #isOfGeneration(group: string): boolean {
    const handler = generationOf(group).projection;
    return this.#options.domain.projections.some((one) => generationOf(one.group).projection === handler);
  }

  async #clear({ projection, generation, group }: Generation): Promise<void> {
    const { store } = this.#options;
    // Another process may still feed it, for a moment.
    if (await isHeld(store, group)) return;
    await store.clearGeneration(projection, generation, CLEARED);
  }

  /** Sees to the indexes of a generation, once. */
  async #index(projection: ProjectionDescription, generation: string, signal: AbortSignal): Promise<void> {
    const rows = rowsOf(projection.name, generation);
    if (this.#indexed.has(rows)) return;
    this.#indexed.add(rows);
    const { store, report, clock } = this.#options;
    const keep = async () => {
      await store.keepIndexes([rows], indexesOf(projection, generation));
    };
    // A large index takes its time, and queries can do without. One projection after the other.
    this.#indexing = this.#indexing.then(() => retryForever(keep, { clock, report, signal }));
  }

  async #swap(
    projection: ProjectionDescription,
    handler: HandlerDescription,
    its: readonly Generation[],
    isFed: boolean,
  ): Promise<boolean> {
    const { store, report } = this.#options;
    const pending = pendingSwap(its, projection.version, () => isFed);
    if (!pending) return false;
    const { from, to } = pending;
    const refusal = await store.swapGenerations({
      projection: projection.name,
      from: from.generation,
      to: to.generation,
      categories: handler.categories,
      pin: false,
    });
    if (refusal === null) {
      report({
        type: "projection.swapped",
        group: to.group,
        projection: projection.name,
        from: from.generation,
        to: to.generation,
      });
    }
    return refusal !== null;
  }

  /**
   * Whether what readers see is fed, here or elsewhere, or was until a moment ago, so that somebody may be about to take over.
   * Says once that it is not.
   */
  async #isFed({ projection, generation, group, state }: Generation): Promise<boolean> {
    const { store, clock, report } = this.#options;
    if (this.#fed.has(group) || await isHeld(store, group)) {
      this.#unfed.delete(group);
      return true;
    }
    const { since, isSaid } = this.#unfed.get(group) ?? { since: clock.elapsed(), isSaid: false };
    const isOver = clock.elapsed() - since >= UNFED;
    this.#unfed.set(group, { since, isSaid: isSaid || (isOver && state === "fed") });
    if (isOver && state === "fed" && !isSaid) {
      report({
        type: "service.warned",
        warning:
          `Readers of projection "${projection}" see generation ${generation}, which no running server has code for: its rows stay as they are. ` +
          `Run \`annals projections swap ${projection}\`, or list its projector in the domain again`,
      });
    }
    return !isOver;
  }

  #build(handler: HandlerDescription, generation: Generation, signal: AbortSignal): void {
    const rows = rowsOf(generation.projection, generation.generation);
    if (this.#building.has(rows) || signal.aborted) return;
    this.#builders.add(generation.group);
    const stop = new AbortController();
    const done = this.#tryToBuild(handler, generation, AbortSignal.any([signal, stop.signal]))
      .catch((error) => this.#options.report({ type: "engine.failed", error: textOf(error) }))
      .finally(() => this.#building.delete(rows));
    this.#building.set(rows, { done, stop });
  }

  /** Builds a generation, if no other process does. */
  async #tryToBuild(
    handler: HandlerDescription,
    generation: Generation,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, owner, clock } = this.#options;
    const group = buildGroup(generation.projection, generation.generation);
    const lease = leaseName(group, 0, 1);
    const request = { name: lease, group, partitions: 1, owner, ttl: LEASE_TTL };
    const granted = await store.acquireLease(request).catch((error) => {
      if (recoveryOf(error) === "none") throw error;
      return null;
    });
    if (!granted) return void await clock.sleep(INTERVAL, signal);
    const fence = { lease, token: granted.token };
    const lost = new AbortController();
    const ended = new AbortController();
    const renewing = this.#renew(fence, ended.signal, () => lost.abort());
    try {
      await this.#buildUnder(fence, handler, generation, AbortSignal.any([signal, lost.signal]));
    } finally {
      ended.abort();
      await renewing;
      await store.releaseLease(fence, true).catch(() => {});
    }
  }

  async #renew(fence: Fence, signal: AbortSignal, lost: () => void): Promise<void> {
    const { store, clock } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(RENEWAL, signal);
      // If the store is away, its commits fail anyway.
      const gone = signal.aborted ? [] : await store.renewLeases([fence], LEASE_TTL).catch(() => []);
      if (gone.length > 0) return lost();
    }
  }

  async #buildUnder(
    fence: Fence,
    handler: HandlerDescription,
    generation: Generation,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, clock, report, share, workerOf } = this.#options;
    const { projection, generation: name, group } = generation;
    report({ type: "projection.building", group, projection, generation: name });
    const startedAt = clock.elapsed();
    for (let ends = 0; !signal.aborted;) {
      let begunAt: number | undefined;
      let position = 0;
      try {
        const builder = new Builder({
          store,
          group,
          categories: handler.categories,
          handles: new Set(handler.handles),
          fence,
          clock,
          share: () => clock.elapsed() - this.#busyAt < BUSY ? share : 1,
          open: (readRows) => workerOf(handler, generation, readRows).open(),
          reached: (reached) => {
            begunAt ??= reached;
            position = reached;
          },
        });
        await workerOf(handler, generation, (rows, keys) => store.readRows(rows, keys)).load();
        if (!await builder.run(signal)) return;
        const isMarked = await store.markGeneration(
          { projection, generation: name, state: "fed", error: null },
          "building",
        );
        // It was dropped meanwhile.
        if (!isMarked) return;
        const seconds = (clock.elapsed() - startedAt) / 1000;
        return report({ type: "projection.built", group, projection, generation: name, position, seconds });
      } catch (error) {
        if (signal.aborted || error instanceof FencedError) return;
        const isAway = recoveryOf(error) !== "none" && !(error instanceof BuildError);
        if (position > (begunAt ?? position)) ends = 0;
        if (isAway || (!(error instanceof BuildError) && ++ends < MOST_ENDS)) {
          await clock.sleep(RENEWAL, signal);
          continue;
        }
        if (error instanceof OtherCategoriesError) {
          const known = this.#options.domain.projections.find((one) => one.group === handler.name)!;
          await addRebuild(store, known, await store.generations());
        }
        const reason = storable(error instanceof BuildError ? error.message : textOf(error), LONGEST_ERROR);
        await store.markGeneration({ projection, generation: name, state: "building", error: reason }, "building");
        return report({ type: "projection.stopped", group, projection, generation: name, error: reason });
      }
    }
  }
}

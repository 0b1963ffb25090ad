import type { Domain } from "../domain/model.ts";
import { hasPassed } from "../groups/progress.ts";
import { AnnalsError } from "../lib/annals_error.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { isHeld } from "../projections/place.ts";
import type { EventStore } from "../store/port.ts";

/** A projection that does not show something yet, and why. */
export interface Behind {
  /** The projection. */
  readonly projection: string;
  /**
   * `lagging`: its projector has other events before it. `parked`: it failed, and will be tried again. `not running`: no
   * server runs the projector.
   */
  readonly why: "lagging" | "parked" | "not running";
}

/** Thrown when a projection did not show something in time. */
export class ProjectionBehindError extends AnnalsError {
  /** Always `ProjectionBehindError`. */
  override readonly name = "ProjectionBehindError";

  /**
   * Creates the error.
   *
   * @param message What was found.
   * @param behind The projection, and why.
   */
  constructor(message: string, readonly behind: Behind) {
    super(message);
  }
}

/** The most messages that failed among which one is looked for. */
const MOST_DEFERRED = 10_000;

/** A message that a projection is to show: with its stream, if that is known. */
export interface Seen {
  /** Its position. */
  readonly position: number;
  /** Its stream. */
  readonly stream: string | null;
}

/** The last position of some messages; 0 if there are none. */
export function lastOf(messages: readonly Seen[]): number {
  return Math.max(0, ...messages.map(({ position }) => position));
}

/** What keeps a projection, as far as those are concerned who wait for it. */
export interface Keeper {
  /** The handler's name. */
  readonly name: string;
  /** The categories that it reads. */
  readonly categories: readonly string[];
}

/** What is known of the projections of a domain by those who wait for them. */
export interface Keeping {
  /** The domain's name. */
  readonly name: string;
  /** Returns what keeps the newest version of a projection; `undefined` if nothing does. */
  readonly keeperOf: (projection: string) => Keeper | undefined;
}

/** What the code of a domain says about that. */
export function keepingOf(domain: Domain): Keeping {
  return {
    name: domain.name,
    keeperOf: (projection) => {
      const keeper = domain.keeperOf(projection);
      return keeper && { name: keeper.name, categories: domain.categoriesOf(keeper) };
    },
  };
}

/** What is waited for: a projection, of which only the name counts. */
export type Named = { readonly name: string };

/** The projector of a projection. */
export function keeperOf(keeping: Keeping, projection: Named): Keeper {
  const keeper = keeping.keeperOf(projection.name);
  if (keeper) return keeper;
  throw new DomainDefinitionError(
    `Cannot wait for projection "${projection.name}": domain "${keeping.name}" has no projector that keeps it`,
  );
}

/** The group that feeds what readers see of a projection. */
export async function groupOf(store: EventStore, keeper: Keeper, projection: Named): Promise<string> {
  const active = (await store.generations()).find((one) => one.projection === projection.name && one.isActive);
  return active?.group ?? keeper.name;
}

/**
 * Looks whether readers of a projection see some messages, with everything before them.
 *
 * @param store The store.
 * @param keeping What keeps the domain's projections.
 * @param projection The projection.
 * @param messages The messages.
 * @returns `null` if they do; otherwise whether something failed on the way.
 */
export async function lookBehind(
  store: EventStore,
  keeping: Keeping,
  projection: Named,
  messages: readonly Seen[],
): Promise<{ readonly group: string; readonly isParked: boolean } | null> {
  const keeper = keeperOf(keeping, projection);
  const position = lastOf(messages);
  const group = await groupOf(store, keeper, projection);
  if (!await hasPassed(store, group, keeper.categories, position)) return { group, isParked: false };
  const deferred = await store.deferred(group, { limit: MOST_DEFERRED });
  if (deferred.length === 0) return null;
  const unknown = messages.filter(({ stream }) => stream === null).map((message) => message.position);
  const streams = new Set([
    ...messages.map(({ stream }) => stream),
    ...(await store.readAt(unknown, { largest: 0 })).map(({ stream }) => stream),
  ]);
  const isParked = deferred.some((one) => one.position <= position && streams.has(one.stream));
  return isParked ? { group, isParked } : null;
}

/** Says why readers of a projection do not see something yet. */
export async function explainBehind(
  store: EventStore,
  projection: string,
  { group, isParked }: { readonly group: string; readonly isParked: boolean },
): Promise<Behind> {
  if (isParked) return { projection, why: "parked" };
  return { projection, why: await isHeld(store, group) ? "lagging" : "not running" };
}

import type { Domain, Handler } from "../domain/model.ts";
import { checkProjection, type Projection } from "../domain/projection.ts";
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

/** The projector of a projection. */
export function keeperOf(domain: Domain, projection: Projection): Handler {
  checkProjection(projection);
  const keeper = domain.keeperOf(projection.name);
  if (keeper) return keeper;
  throw new DomainDefinitionError(
    `Cannot wait for projection "${projection.name}": domain "${domain.name}" has no projector that keeps it`,
  );
}

/** The group that feeds what readers see of a projection. */
export async function groupOf(store: EventStore, keeper: Handler, projection: Projection): Promise<string> {
  const active = (await store.generations()).find((one) => one.projection === projection.name && one.isActive);
  return active?.group ?? keeper.name;
}

/**
 * Looks whether readers of a projection see some messages, with everything before them.
 *
 * @param store The store.
 * @param domain The domain.
 * @param projection The projection.
 * @param messages The messages.
 * @returns `null` if they do; otherwise whether something failed on the way.
 */
export async function lookBehind(
  store: EventStore,
  domain: Domain,
  projection: Projection,
  messages: readonly Seen[],
): Promise<{ readonly group: string; readonly isParked: boolean } | null> {
  const keeper = keeperOf(domain, projection);
  const position = lastOf(messages);
  const group = await groupOf(store, keeper, projection);
  if (!await hasPassed(store, group, domain.categoriesOf(keeper), position)) return { group, isParked: false };
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

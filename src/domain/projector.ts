import { ProjectionBatch } from "../handling/projection_batch.ts";
import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { EventType, NameOf, PayloadOf } from "../messages/message_type.ts";
import { groupFor } from "../store/generations.ts";
import { checkFunctions, checkOptions } from "./check_functions.ts";
import type { ProjectFunctions, Projector } from "./handlers.ts";
import type { HandlerKind } from "./model.ts";
import { checkProjection, type Projection } from "./projection.ts";

/** A message of one of several types: its `type` tells which payload it has. */
export type AnyOf<Events extends readonly EventType[]> = {
  [Index in keyof Events]: Message<NameOf<Events[Index]>, PayloadOf<Events[Index]>>;
}[number];

/** Keeps a projection: reads events of any aggregates and writes only its rows. */
export const PROJECTOR: HandlerKind<Projector> = Object.freeze(
  {
    name: "projector",
    handles: (handler: Projector) => handler.events,
    decidesFor: () => null,
    keeps: (handler: Projector) => [handler.projection],
    rowKeyOf: (handler: Projector, message) => handler.keyOf(message),
    writes: { events: false, commands: false, rows: "kept", outcomes: false, statements: false, deliveries: false },
    begin: (_domain, handler, reading) => new ProjectionBatch(handler, reading),
  } satisfies HandlerKind<Projector>,
);

/**
 * Defines a projector.
 *
 * @param name The name of the handler and its consumer group; from version 2 of the projection on, the group is called like
 *   `TotalProjector@2`, and reads the log from the beginning to make the rows of that version.
 * @param target The projection.
 * @param options The events, with one pure function each that takes row and event and returns the new row.
 * @returns The handler, to be passed to {@linkcode domain}.
 * @throws {DomainDefinitionError} If events and functions do not match.
 *
 * @example A total per counter
 * ```ts
 * import { event, projection, projector, type } from "@annals/annals";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Total = projection("Total", { key: "id", schema: type<{ id: string; total: number }>() });
 * const TotalProjector = projector("TotalProjector", Total, {
 *   events: [Counted],
 *   on: { Counted: (row, event) => ({ id: event.aggregateId, total: (row?.total ?? 0) + event.payload.by }) },
 * });
 * console.log(TotalProjector.name);
 * ```
 */
export function projector<Row, const Events extends readonly EventType[]>(
  name: string,
  target: Projection<string, Row>,
  options: {
    /** The events. */
    readonly events: Events;
    /** One function per event. */
    readonly on: NoInfer<ProjectFunctions<Row, Events>>;
    /** Returns the row's key for an event.
     *
     * @default The payload's field with the name of the projection's key, or else the aggregate's id.
     */
    readonly keyOf?: (event: AnyOf<Events>) => string;
    /** Retries of a failed message. @default {the server's `max_retries`} */
    readonly retries?: number;
    /** What it was called before: it goes on where that was, with its retries and dead letters. */
    readonly formerly?: string;
  },
): Projector {
  const { events, on, retries, formerly } = options;
  checkFunctions(name, "event", events, on);
  checkProjection(target);
  if (name.includes("@")) {
    throw new DomainDefinitionError(`Cannot define handler "${name}": what follows @ is the version of its projection`);
  }
  checkOptions(name, options);
  const keyOf = (event: Message<any, any>): string => {
    const key = event.payload?.[target.key];
    return typeof key === "string" ? key : event.aggregateId;
  };
  return Object.freeze({
    kind: PROJECTOR,
    name: groupFor(name, target.version),
    projection: target as Projection,
    events,
    keyOf: (options.keyOf as Projector["keyOf"] | undefined) ?? keyOf,
    on: on as Projector["on"],
    permissions: {},
    ...(formerly === undefined ? {} : { formerly }),
    ...(retries === undefined ? {} : { retries }),
  });
}

import { EventBatch } from "../handling/event_batch.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { CommandType, EventType } from "../messages/message_type.ts";
import { COMMAND_END, INBOX } from "../processes/names.ts";
import { checkFunctions, checkOptions } from "./check_functions.ts";
import type { EventFunctions, EventHandler, RefusedFunctions } from "./handlers.ts";
import { checkParts } from "../messages/names.ts";
import type { HandlerKind, PermissionRequest } from "./model.ts";
import type { Projection } from "./projection.ts";

/** Reacts to events of any aggregates; writes commands, rows and statements. */
export const EVENT_HANDLER: HandlerKind<EventHandler> = Object.freeze(
  {
    name: "event handler",
    handles: (handler: EventHandler) => isTold(handler) ? [...handler.events, COMMAND_END] : handler.events,
    decidesFor: () => null,
    keeps: () => [],
    puts: (handler: EventHandler) => handler.projections ?? [],
    writes: { events: false, commands: true, rows: "any", outcomes: false, statements: true, deliveries: false },
    reads: (handler) => isTold(handler) ? [{ owner: handler.name, part: INBOX, types: [COMMAND_END] }] : [],
    refersTo: (handler) => isTold(handler) ? [] : null,
    begin: (domain, handler, reading) => new EventBatch(domain, handler, reading),
  } satisfies HandlerKind<EventHandler>,
);

/** Whether it is told of refusals. */
function isTold({ refused }: EventHandler): boolean {
  return Object.keys(refused).length > 0;
}

/**
 * Defines an event handler.
 *
 * @param name The name of the handler and its consumer group.
 * @param options The events, with one function each, and its permissions.
 * @returns The handler, to be passed to {@linkcode domain}.
 * @throws {DomainDefinitionError} If events and functions do not match.
 *
 * @example Logging
 * ```ts
 * import { event, eventHandler, type } from "@annals/annals";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Watcher = eventHandler("Watcher", {
 *   events: [Counted],
 *   on: { Counted: (event, context) => context.log.info(`counted by ${event.payload.by}`) },
 * });
 * console.log(Watcher.name);
 * ```
 */
export function eventHandler<
  const Events extends readonly EventType[],
  const Commands extends readonly CommandType[] = readonly [],
  Written extends Projection = Projection,
>(
  name: string,
  options: {
    /** The events. */
    readonly events: Events;
    /** One function per event. */
    readonly on: NoInfer<EventFunctions<Events, Written>>;
    /**
     * The projections that it writes with `put` and `remove`; others do not compile then, and one that a projector keeps is
     * refused when the domain is loaded. @default {any that no projector keeps}
     */
    readonly projections?: readonly Written[];
    /** The commands whose refusals it wants to be told of. @default {none} */
    readonly commands?: Commands;
    /** What to do when one of them was refused, or given up: one function per command. */
    readonly refused?: NoInfer<RefusedFunctions<Commands, Written>>;
    /** The permissions it needs. */
    readonly permissions?: PermissionRequest;
    /** Retries of a failed message. @default {the server's `max_retries`} */
    readonly retries?: number;
    /**
     * Where it begins when it is new and the domain has run before: with what comes next, or with everything since the
     * beginning, effects included. @default {"now"}
     */
    readonly from?: "now" | "start";
    /** What it was called before: it goes on where that was, with its retries and dead letters. */
    readonly formerly?: string;
  },
): EventHandler {
  const { events, on, permissions = {}, retries, from = "now", formerly } = options;
  const { commands = [], refused = {} } = options;
  checkFunctions(name, "event", events, on);
  checkOptions(name, options);
  if (options.projections !== undefined) {
    checkParts(`handler "${name}"`, "projections", options.projections, ({ kind }) => kind === "projection");
  }
  if (commands.length + Object.keys(refused).length > 0) {
    checkFunctions(name, "command", commands, refused);
    if (formerly !== undefined) {
      throw new DomainDefinitionError(
        `Cannot define handler "${name}": it is told of refusals under its name, so it cannot go on as "${formerly}"; keep the old name`,
      );
    }
  }
  return Object.freeze({
    kind: EVENT_HANDLER,
    name,
    events,
    projections: options.projections ?? null,
    on: on as EventHandler["on"],
    refused: refused as EventHandler["refused"],
    permissions,
    startsAt: from,
    ...(formerly === undefined ? {} : { formerly }),
    ...(retries === undefined ? {} : { retries }),
  });
}

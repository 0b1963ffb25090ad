import { EventBatch } from "../handling/event_batch.ts";
import type { EventType } from "../messages/message_type.ts";
import { checkFunctions, checkOptions } from "./check_functions.ts";
import type { EventFunctions, EventHandler } from "./handlers.ts";
import type { HandlerKind, PermissionRequest } from "./model.ts";

/** Reacts to events of any aggregates; writes commands, rows and statements. */
export const EVENT_HANDLER: HandlerKind<EventHandler> = Object.freeze(
  {
    name: "event handler",
    handles: (handler: EventHandler) => handler.events,
    decidesFor: () => null,
    keeps: () => [],
    writes: { events: false, commands: true, rows: "any", outcomes: false, statements: true },
    begin: (domain, handler, reading) => new EventBatch(domain, handler, reading),
  } satisfies HandlerKind<EventHandler>,
);

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
export function eventHandler<const Events extends readonly EventType[]>(
  name: string,
  options: {
    /** The events. */
    readonly events: Events;
    /** One function per event. */
    readonly on: NoInfer<EventFunctions<Events>>;
    /** The permissions it needs. */
    readonly permissions?: PermissionRequest;
    /** Retries of a failed message. @default {the server's `max_retries`} */
    readonly retries?: number;
  },
): EventHandler {
  const { events, on, permissions = {}, retries } = options;
  checkFunctions(name, "event", events, on);
  checkOptions(name, options);
  return Object.freeze({
    kind: EVENT_HANDLER,
    name,
    events,
    on: on as EventHandler["on"],
    permissions,
    ...(retries === undefined ? {} : { retries }),
  });
}

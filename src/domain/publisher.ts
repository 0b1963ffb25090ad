import { PublisherBatch } from "../handling/publisher_batch.ts";
import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { isStorable } from "../messages/text.ts";
import type { EventType, NameOf, PayloadOf } from "../messages/message_type.ts";
import type { Named } from "./aggregate.ts";
import { checkFunctions, checkOptions } from "./check_functions.ts";
import type { Publisher } from "./handlers.ts";
import type { HandlerKind } from "./model.ts";

/** Says what other systems hear of events. The engine delivers it: the code has neither network nor secret. */
export const PUBLISHER: HandlerKind<Publisher> = Object.freeze(
  {
    name: "publisher",
    handles: (handler: Publisher) => handler.events,
    decidesFor: () => null,
    keeps: () => [],
    writes: { events: false, commands: false, rows: "none", outcomes: false, statements: false, deliveries: true },
    begin: (_domain, handler, reading) => new PublisherBatch(handler, reading),
  } satisfies HandlerKind<Publisher>,
);

/** One function per event that says what other systems hear of it; `null`: nothing. */
export type PublishFunctions<Events extends readonly EventType[]> = {
  readonly [Name in NameOf<Events[number]>]: (
    event: Message<Name, PayloadOf<Named<Events[number], Name>>>,
  ) => Published | null;
};

/** What another system hears of an event. */
export interface Published {
  /** The type of the CloudEvent, like `com.example.debited.v1`. */
  readonly type: string;
  /** Its data: JSON. */
  readonly data: unknown;
  /** What it is about. @default {the aggregate's id} */
  readonly subject?: string;
}

/** Retries of a failed delivery: their delays double, and add up to three hours. */
const RETRIES = 13;

/**
 * Defines a publisher: it tells other systems of events, as CloudEvents. Where they go is up to `domain.toml`: to a stream of
 * Redis, or to a signed webhook. They are delivered in the order of each stream, at least once; the same event always has the
 * same source and id.
 *
 * @param name The name of the publisher and its consumer group.
 * @param options The events, with one pure function each that says what other systems hear of it.
 * @returns The handler, to be passed to {@linkcode domain}.
 * @throws {DomainDefinitionError} If events and functions do not match.
 *
 * @example Telling a partner of debits, and of nothing else
 * ```ts
 * import { event, publisher, type } from "@annals/annals";
 *
 * const Debited = event("Debited", { schema: type<{ accountId: string; cents: number }>() });
 * const Credited = event("Credited", { schema: type<{ accountId: string; cents: number }>() });
 * const Feed = publisher("Feed", {
 *   events: [Debited, Credited],
 *   source: "https://bank.example",
 *   as: {
 *     Debited: ({ payload }) => ({ type: "example.bank.debited.v1", data: { cents: payload.cents } }),
 *     Credited: () => null,
 *   },
 * });
 * console.log(Feed.name);
 * ```
 */
export function publisher<const Events extends readonly EventType[]>(name: string, options: {
  /** The events. */
  readonly events: Events;
  /** Who says so, for all of its events: a URI. */
  readonly source: string;
  /** One function per event; `null` keeps an event inside. Must be pure. */
  readonly as: NoInfer<PublishFunctions<Events>>;
  /** Retries of a failed delivery. @default {13, which takes about three hours} */
  readonly retries?: number;
  /** Where it begins when it is new and the domain has run before. @default {"now"} */
  readonly from?: "now" | "start";
  /** What it was called before: it goes on where that was, with its retries and dead letters. */
  readonly formerly?: string;
}): Publisher {
  const { events, source, as, retries = RETRIES, from = "now", formerly } = options;
  checkFunctions(name, "event", events, as);
  checkOptions(name, options);
  if (typeof source !== "string" || source === "" || /\s/.test(source) || !isStorable(source)) {
    throw new DomainDefinitionError(
      `Cannot define publisher "${name}": "source" is ${
        JSON.stringify(source)
      }; expected a URI, like "https://bank.example"`,
    );
  }
  return Object.freeze({
    kind: PUBLISHER,
    name,
    events,
    source,
    as: as as Publisher["as"],
    permissions: {},
    startsAt: from,
    retries,
    ...(formerly === undefined ? {} : { formerly }),
  });
}

import type { Draft, Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { EventType, MessageType, NameOf, PayloadOf } from "../messages/message_type.ts";
import { DomainRuleError } from "./errors.ts";
import { evolution, isPromise } from "./evolution.ts";

/** The part of an event that `evolve` sees, identical for a new event and one read from the log. */
export type AppliedEvent<Name extends string = string, Payload = unknown> = Pick<
  Message<Name, Payload>,
  "type" | "payload" | "aggregateId" | "version" | "time"
>;

/** Selects a message type by name. */
export type Named<T extends MessageType, Name extends string> = Extract<T, { readonly type: Name }>;

/** One pure function per event that returns the next state. */
export type Evolve<State, Events extends readonly EventType[]> = {
  readonly [Name in NameOf<Events[number]>]: (
    state: State,
    event: AppliedEvent<Name, PayloadOf<Named<Events[number], Name>>>,
  ) => State;
};

/** The new, not yet stored events of an aggregate. */
export type DraftOf<Events extends readonly EventType[]> = {
  [Name in NameOf<Events[number]>]: Draft<Name, PayloadOf<Named<Events[number], Name>>>;
}[NameOf<Events[number]>];

/** Settings of {@linkcode aggregate}. */
export interface AggregateOptions<State, Events extends readonly EventType[]> {
  /** All event types of its streams. */
  readonly events: Events;
  /** The state before the first event. */
  readonly initial: () => State;
  /**
   * One function per event that returns the next state. It must be pure: states are deep-frozen, so changing one in
   * place throws.
   */
  readonly evolve: NoInfer<Evolve<State, Events>>;
  /** Invariants that must hold after every event, keyed by their wording. A command that breaks one is refused. */
  readonly invariants?: Readonly<Record<string, (state: State) => boolean>>;
}

/** A consistency boundary: one stream per instance, with the state folded from its events. */
export interface Aggregate<
  Name extends string = string,
  State = any,
  Events extends readonly EventType[] = readonly EventType[],
> {
  /** The discriminator of domain parts. */
  readonly kind: "aggregate";
  /** Its name, unique in the domain. */
  readonly name: Name;
  /** All event types of its streams. */
  readonly events: Events;
  /** The state before the first event. */
  readonly initial: () => State;
  /** Applies an event and returns the next state. */
  readonly apply: (state: State, event: AppliedEvent) => State;
  /**
   * Checks the invariants.
   *
   * @throws {DomainRuleError} If one does not hold.
   */
  readonly check: (state: State) => void;
}

/**
 * Defines an aggregate.
 *
 * @param name Its name, unique in the domain.
 * @param options Its events, initial state, `evolve` functions and invariants.
 * @returns The aggregate, to be passed to {@linkcode domain}.
 * @throws {DomainDefinitionError} If `evolve` and `events` do not match.
 *
 * @example A counter that may not go below zero
 * ```ts
 * import { aggregate, event, type } from "@annals/annals";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Counter = aggregate("Counter", {
 *   events: [Counted],
 *   initial: () => 0,
 *   evolve: { Counted: (state, event) => state + event.payload.by },
 *   invariants: { "may not go below zero": (state) => state >= 0 },
 * });
 * console.log(Counter.initial()); // 0
 * ```
 */
export function aggregate<const Name extends string, State, const Events extends readonly EventType[]>(
  name: Name,
  options: AggregateOptions<State, Events>,
): Aggregate<Name, State, Events> {
  const { events, invariants = {} } = options;
  const { initial, apply } = evolution("aggregate", name, options);
  const rules = Object.entries(invariants);
  return Object.freeze({
    kind: "aggregate" as const,
    name,
    events,
    initial,
    apply,
    check: (state: State) => {
      for (const [rule, holds] of rules) {
        const held: unknown = holds(state);
        if (held === true) continue;
        if (held === false) throw new DomainRuleError(name, rule);
        throw new DomainDefinitionError(
          `Invariant "${rule}" of "${name}" returned ${
            isPromise(held) ? "a promise" : String(held)
          }; return true or false, synchronously`,
        );
      }
    },
  });
}

/** The state of an aggregate or boundary. */
export type StateOf<A> = A extends { readonly initial: () => infer State } ? State : never;

/** The new, not yet stored events of an aggregate or boundary. */
export type EventsOf<A> = A extends { readonly events: infer Events extends readonly EventType[] } ? DraftOf<Events>
  : never;

import type { Draft, Message } from "../messages/envelope.ts";
import { didYouMean, didYouWrite } from "../lib/did_you_mean.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { checkName, checkParts } from "../messages/names.ts";
import type { EventType, MessageType, NameOf, PayloadOf } from "../messages/message_type.ts";
import { DomainRuleError } from "./errors.ts";
import { deepFreeze, explainFrozen } from "./freeze.ts";

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
  const { events, initial, evolve, invariants = {} } = options;
  checkName("aggregate", name);
  const own = `aggregate "${name}"`;
  checkParts(own, "events", events, ({ kind }) => kind === "event");
  if (typeof initial !== "function") {
    throw new DomainDefinitionError(`Cannot define ${own}: "initial" is no function; write initial: () => …`);
  }
  if (typeof evolve !== "object" || evolve === null) {
    throw new DomainDefinitionError(`Cannot define ${own}: it has no "evolve"; write evolve: { … }`);
  }
  const functions = evolve as Readonly<Record<string, (state: State, event: any) => State>>;
  for (const { type } of events) {
    if (!Object.hasOwn(functions, type) || typeof functions[type] !== "function") {
      const others = Object.keys(functions).filter((given) => !events.some((event) => event.type === given));
      throw new DomainDefinitionError(
        `Cannot define aggregate "${name}": its evolve has no function for "${type}"${didYouWrite(type, others)}`,
      );
    }
  }
  for (const type of Object.keys(functions)) {
    if (!events.some((event) => event.type === type)) {
      throw new DomainDefinitionError(
        `Cannot define aggregate "${name}": it evolves by "${type}", which is not in its events${
          didYouMean(type, events.map((event) => event.type))
        }`,
      );
    }
  }
  const rules = Object.entries(invariants);
  return Object.freeze({
    kind: "aggregate" as const,
    name,
    events,
    // States are frozen because they are cached: a mutation by a refused command would persist.
    initial: () => {
      const state = initial();
      if (!isPromise(state)) return deepFreeze(state);
      throw new DomainDefinitionError(`initial of "${name}" returned a promise; return the state itself`);
    },
    apply: (state: State, event: AppliedEvent) => {
      try {
        const next = functions[event.type](state, event);
        if (next === undefined || isPromise(next)) {
          throw new DomainDefinitionError(
            `evolve of "${name}" for "${event.type}" returned ${
              next === undefined ? "undefined (missing return?)" : "a promise"
            }; return the new state`,
          );
        }
        return deepFreeze(next);
      } catch (error) {
        throw explainFrozen(
          error,
          `evolve of "${name}" for "${event.type}"`,
          "return a new state instead, like ({ ...state, balance: state.balance + 1 })",
        );
      }
    },
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

function isPromise(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

/** The state of an aggregate. */
export type StateOf<A> = A extends Aggregate<string, infer State> ? State : never;

/** The new, not yet stored events of an aggregate. */
export type EventsOf<A> = A extends Aggregate<string, any, infer Events> ? DraftOf<Events> : never;

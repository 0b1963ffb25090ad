import type { Draft, Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { EventType, MessageType, NameOf, PayloadOf } from "../messages/message_type.ts";
import { DomainRuleError } from "./errors.ts";
import { evolution, isPromise } from "./evolution.ts";
import { type SnapshotOptions, type SnapshotRule, snapshotRule } from "./snapshot.ts";
import { checkParts } from "../messages/names.ts";

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

/** What an aggregate tells others of its state. */
export interface Facts<State = any, Fact extends EventType = EventType> {
  /** The event type; no aggregate has it among its events. */
  readonly event: Fact;
  /** Returns what is told, or `null` for nothing; pure. */
  readonly from: (state: State, id: string) => Parameters<Fact>[0] | null;
}

/** Settings of {@linkcode aggregate}. */
export interface AggregateOptions<State, Events extends readonly EventType[], Fact extends EventType = EventType> {
  /** All event types of its streams. */
  readonly events: Events;
  /** The state before the first event. */
  readonly initial: () => State;
  /**
   * One function per event that returns the next state. It must be pure: states are deep-frozen, so changing one in
   * place throws.
   */
  readonly evolve: NoInfer<Evolve<State, Events>>;
  /**
   * One fact per command, mapped by hand from the state after it: what others may rely on, while the state is nobody's
   * contract. Facts of `Account` "42" are in the stream `bank::account-fact-42`, written in the same transaction, and
   * handlers read them like any event. An aggregate from before there were facts has its first one with its next event.
   *
   * @default {none}
   */
  readonly facts?: Facts<NoInfer<State>, Fact>;
  /**
   * When its state is kept, so that it need not be folded from all its events. The state has to be JSON then.
   *
   * @default {never}
   */
  readonly snapshot?: SnapshotOptions;
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
  /** What it tells others of its state, if anything. */
  readonly facts?: Facts;
  /** When its state is kept, if ever. */
  readonly snapshots?: SnapshotRule;
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
export function aggregate<
  const Name extends string,
  State,
  const Events extends readonly EventType[],
  Fact extends EventType = EventType,
>(
  name: Name,
  options: AggregateOptions<State, Events, Fact>,
): Aggregate<Name, State, Events> {
  const { events, invariants = {}, facts, snapshot } = options;
  const { initial, apply } = evolution("aggregate", name, options);
  if (facts) checkFacts(name, events, facts);
  const rules = Object.entries(invariants);
  return Object.freeze({
    kind: "aggregate" as const,
    name,
    events,
    initial,
    ...(snapshot && { snapshots: snapshotRule(name, { ...options, snapshot }) }),
    ...(facts && { facts: Object.freeze({ ...facts }) as unknown as Facts }),
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

function checkFacts(name: string, events: readonly EventType[], { event, from }: Facts): void {
  checkParts(`aggregate "${name}"`, "facts.event", [event], ({ kind }) => kind === "event");
  if (typeof from !== "function") {
    throw new DomainDefinitionError(
      `Cannot define aggregate "${name}": "facts.from" is no function; write facts: { event, from: (state, id) => ({ … }) }`,
    );
  }
  if (events.includes(event)) {
    throw new DomainDefinitionError(
      `Cannot define aggregate "${name}": "${event.type}" is one of its events, so it cannot be its fact as well; define another type`,
    );
  }
}

/** The state of an aggregate or boundary. */
export type StateOf<A> = A extends { readonly initial: () => infer State } ? State : never;

/** The new, not yet stored events of an aggregate or boundary. */
export type EventsOf<A> = A extends { readonly events: infer Events extends readonly EventType[] } ? DraftOf<Events>
  : never;

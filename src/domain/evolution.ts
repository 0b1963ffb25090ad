import { didYouMean, didYouWrite } from "../lib/did_you_mean.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { EventType } from "../messages/message_type.ts";
import { checkName, checkParts } from "../messages/names.ts";
import { deepFreeze, explainFrozen } from "./freeze.ts";

/** How a state begins, and what each event makes of it. */
export interface Evolution {
  /** The state before the first event. */
  readonly initial: () => any;
  /** Applies an event and returns the next state. */
  readonly apply: (state: any, event: { readonly type: string }, key?: unknown) => any;
}

/**
 * Checks the functions that fold a state from events.
 *
 * @param kind What they belong to: an aggregate, or a boundary.
 * @param name Its name.
 * @param options Its events, initial state and functions, from code that may not be typed.
 * @returns Functions that say what is wrong when the state is not returned, or changed in place.
 * @throws {DomainDefinitionError} If `evolve` and `events` do not match.
 */
export function evolution(
  kind: "aggregate" | "boundary",
  name: string,
  { events, initial, evolve }: {
    readonly events: readonly EventType[];
    readonly initial: () => unknown;
    readonly evolve: object;
  },
): Evolution {
  checkName(kind, name);
  const own = `${kind} "${name}"`;
  checkParts(own, "events", events, ({ kind }) => kind === "event");
  if (typeof initial !== "function") {
    throw new DomainDefinitionError(`Cannot define ${own}: "initial" is no function; write initial: () => …`);
  }
  if (typeof evolve !== "object" || evolve === null) {
    throw new DomainDefinitionError(`Cannot define ${own}: it has no "evolve"; write evolve: { … }`);
  }
  const functions = evolve as Readonly<Record<string, (state: unknown, event: unknown, key: unknown) => unknown>>;
  for (const { type } of events) {
    if (!Object.hasOwn(functions, type) || typeof functions[type] !== "function") {
      const others = Object.keys(functions).filter((given) => !events.some((event) => event.type === given));
      throw new DomainDefinitionError(
        `Cannot define ${own}: its evolve has no function for "${type}"${didYouWrite(type, others)}`,
      );
    }
  }
  for (const type of Object.keys(functions)) {
    if (!events.some((event) => event.type === type)) {
      throw new DomainDefinitionError(
        `Cannot define ${own}: it evolves by "${type}", which is not in its events${
          didYouMean(type, events.map((event) => event.type))
        }`,
      );
    }
  }
  return {
    // States are frozen because they are cached: a mutation by a refused command would persist.
    initial: () => {
      const state = initial();
      if (!isPromise(state)) return deepFreeze(state);
      throw new DomainDefinitionError(`initial of "${name}" returned a promise; return the state itself`);
    },
    apply: (state, event, key) => {
      try {
        const next = functions[event.type](state, event, key);
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
  };
}

/** Whether something can be awaited. */
export function isPromise(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

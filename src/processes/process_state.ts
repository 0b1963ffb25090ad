import { deepFreeze, explainFrozen } from "../domain/freeze.ts";
import type { ProcessManager } from "../domain/handlers.ts";
import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { after, type Entry, type InputReference, type Instance } from "./instance.ts";

function isEvent({ did, input }: Entry): boolean {
  return did === "handled" && !input.type.startsWith("$");
}

/** Folds the states of a process manager's instances. */
export class ProcessState {
  #process: ProcessManager;

  /** @param process The process manager. */
  constructor(process: ProcessManager) {
    this.#process = process;
  }

  /** Whether an entry is about an event that changes the state, so that it has to be read. */
  needs(entry: Entry): boolean {
    return isEvent(entry) && Object.hasOwn(this.#process.evolve, entry.input.type);
  }

  /** The state before the first event. */
  initial(): unknown {
    return this.#checked(this.#process.initial(), `initial of "${this.#process.name}"`);
  }

  /** The state after an event. */
  evolve(state: unknown, event: Message): unknown {
    const { name, evolve } = this.#process;
    const change = Object.hasOwn(evolve, event.type) ? evolve[event.type] : undefined;
    if (change === undefined) return state;
    return this.#checked(this.purely(() => change(state, event)), `evolve of "${name}" for "${event.type}"`);
  }

  /**
   * Returns what an instance is after an entry of its journal.
   *
   * @param instance The instance.
   * @param entry The entry.
   * @param at Returns what it refers to.
   */
  apply(instance: Instance, entry: Entry, at: (input: InputReference) => Message): Instance {
    const before = entry.begins ? this.initial() : instance.state;
    return after(instance, entry, this.needs(entry) ? this.evolve(before, at(entry.input)) : before);
  }

  /** Runs code of the process; if it changes a state in place, the error says where. */
  purely<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw explainFrozen(error, `"${this.#process.name}"`, "return a new state in evolve, and what to do in react");
    }
  }

  #checked(state: unknown, what: string): unknown {
    const isPromise = typeof (state as { then?: unknown } | null | undefined)?.then === "function";
    if (state !== undefined && !isPromise) return deepFreeze(state);
    throw new DomainDefinitionError(
      `${what} returned ${isPromise ? "a promise" : "undefined (missing return?)"}; return the state`,
    );
  }
}

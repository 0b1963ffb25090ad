import { deepFreeze, explainFrozen } from "../domain/freeze.ts";
import type { ProcessManager } from "../domain/handlers.ts";
import { fingerprintOf, type SnapshotRule } from "../domain/snapshot.ts";
import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { after, type Entry, type InputReference, type Instance } from "./instance.ts";

function isEvent({ did, input }: Entry): boolean {
  return did === "handled" && !input.type.startsWith("$");
}

/** After how many inputs a long instance is kept, so that it need not be folded from all of them. */
const KEPT_EVERY = 200;

const RULES = new WeakMap<ProcessManager, SnapshotRule>();

/** When instances of a process manager are kept, and by which code; found out once. */
function ruleOf(process: ProcessManager): SnapshotRule {
  const known = RULES.get(process);
  if (known) return known;
  const rule = { every: KEPT_EVERY, fingerprint: fingerprintOf(process), verify: 0 };
  RULES.set(process, rule);
  return rule;
}

/** Folds the states of a process manager's instances. */
export class ProcessState {
  #process: ProcessManager;
  /** When an instance is kept. */
  readonly snapshots: SnapshotRule;

  /** @param process The process manager. */
  constructor(process: ProcessManager) {
    this.#process = process;
    this.snapshots = ruleOf(process);
  }

  /** An instance as JSON. */
  pack(instance: Instance): object {
    return { ...instance, timers: [...instance.timers] };
  }

  /** An instance of that. */
  unpack({ timers, ...instance }: Omit<Instance, "timers"> & { timers: [string, string][] }): Instance {
    return deepFreeze({ ...instance, state: instance.state, timers: new Map(timers) });
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

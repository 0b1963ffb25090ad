import type { CommandDraft } from "../domain/handlers.ts";

/** An input of an instance, as its journal refers to it. */
export interface InputReference {
  /** Where it is in the log: the event itself, or the message in the inbox. */
  readonly position: number;
  /** Its type: the event's, or that of the message in the inbox. */
  readonly type: string;
}

/** What an instance did with one input: the payload of its journal's messages. */
export interface Entry {
  /** What it was. */
  readonly input: InputReference;
  /** `handled`, `waits` until the instance begins, or `ignored`. */
  readonly did: "handled" | "waits" | "ignored";
  /** Why it was ignored. */
  readonly why?: string;
  /** The command that has ended, if that was it. */
  readonly of?: string;
  /** The position of an event that is not to be handled any more: an operator has given the instance up. */
  readonly skip?: number;
  /** The version of the code. */
  readonly code: number;
  /** How many times the instance has begun. */
  readonly run: number;
  /** Whether it has begun by this input. */
  readonly begins?: true;
  /** The commands that were sent. */
  readonly sent?: readonly { readonly id: string; readonly type: string; readonly to: string }[];
  /** Timers that were set, with the ids of their messages. */
  readonly set?: readonly { readonly name: string; readonly id: string }[];
  /** Timers that have fired, were cancelled or ended with the instance. */
  readonly unset?: readonly string[];
  /** Commands that undo something, remembered by this input. */
  readonly undo?: readonly CommandDraft[];
  /** Commands that are sent, in order, once everything is undone. */
  readonly then?: readonly CommandDraft[];
  /** How many of them are left, if some were sent. */
  readonly left?: number;
  /** The command that undoes something and has not ended; `null`: none any more. */
  readonly undoing?: string | null;
  /** Whether it is to end once everything is undone. */
  readonly ends?: true;
  /** What the instance is now. */
  readonly status: Status;
}

/** What an instance is. */
export type Status = "absent" | "running" | "undoing" | "ended";

/** An instance of a process manager. Never changed: the next one is made of it. */
export interface Instance {
  /** What it is. */
  readonly status: Status;
  /** How many times it has begun. */
  readonly run: number;
  /** The state of the process. */
  readonly state: unknown;
  /** The version of the last message of its journal; -1 if there is none. */
  readonly version: number;
  /** The positions of the last events that it has handled. */
  readonly recent: readonly number[];
  /** The last commands whose ends it has heard of. */
  readonly heard: readonly string[];
  /** Events that came before it has begun. */
  readonly waiting: readonly InputReference[];
  /** The timers that are set, with the ids of their messages. */
  readonly timers: ReadonlyMap<string, string>;
  /** What undoes its steps, in order. */
  readonly undo: readonly CommandDraft[];
  /** The command that undoes something and has not ended. */
  readonly undoing: string | null;
  /** Whether it is to end once everything is undone. */
  readonly ends: boolean;
}

/** How many events an instance recognises if they come again. */
const MOST_RECENT = 100;

/** An instance that nothing was heard of. */
export const ABSENT: Instance = Object.freeze({
  status: "absent",
  run: 0,
  state: undefined,
  version: -1,
  recent: [],
  heard: [],
  waiting: [],
  timers: new Map(),
  undo: [],
  undoing: null,
  ends: false,
});

/**
 * Returns what an instance is after it has done something.
 *
 * @param before The instance.
 * @param entry What it did.
 * @param state The state of the process after that.
 */
export function after(before: Instance, entry: Entry, state: unknown): Instance {
  const { input, did, run, begins, set = [], unset = [], undo = [], undoing, status } = entry;
  const isEvent = did === "handled" && !input.type.startsWith("$");
  const handled = isEvent ? input.position : entry.skip;
  const timers = new Map(begins ? [] : before.timers);
  for (const name of unset) timers.delete(name);
  for (const { name, id } of set) timers.set(name, id);
  const all = [...(entry.then ?? []).toReversed(), ...begins ? [] : before.undo, ...undo];
  return {
    status,
    run,
    state,
    version: before.version + 1,
    recent: handled === undefined ? before.recent : [...begins ? [] : before.recent.slice(1 - MOST_RECENT), handled],
    heard: entry.of === undefined ? before.heard : [...before.heard.slice(1 - MOST_RECENT), entry.of],
    waiting: did === "waits"
      ? [...before.waiting, input]
      : before.waiting.filter(({ position }) => position !== input.position),
    timers,
    undo: all.slice(0, entry.left ?? all.length),
    undoing: undoing !== undefined ? undoing : begins ? null : before.undoing,
    ends: (!begins && before.ends) || entry.ends === true,
  };
}

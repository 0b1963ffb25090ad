import type { DeadLetter } from "../../store/port.ts";
import type { GroupStatus } from "../../operating/groups.ts";
import type { WaitingMessage } from "../../operating/deferred.ts";
import { ratesOf, type Sample } from "./sample.ts";

/** How many samples rates are over. */
const WINDOW = 6;

/** How groups can be sorted. */
export const SORTS = ["trouble", "lag", "in", "out", "name"] as const;
/** How groups are sorted. */
export type Sort = typeof SORTS[number];

/** What of a group is looked at. */
export interface Inspected {
  /** The group. */
  readonly group: string;
  /** Its newest dead letters; `null` while they are read. */
  readonly letters: readonly DeadLetter[] | null;
  /** Its first deferred messages. */
  readonly waiting: readonly WaitingMessage[];
  /** Which dead letter is chosen. */
  readonly chosen: number;
  /** The one that is shown in full; `null` for the list. */
  readonly opened: DeadLetter | null;
  /** How many lines of it are scrolled past. */
  readonly scroll: number;
}

/** What is to be replayed. */
export type Replay =
  | { readonly group: string; readonly ids: readonly string[] }
  | { readonly group: string; readonly ids?: undefined };

/** Everything that a frame is made of. */
export interface Top {
  /** The domain's name. */
  readonly domain: string;
  /** The last samples, the oldest first. */
  readonly samples: readonly Sample[];
  /** How groups are sorted. */
  readonly sort: Sort;
  /** The chosen group; `null` before there is one. */
  readonly selected: string | null;
  /** What is looked at; `null` for all groups. */
  readonly inspected: Inspected | null;
  /** What is asked before it is done. */
  readonly asked: { readonly replay: Replay; readonly text: string } | null;
  /** What came of the last thing that was done. */
  readonly note: string;
  /** Why there are no new samples; empty if there are. */
  readonly error: string;
}

/** A key, as `node:readline` names it. */
export interface Key {
  /** Its name, like `up`, `return`, `q`. */
  readonly name?: string | undefined;
  /** Whether it was pressed together with Control. */
  readonly ctrl?: boolean | undefined;
  /** Whether it was pressed together with Shift. */
  readonly shift?: boolean | undefined;
}

/** What happens. */
export type Happening =
  | { readonly key: Key }
  | { readonly sample: Sample }
  | { readonly failed: string }
  | { readonly loaded: Pick<Inspected, "group" | "letters" | "waiting"> }
  | { readonly done: string };

/** What is to be done outside. */
export type Effect =
  | { readonly quit: true }
  | { readonly load: string }
  | { readonly replay: Replay };

/** A state, and what is to be done. */
export interface Step {
  /** The next state. */
  readonly top: Top;
  /** What is to be done; nothing if it is missing. */
  readonly effect?: Effect;
}

/** The state before anything was seen. */
export function begin(domain: string, sort: Sort = "trouble"): Top {
  return { domain, samples: [], sort, selected: null, inspected: null, asked: null, note: "", error: "" };
}

/** How much a group needs somebody: what has stopped first, then what was given up, then what is late. */
function troubleOf(group: GroupStatus, isServed: boolean): readonly number[] {
  const { resting, dead, retrying, awaiting, running, workers, lagSeconds } = group;
  return [
    resting.length,
    dead,
    Object.keys(awaiting).length,
    isServed && running < workers ? 1 : 0,
    retrying,
    lagSeconds,
  ];
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : b[at] - a[at];
}

/** The groups in order. */
export function sorted({ samples, sort }: Pick<Top, "samples" | "sort">): GroupStatus[] {
  const last = samples.at(-1);
  if (!last) return [];
  const isServed = last.processes.length > 0;
  const keyOf = (group: GroupStatus): readonly number[] => {
    if (sort === "name") return [];
    if (sort === "trouble") return troubleOf(group, isServed);
    return [sort === "lag" ? group.lagMessages : ratesOf(samples, group.group)?.[sort] ?? 0];
  };
  const keyed = last.groups.map((group) => ({ group, key: keyOf(group) }));
  keyed.sort((a, b) => compareLists(a.key, b.key) || (a.group.group < b.group.group ? -1 : 1));
  return keyed.map(({ group }) => group);
}

function clamp(value: number, length: number): number {
  return Math.max(0, Math.min(value, length - 1));
}

/** How far a key moves; `null` if it does not. */
function movement({ name, ctrl }: Key): number | null {
  if (ctrl) return name === "d" ? 10 : name === "u" ? -10 : null;
  const moves: Record<string, number> = {
    up: -1,
    k: -1,
    down: 1,
    j: 1,
    pageup: -10,
    pagedown: 10,
    home: -Infinity,
    g: -Infinity,
    end: Infinity,
  };
  return moves[name ?? ""] ?? null;
}

function afterSample(top: Top, sample: Sample): Step {
  const samples = [...top.samples.slice(1 - WINDOW), sample];
  const names = sorted({ samples, sort: top.sort }).map(({ group }) => group);
  const selected = top.selected !== null && names.includes(top.selected) ? top.selected : names[0] ?? null;
  const next = { ...top, samples, selected, error: "" };
  // What is looked at goes on changing.
  return top.inspected ? { top: next, effect: { load: top.inspected.group } } : { top: next };
}

function afterLoad(top: Top, loaded: Pick<Inspected, "group" | "letters" | "waiting">): Top {
  const { inspected } = top;
  if (inspected?.group !== loaded.group) return top;
  const before = inspected.letters?.[inspected.chosen]?.id;
  const at = loaded.letters?.findIndex(({ id }) => id === before) ?? -1;
  const chosen = at >= 0 ? at : clamp(inspected.chosen, loaded.letters?.length ?? 0);
  return { ...top, inspected: { ...inspected, ...loaded, chosen } };
}

function move(top: Top, by: number): Top {
  const { inspected } = top;
  if (inspected?.opened) return { ...top, inspected: { ...inspected, scroll: Math.max(0, inspected.scroll + by) } };
  if (inspected) {
    const chosen = clamp(inspected.chosen + by, inspected.letters?.length ?? 0);
    return { ...top, inspected: { ...inspected, chosen } };
  }
  const names = sorted(top).map(({ group }) => group);
  const at = clamp(names.indexOf(top.selected ?? "") + by, names.length);
  return { ...top, selected: names[at] ?? null };
}

function enter(top: Top): Step {
  const { inspected, selected } = top;
  if (inspected) {
    const opened = inspected.letters?.[inspected.chosen];
    return opened && !inspected.opened ? { top: { ...top, inspected: { ...inspected, opened, scroll: 0 } } } : { top };
  }
  if (selected === null) return { top };
  const next: Inspected = { group: selected, letters: null, waiting: [], chosen: 0, opened: null, scroll: 0 };
  return { top: { ...top, inspected: next, note: "" }, effect: { load: selected } };
}

function back(top: Top): Top {
  const { inspected } = top;
  return { ...top, inspected: inspected?.opened ? { ...inspected, opened: null } : null, note: "" };
}

/** Asks whether to replay what is chosen; with Shift, all of the group. */
function askReplay(top: Top, isAll: boolean): Top {
  const { inspected } = top;
  const group = inspected?.group ?? top.selected;
  if (group === null || group === undefined) return top;
  const letter = inspected ? inspected.opened ?? inspected.letters?.[inspected.chosen] : undefined;
  if (letter && !isAll) {
    const text = `Hand "${letter.message.type}" at ${letter.message.position} back to ${group}?`;
    return { ...top, asked: { replay: { group, ids: [letter.id] }, text } };
  }
  const dead = top.samples.at(-1)?.groups.find((one) => one.group === group)?.dead ?? 0;
  if (dead === 0) return { ...top, note: `${group} has no dead letters` };
  const text = `Hand ${dead === 1 ? "the dead letter" : `all ${dead} dead letters`} of ${group} back to it?`;
  return { ...top, asked: { replay: { group }, text } };
}

function afterKey(top: Top, key: Key): Step {
  const { name, ctrl, shift } = key;
  if (ctrl && name === "c") return { top, effect: { quit: true } };
  if (top.asked) {
    const { replay } = top.asked;
    if (name === "y") return { top: { ...top, asked: null, note: "Replaying…" }, effect: { replay } };
    // Whatever else is pressed is no consent.
    return { top: { ...top, asked: null, note: "Nothing was replayed." } };
  }
  const by = movement(key);
  if (by !== null) return { top: move(top, by) };
  switch (name) {
    case "q":
      return { top, effect: { quit: true } };
    case "return":
    case "enter":
    case "right":
      return enter(top);
    case "escape":
    case "backspace":
    case "left":
      return { top: back(top) };
    case "r":
      return { top: askReplay(top, shift === true) };
    case "s": {
      const sort = SORTS[(SORTS.indexOf(top.sort) + (shift ? SORTS.length - 1 : 1)) % SORTS.length];
      return { top: { ...top, sort } };
    }
  }
  return { top };
}

/**
 * Returns what follows from something that happens.
 *
 * @param top The state.
 * @param happening What happens.
 */
export function update(top: Top, happening: Happening): Step {
  if ("key" in happening) return afterKey(top, happening.key);
  if ("sample" in happening) return afterSample(top, happening.sample);
  if ("failed" in happening) return { top: { ...top, error: happening.failed } };
  if ("loaded" in happening) return { top: afterLoad(top, happening.loaded) };
  const { inspected } = top;
  // What was replayed is no dead letter any more.
  const shown = inspected?.opened ? { ...inspected, opened: null } : inspected;
  const next = { ...top, note: happening.done, inspected: shown };
  return shown ? { top: next, effect: { load: shown.group } } : { top: next };
}

import { isInternal, isOfCommands, type MessageRecord } from "../messages/envelope.ts";
import { partitionOf } from "../messages/ids.ts";
import { INBOX, TIMER as TIMERS } from "../processes/names.ts";
import {
  type Checkpoint,
  type CommandOutcome,
  type DeadLetter,
  type DeferredMessage,
  REPLAY,
  type ScheduledMessage,
} from "../store/port.ts";

const TIMER = TIMERS.type;

/** What a message is: as its category tells. `internal`: of the toolkit itself, like what a process has handled. */
export type TracedKind = "command" | "event" | "internal";

/**
 * What became of a message. `stored`: it is in the log, and nobody decides on it. `undecided`: a command that is still to be
 * decided. `decided`: its outcome is not kept any more. `scheduled`: it will be appended when it is due. `missing`: others
 * were caused by it, and the log does not have it (any more).
 */
export type TracedState =
  | "stored"
  | "undecided"
  | "decided"
  | "accepted"
  | "refused"
  | "failed"
  | "scheduled"
  | "missing";

/**
 * What a group did with a message. `passed`: it was handled, or there was nothing to do. `behind`: the group is not there yet.
 * `waiting`: for an earlier message of its stream, or for its first attempt. `retrying`: it failed and is tried again. `unknown type`:
 * no code knew it when it came. `set aside`: it is a dead letter, and what follows in its stream waits. `dead`: it is a dead letter.
 */
export type HandlingState = "passed" | "behind" | "waiting" | "retrying" | "unknown type" | "set aside" | "dead";

/** What a group did with one message. */
export interface TracedHandling {
  /** The consumer group. */
  readonly group: string;
  /** The kind of its handler, like `projector`. */
  readonly kind: string;
  /** How far it is with this message. */
  readonly state: HandlingState;
  /** The attempts that were begun and did not succeed. */
  readonly attempts: number;
  /** The last error; `null` if there was none. */
  readonly error: string | null;
  /** When it is tried again, in milliseconds since 1970; `null` if it is not. */
  readonly dueAt: number | null;
  /** The dead letter; `null` if it is none. */
  readonly deadLetter: string | null;
  /** When it is known to have acted on it, in milliseconds since 1970; `null` if nothing tells: handling leaves no trace by itself. */
  readonly time: number | null;
  /** The milliseconds between the message and that; `null` if it is not known. */
  readonly after: number | null;
  /** The messages that it wrote because of this one. */
  readonly led: readonly TracedMessage[];
}

/** One message of a trace, and what it led to. */
export interface TracedMessage {
  /** The message's id. */
  readonly id: string;
  /** What it is. */
  readonly kind: TracedKind;
  /** What became of it. */
  readonly state: TracedState;
  /** The id of the message that caused it; `null` if none did, or it is not known. */
  readonly causationId: string | null;
  /** Where it is in the log; `null` if it is not there. */
  readonly position: number | null;
  /** Its type; empty if it is missing. */
  readonly type: string;
  /** Its category; empty if it is missing. */
  readonly category: string;
  /** Its stream; empty if it is missing. */
  readonly stream: string;
  /** When it was made, or is due, in milliseconds since 1970; `null` if it is missing. */
  readonly time: number | null;
  /** The milliseconds between what caused it and this one; `null` if one of the times is not known. */
  readonly after: number | null;
  /** Why it was refused, or failed; `null` otherwise. */
  readonly reason: string | null;
  /** Its payload as stored; `null` if it was not read. */
  readonly data: string | null;
  /** What the groups did with it. */
  readonly handled: readonly TracedHandling[];
  /** The messages that it led to, when it cannot be told by which group they were written. */
  readonly led: readonly TracedMessage[];
}

/** A group that may have handled messages. */
export interface TracedGroup {
  /** The consumer group. */
  readonly name: string;
  /** The kind of its handler. */
  readonly kind: string;
  /** The categories it reads. */
  readonly categories: readonly string[];
  /** The message types it handles. */
  readonly handles: readonly string[];
  /** Whether it may write a message of a category. */
  readonly writes: (category: string) => boolean;
}

/** What a trace is made of. */
export interface TraceParts {
  /** Messages of the log, in any order. */
  readonly records: readonly MessageRecord[];
  /** Outcomes of commands among them. */
  readonly outcomes?: readonly CommandOutcome[];
  /** Dead letters: those of other messages are left out. */
  readonly dead?: readonly DeadLetter[];
  /** Deferred messages: others are left out. */
  readonly deferred?: readonly DeferredMessage[];
  /** Messages that are to be appended later. */
  readonly scheduled?: readonly ScheduledMessage[];
  /** The groups that read the log. */
  readonly groups?: readonly TracedGroup[];
  /** How far they are. */
  readonly checkpoints?: readonly Checkpoint[];
  /**
   * Whether to show messages of the toolkit itself as well, like what a process has handled. Those that something is wrong with,
   * and timers, are always shown. @default {true}
   */
  readonly internals?: boolean;
}

/** A message on its way into the tree. */
interface Draft {
  readonly facts: Omit<TracedMessage, "after" | "handled" | "led">;
  readonly order: number;
  readonly children: Draft[];
  /** How many causes it has; see {@linkcode DEEPEST}. */
  depth: number;
}

/** A longer chain of causes goes on as a root of its own: whoever prints or serialises a tree goes down as deep as it is. */
const DEEPEST = 300;

function kindOf(category: string): TracedKind {
  if (isOfCommands(category)) return "command";
  const isOfInbox = category.endsWith(`:${INBOX}`) && !category.endsWith(`::${INBOX}`);
  return isInternal(category) || isOfInbox ? "internal" : "event";
}

function reasonOf(outcome: CommandOutcome | undefined): string | null {
  if (!outcome || outcome.status === "accepted") return null;
  const { message } = JSON.parse(outcome.detail) as { message?: unknown };
  return typeof message === "string" ? message : null;
}

function stateOf(kind: TracedKind, outcome: CommandOutcome | undefined): TracedState {
  return outcome?.status ?? (kind === "command" ? "undecided" : "stored");
}

/** The milliseconds from one time to another. Clocks of machines differ: nothing is before what caused it. */
function between(from: number | null, to: number | null): number | null {
  return from === null || to === null ? null : Math.max(0, to - from);
}

function keyOf(group: string, position: number): string {
  return `${position} ${group}`;
}

/** Says what groups did with messages. */
class Handlings {
  #groups = new Map<string, TracedGroup[]>();
  #dead = new Map<string, DeadLetter>();
  #deferred = new Map<string, DeferredMessage>();
  #checkpoints: ReadonlyMap<string, readonly Checkpoint[]>;

  constructor({ dead = [], deferred = [], groups = [], checkpoints = [] }: TraceParts) {
    for (const letter of dead) {
      const key = keyOf(letter.group, letter.message.position);
      const known = this.#dead.get(key);
      if (!known || known.deadAt <= letter.deadAt) this.#dead.set(key, letter);
    }
    for (const one of deferred) this.#deferred.set(keyOf(one.group, one.position), one);
    for (const group of groups) {
      for (const category of group.categories) {
        this.#groups.set(category, [...this.#groups.get(category) ?? [], group]);
      }
    }
    this.#checkpoints = Map.groupBy(checkpoints, ({ group }) => group);
    // Groups of the past that no code has any more still hold what they gave up.
    for (const { group, message } of dead) this.#addPast(group, message.category);
    for (const { group, category } of deferred) this.#addPast(group, category);
  }

  #addPast(name: string, category: string): void {
    const known = this.#groups.get(category) ?? [];
    if (known.some((group) => group.name === name)) return;
    this.#groups.set(category, [...known, {
      name,
      kind: "",
      categories: [category],
      handles: [],
      writes: () => false,
    }]);
  }

  /** The groups that a message is for. */
  of(category: string, type: string, position: number): TracedGroup[] {
    return (this.#groups.get(category) ?? []).filter(({ name, handles }) =>
      handles.includes(type) || this.#dead.has(keyOf(name, position)) || this.#deferred.has(keyOf(name, position))
    );
  }

  #hasPassed(group: string, { category, stream, position }: Located): boolean {
    // Under each number of partitions that the group has had, its streams may have come to different positions.
    return (this.#checkpoints.get(group) ?? []).some((checkpoint) =>
      checkpoint.category === category && checkpoint.position >= position &&
      partitionOf(stream, checkpoint.partitions) === checkpoint.partition
    );
  }

  /** What a group did with a message of that time, because of which it wrote others. */
  by(
    { name, kind }: TracedGroup,
    at: Located,
    time: number | null,
    led: readonly TracedMessage[],
  ): TracedHandling {
    const letter = this.#dead.get(keyOf(name, at.position));
    const deferred = this.#deferred.get(keyOf(name, at.position));
    const failures = deferred?.failures.length ? deferred.failures : letter?.attempts ?? [];
    const wrote = led.find(({ position }) => position !== null)?.time ?? null;
    const acted = failures.at(-1)?.at ?? letter?.deadAt ?? wrote;
    const found = {
      group: name,
      kind,
      attempts: failures.length,
      error: failures.at(-1)?.error ?? letter?.error ?? null,
      dueAt: null,
      deadLetter: letter?.id ?? null,
      time: acted,
      after: between(time, acted),
      led,
    };
    if (deferred?.awaits === REPLAY) return { ...found, state: "set aside" };
    if (deferred?.awaits) return { ...found, state: "unknown type", error: `no code knows ${deferred.awaits}` };
    if (deferred && failures.length > 0) return { ...found, state: "retrying", dueAt: deferred.dueAt };
    if (deferred) return { ...found, state: "waiting" };
    if (letter) return { ...found, state: "dead" };
    // Whoever has written something because of it is done with it, whatever was read of its checkpoint before.
    return { ...found, state: wrote !== null || this.#hasPassed(name, at) ? "passed" : "behind" };
  }
}

type Located = Pick<MessageRecord, "category" | "stream" | "position">;

/** What is known of messages, by their ids: each once, whatever it was found as. */
function draftsOf({ records, outcomes = [], dead = [], scheduled = [] }: TraceParts): Map<string, Draft> {
  const decided = new Map(outcomes.map((outcome) => [outcome.commandId, outcome]));
  const drafts = new Map<string, Draft>();
  const known = [...records, ...dead.map(({ message }) => message)].sort((a, b) => a.position - b.position);
  for (const { id, position, type, category, stream, time, data, causationId } of known) {
    if (drafts.has(id)) continue;
    const kind = kindOf(category);
    const outcome = decided.get(id);
    const state = stateOf(kind, outcome);
    const reason = reasonOf(outcome);
    const facts = { id, kind, state, causationId, position, type, category, stream, time, reason, data: data || null };
    drafts.set(id, { facts, order: position, children: [], depth: 0 });
  }
  const later = [...scheduled].sort((a, b) => a.dueAt - b.dueAt || (a.key < b.key ? -1 : 1));
  for (const [i, { dueAt, category, stream, message: { id, type, data, causationId } }] of later.entries()) {
    if (drafts.has(id)) continue;
    const state = "scheduled";
    const kind = kindOf(category);
    const where = { position: null, type, category, stream, time: dueAt };
    const facts = { id, kind, state, causationId, ...where, reason: null, data: data || null } as const;
    drafts.set(id, { facts, order: Number.MAX_SAFE_INTEGER - later.length + i, children: [], depth: 0 });
  }
  return drafts;
}

/** A cause that the log does not have: a command that was decided where it was sent, or a part of a log that was moved. */
function missing(id: string, order: number, outcome: CommandOutcome | undefined): Draft {
  const facts = {
    id,
    kind: outcome ? "command" : "event",
    state: outcome?.status ?? "missing",
    causationId: null,
    position: null,
    type: "",
    category: "",
    stream: "",
    time: null,
    reason: reasonOf(outcome),
    data: null,
  } as const;
  return { facts, order, children: [], depth: 0 };
}

/** Links messages to their causes; returns those that have none. */
function linked(drafts: Map<string, Draft>, outcomes: readonly CommandOutcome[]): Draft[] {
  const roots: Draft[] = [];
  const decided = new Map(outcomes.map((outcome) => [outcome.commandId, outcome]));
  for (const draft of [...drafts.values()].sort((a, b) => a.order - b.order)) {
    const { facts: { causationId }, order } = draft;
    if (causationId === null) {
      roots.push(draft);
      continue;
    }
    let cause = drafts.get(causationId);
    if (!cause) {
      cause = missing(causationId, order - 0.5, decided.get(causationId));
      drafts.set(causationId, cause);
      roots.push(cause);
    }
    // Nothing is caused by what comes later. A log that says so was tampered with, and may go in a circle.
    if (cause.order >= order || cause.depth === DEEPEST) roots.push(draft);
    else {
      draft.depth = cause.depth + 1;
      cause.children.push(draft);
    }
  }
  // Commands that were decided where they were sent, and have written nothing.
  for (const outcome of outcomes) {
    if (!drafts.has(outcome.commandId)) roots.push(missing(outcome.commandId, Infinity, outcome));
  }
  return roots;
}

/** Finds by which of the groups that handled a message another one was written that it caused. */
function writerOf(groups: readonly TracedGroup[], category: string): TracedGroup | undefined {
  const able = groups.filter(({ writes }) => writes(category));
  if (able.length === 1) return able[0];
  return able.length === 0 && groups.length === 1 ? groups[0] : undefined;
}

/** An outcome is kept for a while only; a command that is a dead letter has failed. */
function settledState({ state, handled }: TracedMessage): TracedState {
  if (state !== "undecided") return state;
  if (handled.some((by) => by.state === "dead" || by.state === "set aside")) return "failed";
  return handled.some((by) => by.state === "passed") ? "decided" : "undecided";
}

/** Whether somebody has to see a message of the toolkit itself. */
function isPlain({ kind, state, type, handled }: TracedMessage): boolean {
  return kind === "internal" && state === "stored" && type !== TIMER && handled.every((by) => by.state === "passed");
}

/** Puts what messages of the toolkit itself led to in the place of those. */
function withoutInternals(message: TracedMessage): TracedMessage {
  const { time } = message;
  const since = (led: readonly TracedMessage[]) => led.map((one) => ({ ...one, after: between(time, one.time) }));
  const handled: TracedHandling[] = [];
  const led: TracedMessage[] = [];
  const take = (one: TracedMessage) => {
    for (const by of one.handled) handled.push({ ...by, after: between(time, by.time), led: since(by.led) });
    led.push(...since(one.led));
  };
  for (const by of message.handled) {
    const [internal, others] = [by.led.filter(isPlain), by.led.filter((one) => !isPlain(one))];
    const isOnlyRoute = internal.some((one) => one.handled.length > 0) && others.length === 0 && by.state === "passed";
    if (!isOnlyRoute || message.kind === "command") handled.push({ ...by, led: others });
    for (const one of internal) take(one);
  }
  for (const one of message.led) {
    if (isPlain(one)) take(one);
    else led.push(one);
  }
  return { ...message, handled, led };
}

/**
 * Makes the tree of what messages led to: message → groups that handled it → messages that they wrote.
 *
 * Each message is in it once. A cause that is not among the messages becomes a root of its own, whose state is `missing`.
 *
 * @param parts What is known.
 * @returns The messages without a cause, in the order of the log.
 */
export function treeOf(parts: TraceParts): TracedMessage[] {
  const drafts = draftsOf(parts);
  const roots = linked(drafts, parts.outcomes ?? []);
  const handlings = new Handlings(parts);
  const made = new Map<Draft, TracedMessage>();

  const finish = ({ facts, children }: Draft, causeTime: number | null): TracedMessage => {
    const { category, stream, position, type, time } = facts;
    const take = (child: Draft) => made.get(child)!;
    const after = between(causeTime, time);
    if (position === null) return { ...facts, after, handled: [], led: children.map(take) };
    const groups = handlings.of(category, type, position);
    const written = Map.groupBy(children, (child) => writerOf(groups, child.facts.category)?.name ?? null);
    const handled = groups.map((group) => {
      const led = (written.get(group.name) ?? []).map(take);
      return handlings.by(group, { category, stream, position }, time, led);
    });
    const found = { ...facts, after, handled, led: (written.get(null) ?? []).map(take) };
    const settled = { ...found, state: settledState(found) };
    return parts.internals === false ? withoutInternals(settled) : settled;
  };

  // Bottom up.
  const open: { draft: Draft; causeTime: number | null; isEntered: boolean }[] = [];
  for (const root of roots) open.push({ draft: root, causeTime: null, isEntered: false });
  while (open.length > 0) {
    const top = open.at(-1)!;
    if (top.isEntered) {
      made.set(top.draft, finish(top.draft, top.causeTime));
      open.pop();
      continue;
    }
    top.isEntered = true;
    for (const child of top.draft.children) {
      open.push({ draft: child, causeTime: top.draft.facts.time, isEntered: false });
    }
  }
  return roots.map((root) => made.get(root)!);
}

/** Goes through a trace in the order of its lines, with how deep each message is; a group is one level. */
export function* walk(
  roots: readonly TracedMessage[],
): Generator<{ readonly message: TracedMessage; readonly depth: number; readonly by: TracedHandling | null }> {
  type Step = { readonly message: TracedMessage; readonly depth: number; readonly by: TracedHandling | null };
  const open: Step[] = roots.map((message) => ({ message, depth: 0, by: null })).reverse();
  while (open.length > 0) {
    const step = open.pop()!;
    yield step;
    const { message: { handled, led }, depth } = step;
    const next = [
      ...handled.flatMap((by) => by.led.map((message): Step => ({ message, depth: depth + 2, by }))),
      ...led.map((message): Step => ({ message, depth: depth + 1, by: null })),
    ];
    open.push(...next.reverse());
  }
}

import { scheduleKey } from "../domain/scheduling.ts";
import type { DomainDescription, HandlerDescription } from "../isolation/protocol.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { idFault } from "../messages/ids.ts";
import { isOfCommands, type MessageRecord } from "../messages/envelope.ts";
import { LARGE } from "../store/large.ts";
import type { CommandOutcome, DeadLetter, DeferredMessage, EventStore, ScheduledMessage } from "../store/port.ts";
import { eachDeadLetter } from "./dead_letters.ts";
import { groupsOf } from "./groups.ts";
import { positionBefore, scan, type Scanned, timeOfId } from "./scan.ts";
import { MOST_SHOWN } from "./streams.ts";
import { type TracedGroup, type TracedMessage, type TraceParts, treeOf, walk } from "./trace_tree.ts";

export type { HandlingState, TracedHandling, TracedKind, TracedMessage, TracedState } from "./trace_tree.ts";
export { walk } from "./trace_tree.ts";

/** Settings of {@linkcode traceOf}. */
export interface TraceOptions {
  /** The most messages to read, the first. @default {10_000} */
  readonly limit?: number;
  /** The most lines of groups: each message has one for each group that handles it. @default {100_000} */
  readonly handlings?: number;
  /** How long to look through the log, in milliseconds. @default {20_000} */
  readonly patience?: number;
  /** Whether to read payloads; large ones, and those of the last messages if they are large together, are left out. @default {false} */
  readonly payloads?: boolean;
  /** Whether to show messages of the toolkit itself as well, like what a process has handled. @default {false} */
  readonly internals?: boolean;
}

/** What a message, or all messages of a correlation, led to. */
export interface Trace {
  /** The correlation that it is of. */
  readonly correlationId: string;
  /** What led to it, the first cause first; empty if it is asked for a correlation, or for its first message. */
  readonly causes: readonly TracedMessage[];
  /** What was asked for, with what it led to. */
  readonly roots: readonly TracedMessage[];
  /** The number of messages in {@linkcode Trace.roots}. */
  readonly messages: number;
  /** The milliseconds from its first message to the last one that is in the log. */
  readonly duration: number;
  /** What was not looked at, each a sentence; empty if nothing was left out. */
  readonly leftOut: readonly string[];
}

/** How many questions are asked at a time. */
const TOGETHER = 8;
/** How many dead letters and scheduled messages are read at a time. */
const PAGE = 200;
/** Most of a message's causes that are looked for. */
const MOST_CAUSES = 100;

/** Where the tree begins. */
interface Target {
  readonly correlationId: string;
  /** The message; `null` for the whole correlation. */
  readonly message: Pick<MessageRecord, "id" | "causationId"> & { readonly position: number | null } | null;
  /** The position in front of which nothing of it is. */
  readonly after: number;
}

/**
 * Finds out what a message led to: the groups that handled it, the messages they wrote, and so on.
 *
 * It only reads: nothing needs to run. The log is looked through from where the message is, because no store has an index of
 * correlations; that takes a second for some million messages.
 *
 * @param at The store, and the domain as its code describes it.
 * @param id The id or the position of any message, a correlation id, the id of a dead letter, or the key of a scheduled message.
 * @param options How much to read.
 * @returns The tree; `null` if nothing is known under this id. It has no roots if nothing was found in time.
 */
export async function traceOf(
  { store, domain }: { readonly store: EventStore; readonly domain: DomainDescription },
  id: string,
  options: TraceOptions = {},
): Promise<Trace | null> {
  return await new Tracer(store, domain, options).trace(id.trim());
}

/** A group, and which categories it may write. */
function tracedGroup(domain: DomainDescription, handler: HandlerDescription): TracedGroup {
  const { name, kind, categories, handles, appends, writes } = handler;
  const writesTo = (category: string): boolean =>
    appends.some((part) => part.category === category) ||
    (writes.commands && isOfCommands(category)) ||
    (writes.events && !isOfCommands(category) && !domain.parts.includes(category));
  return { name, kind, categories, handles, writes: writesTo };
}

class Tracer {
  #store: EventStore;
  #domain: DomainDescription;
  #limit: number;
  #handlings: number;
  #largest: number;
  #internals: boolean;
  #until: number;
  #room = new Semaphore(TOGETHER);
  #leftOut: string[] = [];
  #scheduled: Promise<ScheduledMessage[]> | undefined;

  constructor(store: EventStore, domain: DomainDescription, options: TraceOptions) {
    this.#store = store;
    this.#domain = domain;
    this.#limit = Math.max(1, options.limit ?? 10_000);
    this.#handlings = options.handlings ?? 100_000;
    this.#largest = options.payloads ? LARGE : 0;
    this.#internals = options.internals ?? false;
    this.#until = performance.now() + (options.patience ?? 20_000);
  }

  async trace(id: string): Promise<Trace | null> {
    const last = await this.#store.lastPosition();
    const target = await this.#find(id, last);
    if (target === null) {
      const nothing = { correlationId: id, causes: [], roots: [], messages: 0, duration: 0 };
      return this.#leftOut.length === 0 ? null : { ...nothing, leftOut: this.#leftOut };
    }
    const { correlationId, message, after } = target;
    const groups = (await groupsOf({ store: this.#store, domain: this.#domain }))
      .map((group) => tracedGroup(this.#domain, group));
    const { records, stoppedAt } = this.#cut(await this.#correlated(correlationId, after, last), groups);
    if (stoppedAt !== null) {
      this.#leftOut.push(`Messages behind position ${stoppedAt} of ${last} were not looked at`);
    }
    const scheduled = (await this.#allScheduled()).filter((one) => one.message.correlationId === correlationId);
    const parts = { records, scheduled, groups, ...await this.#surroundings(records, correlationId) };
    const found = this.#tree(parts, message?.id);
    let [messages, first, end] = [0, Infinity, 0];
    for (const { message: { time, position } } of walk(found)) {
      messages++;
      if (time === null || position === null) continue;
      [first, end] = [Math.min(first, time), Math.max(end, time)];
    }
    return {
      correlationId,
      causes: message === null ? [] : await this.#causes(message),
      roots: found,
      messages,
      duration: Math.max(0, end - first) || 0,
      leftOut: this.#leftOut,
    };
  }

  /** Reads the messages of a correlation; once their payloads are large together, the rest without. */
  async #correlated(correlationId: string, after: number, upTo: number): Promise<Scanned> {
    const wanted = { correlationId, upTo, until: this.#until, limit: this.#limit };
    const first = await scan(this.#store, { ...wanted, after, largest: this.#largest, most: MOST_SHOWN });
    const { records, stoppedAt } = first;
    const limit = this.#limit - records.length;
    if (stoppedAt === null || limit === 0) return first;
    const rest = await scan(this.#store, { ...wanted, after: stoppedAt, limit, largest: 0 });
    if (this.#largest > 0 && rest.records.length > 0) {
      this.#leftOut.push(`Payloads behind position ${stoppedAt} were not read`);
    }
    return { ...rest, records: [...records, ...rest.records] };
  }

  /** The first messages, with no more lines of groups than are shown; at least one. */
  #cut(found: Scanned, groups: readonly TracedGroup[]): Scanned {
    const { records } = found;
    const known = new Map<string, number>();
    let left = this.#handlings;
    for (const [i, { category, type }] of records.entries()) {
      const key = JSON.stringify([category, type]);
      const lines = known.get(key) ??
        groups.filter(({ categories, handles }) => categories.includes(category) && handles.includes(type)).length;
      known.set(key, lines);
      left -= lines;
      if (left < 0 && i > 0) return { records: records.slice(0, i), stoppedAt: records[i - 1].position };
    }
    return found;
  }

  #tree(parts: TraceParts, id: string | undefined): readonly TracedMessage[] {
    const roots = treeOf({ ...parts, internals: this.#internals });
    if (id === undefined) return roots;
    const found = subtree(roots, id);
    // It may be one of those that are not shown.
    return found.length > 0 || this.#internals ? found : subtree(treeOf({ ...parts, internals: true }), id);
  }

  /** Finds the message or the correlation that somebody means. */
  async #find(id: string, last: number): Promise<Target | null> {
    if (/^\d{1,15}$/.test(id)) {
      const [record] = await this.#store.readAt([Number(id)], { largest: 0 });
      return record ? targetOf(record) : null;
    }
    const key = /^[\da-f-]{36}$/i.test(id) ? id.toLowerCase() : id;
    const made = timeOfId(key);
    // A message is stored after its id was made, most of them at once.
    const start = made === null ? 0 : await positionBefore(this.#store, made, last);
    for (const [after, upTo] of start === 0 ? [[0, last]] : [[start, last], [0, start]]) {
      const range = { after, upTo, limit: 1, largest: 0, until: this.#until };
      const byId = await scan(this.#store, { ...range, id: key });
      if (byId.records.length > 0) return targetOf(byId.records[0]);
      const { records: [first], stoppedAt } = await scan(this.#store, { ...range, correlationId: key });
      if (first) return { correlationId: key, message: null, after: first.position - 1 };
      if (stoppedAt !== null) this.#leftOut.push(`The log was looked through from position ${after} to ${stoppedAt}`);
    }
    const letter = await this.#store.deadLetter(key);
    if (letter) return targetOf(letter.message);
    const scheduled = await this.#findScheduled(key);
    if (scheduled) {
      const { message: { correlationId, causationId, id } } = scheduled;
      return { correlationId, message: { id, causationId, position: null }, after: last };
    }
    // Decided where it was sent, and there are no events.
    const outcome = await this.#store.outcome(key);
    return outcome ? { correlationId: key, message: null, after: last } : null;
  }

  async #findScheduled(id: string): Promise<ScheduledMessage | undefined> {
    for (const key of idFault(id) === null ? [scheduleKey(id), id] : []) {
      const [found] = await this.#store.scheduled({ key });
      if (found) return found;
    }
    return (await this.#allScheduled()).find(({ message }) => message.id === id || message.correlationId === id);
  }

  /** Everything that is scheduled; without payloads that nobody asked for. */
  #allScheduled(): Promise<ScheduledMessage[]> {
    return this.#scheduled ??= (async () => {
      const found: ScheduledMessage[] = [];
      let after: string | undefined;
      while (true) {
        const page = await this.#store.scheduled({ limit: PAGE, ...(after !== undefined && { after }) });
        for (const one of page) {
          const isShown = one.message.data.length <= this.#largest;
          found.push(isShown ? one : { ...one, message: { ...one.message, data: "" } });
        }
        if (page.length < PAGE) return found;
        after = page[page.length - 1].key;
        if (performance.now() > this.#until) {
          this.#leftOut.push(`Scheduled messages behind the key ${JSON.stringify(after)} were not looked at`);
          return found;
        }
      }
    })();
  }

  /** All that is known about messages besides the log. */
  async #surroundings(records: readonly MessageRecord[], correlationId: string) {
    // Before what is deferred: a message that is done in between is seen as one that is not yet.
    const checkpoints = await this.#store.checkpoints();
    const [outcomes, deferred] = await Promise.all([
      this.#outcomes(records, [correlationId]),
      this.#deferred(records),
    ]);
    const dead = records.length === 0 ? [] : await this.#dead(records);
    return { checkpoints, outcomes, deferred, dead };
  }

  async #outcomes(records: readonly MessageRecord[], more: readonly string[] = []): Promise<CommandOutcome[]> {
    const known = new Set(records.map(({ id }) => id));
    const ids = records.filter(({ category }) => isOfCommands(category)).map(({ id }) => id);
    // Those that were decided where they were sent are not in the log.
    const causes = records.map(({ causationId }) => causationId).filter((id) => id !== null && !known.has(id));
    const asked = [...new Set([...more, ...ids, ...causes as string[]])];
    const found = await Promise.all(asked.map((id) => this.#room.run(() => this.#store.outcome(id))));
    return found.filter((outcome) => outcome !== null);
  }

  async #deferred(records: readonly MessageRecord[]): Promise<DeferredMessage[]> {
    if (records.length === 0) return [];
    const first = Math.min(...records.map(({ position }) => position));
    const positions = new Set(records.map(({ position }) => position));
    // Also of groups that no code has any more.
    const groups = new Set((await this.#store.countDeferred()).map(({ group }) => group));
    const found = await Promise.all(
      [...groups].map((group) => this.#room.run(() => this.#store.deferred(group, { after: first - 1 }))),
    );
    return found.flat().filter(({ position }) => positions.has(position));
  }

  /** The dead letters of some messages: those that are older than the first of them are not looked through. */
  async #dead(records: readonly MessageRecord[]): Promise<DeadLetter[]> {
    const positions = new Set(records.map(({ position }) => position));
    const earliest = records.reduce((first, { time }) => Math.min(first, time), Infinity) - 60_000;
    const found: DeadLetter[] = [];
    for await (const letter of eachDeadLetter({ store: this.#store }, { largest: this.#largest })) {
      if (positions.has(letter.message.position)) found.push(letter);
      if (letter.deadAt < earliest) break;
      if (performance.now() <= this.#until) continue;
      this.#leftOut.push(`Dead letters before ${new Date(letter.deadAt).toISOString()} were not looked at`);
      break;
    }
    return found;
  }

  /** What led to a message, the first cause first. */
  async #causes({ causationId, position }: NonNullable<Target["message"]>): Promise<TracedMessage[]> {
    const found: MessageRecord[] = [];
    let upTo = (position ?? await this.#store.lastPosition() + 1) - 1;
    let next = causationId;
    while (next !== null && found.length < MOST_CAUSES) {
      const [cause] = (await scan(this.#store, {
        id: next,
        after: 0,
        upTo,
        limit: 1,
        backward: true,
        largest: this.#largest,
        until: this.#until,
      })).records;
      if (!cause) break;
      found.push(cause);
      next = cause.causationId;
      upTo = cause.position - 1;
    }
    if (next !== null) this.#leftOut.push(`The cause ${next} is not in the log, or was not looked for`);
    const outcomes = await this.#outcomes(found);
    // Each on its own, with the milliseconds since its cause.
    const chain = treeOf({ records: found, outcomes });
    return [...walk(chain)].filter(({ message }) => message.state !== "missing")
      .map(({ message }) => ({ ...message, handled: [], led: [] }));
  }
}

function targetOf({ id, correlationId, causationId, position }: MessageRecord): Target {
  // The first message of a correlation gives it its name.
  const isFirst = id === correlationId;
  return { correlationId, message: isFirst ? null : { id, causationId, position }, after: position - 1 };
}

/** A message, and what of a long chain goes on as roots of their own behind it. */
function subtree(roots: readonly TracedMessage[], id: string): readonly TracedMessage[] {
  const found: TracedMessage[] = [];
  for (const { message } of walk(roots)) if (message.id === id) found.push(message);
  const ids = new Set([...walk(found)].map(({ message }) => message.id));
  for (const root of roots) {
    if (found.includes(root) || root.causationId === null || !ids.has(root.causationId)) continue;
    found.push(root);
    for (const { message } of walk([root])) ids.add(message.id);
  }
  return found;
}

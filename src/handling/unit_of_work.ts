import type { Aggregate } from "../domain/aggregate.ts";
import type { Boundary } from "../domain/boundary.ts";
import type { Loaded } from "../domain/context.ts";
import { DomainRuleError } from "../domain/errors.ts";
import type { Domain } from "../domain/model.ts";
import { keyless } from "../domain/scheduling.ts";
import type { SnapshotRule } from "../domain/snapshot.ts";
import { decode } from "../messages/codec.ts";
import {
  boundaryCategory,
  type Draft,
  factCategory,
  type Message,
  type MessageRecord,
  type NewMessage,
  reservationCategory,
  streamName,
} from "../messages/envelope.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { checkLength, jsonFaults } from "../messages/json.ts";
import { inherited, type Sender, withSender } from "../messages/sender.ts";
import { tagsFor } from "../messages/tags.ts";
import { isStorable } from "../messages/text.ts";
import { idFault, newId } from "../messages/ids.ts";
import { whatIs } from "../messages/names.ts";
import type { AppendCondition, Due, ScheduleEntry, Snapshot, StreamAppend } from "../store/port.ts";
import { isThenable, type Reading } from "./batch.ts";
import { BoundaryStates } from "./boundary_states.ts";
import { foldStream, isDue, snapshotOf } from "./snapshots.ts";

/** A stream as it was read, before pending appends. */
interface Base {
  readonly category: string;
  readonly loadedAt: number;
  readonly state: unknown;
  readonly publish: boolean;
  /** The id of its last message, the version of the newest snapshot, and when the next one is due. */
  readonly message?: string | null;
  readonly snapshot?: number;
  readonly rule?: SnapshotRule | undefined;
  /** Whether the state may be stale, so that the append must check its version. */
  readonly unverified?: boolean;
}

interface Touched {
  /** The snapshot that a dropped step is rolled back to. */
  readonly base: Base;
  readonly state: unknown;
  readonly version: number;
  readonly messages: readonly NewMessage[];
  /** What is told of the state, once for each step. */
  readonly facts?: readonly NewMessage[];
}

function untouched(base: Base): Touched {
  return { base, state: base.state, version: base.loadedAt, messages: [] };
}

/** The longest name of a field with unique values, in characters. */
const LONGEST_FIELD = 100;

/** A field's name as it stands before its value: different fields never share a stream. */
function checkField(field: unknown): string {
  if (typeof field === "string" && field !== "" && field.length <= LONGEST_FIELD && isStorable(field)) {
    return field.replaceAll("%", "%25").replaceAll(":", "%3A");
  }
  throw new DomainDefinitionError(
    `Cannot claim or release a value: its field must be a non-empty string of at most ${LONGEST_FIELD} characters`,
  );
}

/** Refuses what is no message: most often a type that was not called. */
function checkDraft(draft: unknown): void {
  if (typeof draft !== "function") return;
  const { type = "it" } = draft as { type?: string };
  throw new DomainDefinitionError(`Cannot append "${type}" itself: call it with a payload, like ${type}({ … })`);
}

interface Reservation {
  readonly holder: string | null;
}

const RESERVED = "ValueReserved";
const RELEASED = "ValueReleased";

/**
 * Collects the writes of handlers, across aggregates and streams, into one append.
 *
 * Several messages may share a unit; each is a step that is kept or dropped as a whole.
 */
export class UnitOfWork {
  #domain: Domain;
  #reading: Reading;
  #now: () => number;
  #kept = new Map<string, Touched>();
  #step = new Map<string, Touched>();
  #queued: StreamAppend[] = [];
  #stepQueued: StreamAppend[] = [];
  /** What is scheduled by key; `null`: not any more. */
  #scheduled = new Map<string, ScheduleEntry | null>();
  #stepScheduled = new Map<string, ScheduleEntry | null>();
  /** The versions of the snapshots that are to be kept. */
  #snapshots = new Map<string, number>();
  #cause: Message | undefined;
  #characters = 0;
  /** The states within boundaries. */
  readonly boundaries: BoundaryStates;

  /**
   * Creates an empty unit.
   *
   * @param domain The domain.
   * @param reading What to read from.
   */
  constructor(domain: Domain, reading: Reading) {
    this.#domain = domain;
    this.#reading = reading;
    this.#now = reading.now ?? Date.now;
    this.boundaries = new BoundaryStates(domain, reading);
  }

  /** Begins a step; messages created from here on carry the message's correlation. */
  begin(cause: Message): void {
    this.drop();
    this.#cause = cause;
  }

  /** Keeps the changes since {@linkcode UnitOfWork.begin}. */
  keep(): void {
    for (const [stream, touched] of this.#step) this.#kept.set(stream, touched);
    this.#queued.push(...this.#stepQueued);
    for (const [key, entry] of this.#stepScheduled) this.#scheduled.set(key, entry);
    this.boundaries.keep();
    this.#step = new Map();
    this.#stepQueued = [];
    this.#stepScheduled = new Map();
  }

  /** Drops the changes since {@linkcode UnitOfWork.begin}. */
  drop(): void {
    // Loaded streams stay, to save another read, and because a refusal based on a cached state must have its version
    // checked, whatever the step has appended.
    for (const [stream, { base }] of this.#step) {
      if (!this.#kept.has(stream)) this.#kept.set(stream, untouched(base));
    }
    this.boundaries.drop();
    this.#step = new Map();
    this.#stepQueued = [];
    this.#stepScheduled = new Map();
  }

  #find(stream: string): Touched | undefined {
    return this.#step.get(stream) ?? this.#kept.get(stream);
  }

  /** Whether an aggregate is loaded, so that {@linkcode UnitOfWork.state} can be used. */
  has(aggregate: Aggregate, id: string): boolean {
    return this.#find(this.#domain.streamOf(aggregate, id)) !== undefined;
  }

  /** Returns the state of a loaded aggregate. */
  state(aggregate: Aggregate, id: string): Loaded<unknown> {
    const stream = this.#domain.streamOf(aggregate, id);
    const found = this.#find(stream);
    if (!found) throw new Error(`Stream "${stream}" was not loaded`);
    return found;
  }

  /** Loads an aggregate from this unit, from the cache plus newer events, or from all its events. */
  async load(aggregate: Aggregate, id: string): Promise<Loaded<any>> {
    const domain = this.#domain;
    const { cache, guard = (work) => work() } = this.#reading;
    const { snapshots: rule } = aggregate;
    const stream = domain.streamOf(aggregate, id);
    const category = domain.categoryOf(aggregate);
    const found = this.#find(stream);
    if (found) return found;
    const cached = cache?.get(stream);
    if (cached?.trusted) {
      // Usually nobody else writes to the streams of a partition, so trust the cache. The append checks the version of
      // every state used, even if nothing is written, so no command is refused because of a stale state.
      const { state, version: loadedAt, message, snapshot } = cached;
      const known = untouched({ category, loadedAt, state, publish: true, message, snapshot, rule, unverified: true });
      this.#step.set(stream, known);
      return known;
    }
    const apply = (state: unknown, records: readonly MessageRecord[]) =>
      records.length === 0
        ? state
        : guard(() => records.reduce((state, record) => aggregate.apply(state, decode(record, domain.types)), state));
    const fold = { initial: () => guard(() => aggregate.initial()), apply, rule: rule ?? null };
    const { state, version: loadedAt, message, snapshot } = await foldStream(this.#reading, stream, fold, cached);
    const raced = this.#find(stream);
    if (raced) return raced;
    const loaded = untouched({ category, loadedAt, state, publish: true, message, snapshot, rule });
    this.#step.set(stream, loaded);
    return loaded;
  }

  /**
   * Appends events to a loaded aggregate and checks its invariants after each.
   *
   * @throws {DomainRuleError} If an invariant breaks.
   */
  append(aggregate: Aggregate, id: string, drafts: readonly Draft[]): void {
    const domain = this.#domain;
    const stream = domain.streamOf(aggregate, id);
    const found = this.#find(stream);
    if (!found) throw new Error(`Stream "${stream}" was not loaded`);
    let { state, version } = found;
    const messages = [...found.messages];
    for (const draft of drafts) {
      checkDraft(draft);
      if (draft?.kind !== "event" || !aggregate.events.some((event) => event.type === draft.type)) {
        throw new DomainDefinitionError(
          `Cannot append ${whatIs(draft)} to "${stream}": it is not an event of "${aggregate.name}"`,
        );
      }
      const message = this.message(draft);
      version++;
      const event = {
        type: draft.type,
        payload: draft.payload,
        aggregateId: id,
        version,
        time: new Date(message.time),
      };
      state = aggregate.apply(state, event);
      aggregate.check(state);
      this.boundaries.add(event, message.tags ?? []);
      messages.push(message);
    }
    const before = this.#kept.get(stream)?.facts ?? [];
    const facts = drafts.length > 0 ? [...before, ...this.#factOf(aggregate, id, state)] : found.facts ?? [];
    this.#step.set(stream, { ...found, state, version, messages, facts });
  }

  /** What an aggregate tells others of its state. */
  #factOf({ name, facts }: Aggregate, id: string, state: unknown): NewMessage[] {
    if (!facts) return [];
    const payload = facts.from(state, id);
    if (payload === null) return [];
    if (payload === undefined || isThenable(payload)) {
      throw new DomainDefinitionError(
        `facts.from of "${name}" returned ${
          payload === undefined ? "undefined (missing return?)" : "a promise"
        }; return a payload of "${facts.event.type}", or null`,
      );
    }
    return [this.message(facts.event(payload))];
  }

  /**
   * Appends events that are decided within a boundary.
   *
   * @param boundary The boundary.
   * @param id The id that their stream is named by.
   * @param drafts The events.
   */
  appendWithin(boundary: Boundary, id: string, drafts: readonly Draft[]): void {
    const own = boundaryCategory(this.#domain.name);
    for (const draft of drafts) {
      checkDraft(draft);
      if (draft?.kind !== "event" || !boundary.events.some((event) => event.type === draft.type)) {
        throw new DomainDefinitionError(
          `Cannot append ${whatIs(draft)}: it is not an event of boundary "${boundary.name}"`,
        );
      }
      const category = this.#domain.categoryOfEvent(draft.type);
      if (category !== own) {
        throw new DomainDefinitionError(
          `Cannot append "${draft.type}" as an event of boundary "${boundary.name}": it is one of an aggregate (${category}); ` +
            `append it to that: await context.append(TheAggregate, id, ${draft.type}({ … }))`,
        );
      }
      const message = this.message(draft);
      const { type, payload } = draft;
      this.boundaries.add({ type, payload, aggregateId: id, time: new Date(message.time) }, message.tags ?? []);
      this.#stepQueued.push({
        category: own,
        stream: streamName(own, id),
        expected: "any",
        messages: [message],
        publish: true,
      });
    }
  }

  /**
   * Makes a message that the current one causes.
   *
   * @param draft What it says.
   * @param sender Who is to hear how it ends, if it is a command. @default {nobody}
   */
  message(draft: Draft, sender?: Sender): NewMessage {
    const { type } = draft;
    // The payload was checked when the message was made; handlers may have changed it since.
    const faults = jsonFaults(draft.payload);
    if (faults.length > 0) throw new PayloadError(type, faults);
    const data = JSON.stringify(draft.payload);
    checkLength(type, data, this.#reading.longest);
    this.#characters += data.length;
    const id = (this.#reading.newId ?? newId)();
    const cause = this.#cause;
    const known = this.#domain.types.get(type);
    // Of what is stored, whatever the function does to it.
    const tags = known?.tags ? tagsFor(known, JSON.parse(data)) : [];
    const metadata = cause && Object.keys(cause.metadata).length > 0 ? inherited(JSON.stringify(cause.metadata)) : null;
    return {
      id,
      type: draft.type,
      schemaVersion: draft.schemaVersion,
      time: this.#now(),
      correlationId: cause?.correlationId ?? id,
      causationId: cause?.id ?? null,
      data,
      metadata: sender ? withSender(metadata, sender) : metadata,
      ...(tags.length > 0 && { tags }),
    };
  }

  /**
   * Queues a message, such as a command, for a stream that is not read.
   *
   * @returns Its id.
   */
  queue(category: string, aggregateId: string, draft: Draft, sender?: Sender): string {
    const stream = streamName(category, aggregateId);
    const message = this.message(draft, sender);
    this.#stepQueued.push({ category, stream, expected: "any", messages: [message], publish: true });
    return message.id;
  }

  /**
   * Schedules a message for a stream; one with the same key is replaced.
   *
   * @returns Its id.
   */
  schedule(category: string, aggregateId: string, draft: Draft, due: Due, key?: string, sender?: Sender): string {
    const message = this.message(draft, sender);
    const entry = {
      key: key ?? keyless(message.id),
      due,
      category,
      stream: streamName(category, aggregateId),
      message,
    };
    this.#stepScheduled.set(entry.key, entry);
    return message.id;
  }

  /** Takes a message out of the schedule. */
  unschedule(key: string): void {
    this.#stepScheduled.set(key, null);
  }

  /** What is to be scheduled, and what is not any more. */
  scheduling(): { readonly schedule: ScheduleEntry[]; readonly unschedule: string[] } {
    const entries = [...this.#scheduled];
    return {
      schedule: entries.flatMap(([, entry]) => entry ?? []),
      unschedule: entries.flatMap(([key, entry]) => entry === null ? [key] : []),
    };
  }

  /**
   * Claims or releases a unique value. Each value has its own stream, appended with the rest.
   *
   * @throws {DomainRuleError} If another aggregate has the value.
   */
  async reserve(field: string, value: string, holder: string, release: boolean): Promise<void> {
    const domain = this.#domain;
    const { readStream } = this.#reading;
    const fault = idFault(value);
    if (typeof value !== "string") {
      throw new DomainDefinitionError(`Cannot claim or release a value of "${field}": ${fault}`);
    }
    if (fault !== null) throw new DomainRuleError(field, `cannot be claimed: ${fault}`);
    const category = reservationCategory(domain.name);
    const field_ = checkField(field);
    const stream = streamName(category, `${field_}:${value}`);
    let found = this.#find(stream);
    if (!found) {
      const records = await readStream(stream, 0);
      const last = records.at(-1);
      const state: Reservation = { holder: last?.type === RESERVED ? JSON.parse(last.data).holder : null };
      found = untouched({ category, loadedAt: last?.version ?? -1, state, publish: false });
      this.#step.set(stream, found);
    }
    const current = (found.state as Reservation).holder;
    if (!release && current !== null && current !== holder) throw new DomainRuleError(field, `"${value}" is taken`);
    if (release ? current !== holder : current === holder) return;
    const type = release ? RELEASED : RESERVED;
    const message = this.message({ kind: "event", type, schemaVersion: 1, payload: { field, value, holder } });
    this.#step.set(stream, {
      ...found,
      state: { holder: release ? null : holder },
      version: found.version + 1,
      messages: [...found.messages, message],
    });
  }

  /** The length of the payloads of all messages that were made, also of dropped ones, in characters. */
  get characters(): number {
    return this.#characters;
  }

  /** The types of the messages created by the current step. */
  get made(): string[] {
    const own = boundaryCategory(this.#domain.name);
    const types = this.#stepQueued.filter(({ category }) => category === own).flatMap(({ messages }) =>
      messages.map(({ type }) => type)
    );
    for (const [stream, touched] of this.#step) {
      if (!touched.base.publish) continue;
      for (const { type } of touched.messages.slice(this.#kept.get(stream)?.messages.length ?? 0)) types.push(type);
    }
    return types;
  }

  /** Returns everything kept, to be written as one append. */
  appends(): StreamAppend[] {
    const planned: StreamAppend[] = [];
    const facts: StreamAppend[] = [];
    for (
      const [stream, { base: { category, loadedAt, publish, unverified }, messages, facts: its = [] }] of this.#kept
    ) {
      if (messages.length > 0 || unverified) planned.push({ stream, category, expected: loadedAt, messages, publish });
      if (its.length === 0) continue;
      const told = factCategory(category);
      const id = stream.slice(category.length + 1);
      facts.push({ stream: streamName(told, id), category: told, expected: "any", messages: its, publish: true });
    }
    return [...planned, ...facts, ...this.#queued];
  }

  /** The states to be kept once that is written. */
  snapshots(): Snapshot[] {
    const due: Snapshot[] = [];
    for (const [stream, { base: { rule = null, snapshot = -1, message }, state, version, messages }] of this.#kept) {
      const last = messages.at(-1)?.id ?? message ?? null;
      if (!isDue(rule, { version, snapshot })) continue;
      // What cannot be kept is said once, and looked at again when the next one is due.
      this.#snapshots.set(stream, version);
      const one = snapshotOf(this.#reading, stream, { rule }, { state, version, message: last });
      if (one) due.push(one);
    }
    return due;
  }

  /** What has to hold when that is written. */
  conditions(): AppendCondition[] {
    return this.boundaries.conditions();
  }

  /** Caches the states after a successful append; marks them as stale after a conflict. */
  settle(written: boolean): void {
    const { cache } = this.#reading;
    this.boundaries.settle();
    for (const [stream, { base, state, version, messages }] of this.#kept) {
      if (!base.publish) continue;
      const { snapshot = -1, message = null } = base;
      const last = { message: messages.at(-1)?.id ?? message, snapshot: this.#snapshots.get(stream) ?? snapshot };
      if (written) cache?.set(stream, { state, version, ...last });
      else cache?.distrust(stream);
    }
  }
}

import type { Aggregate } from "../domain/aggregate.ts";
import { commandStream } from "../domain/command_handler.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain, Handler } from "../domain/model.ts";
import { firstGenerations } from "../projections/place.ts";
import { generationOf } from "../store/generations.ts";
import type { Projection, RowOf } from "../domain/projection.ts";
import type { StateOf } from "../domain/aggregate.ts";
import type { Effects } from "../handling/batch.ts";
import type { LocalRunner } from "../handling/runner.ts";
import { decode } from "../messages/codec.ts";
import { type Draft, isInternal, type Message, type MessageRecord } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { isConflict } from "../store/errors.ts";
import { Scheduler } from "../outbox/scheduler.ts";
import { MemoryEventStore } from "../store/memory.ts";
import { BEGIN, handleOne, newMessage, runnerOf } from "./world.ts";

/** How many messages a run may lead to before it is taken for endless. */
const ENDLESS = 10_000;

/** What has happened so far in a run. */
export class Seen {
  #domain: Domain;
  #events: Message[] = [];
  #states = new Map<string, { state: unknown; version: number }>();
  #ids = new Map<Aggregate, string[]>();
  #rows = new Map<string, Map<string, unknown>>();

  /** @internal */
  constructor(domain: Domain) {
    this.#domain = domain;
  }

  /** All events, in the order of the log. */
  get events(): readonly Message[] {
    return this.#events;
  }

  /** The ids of an aggregate's instances, in the order of their first events. */
  ids(aggregate: Aggregate): readonly string[] {
    return this.#ids.get(aggregate) ?? [];
  }

  /** The state of an aggregate. */
  state<A extends Aggregate>(aggregate: A, id: string): StateOf<A> {
    return (this.#states.get(this.#domain.streamOf(aggregate, id))?.state ?? aggregate.initial()) as StateOf<A>;
  }

  /** The rows of a projection, by key. */
  rows<P extends Projection>(projection: P): ReadonlyMap<string, RowOf<P>> {
    return (this.#rows.get(projection.name) ?? new Map()) as ReadonlyMap<string, RowOf<P>>;
  }

  /** @internal */
  add(record: MessageRecord): void {
    const domain = this.#domain;
    // No command, and no unique value.
    if (domain.categoryOfEvent(record.type) !== record.category) return;
    const message = decode(record, domain.types);
    this.#events.push(message);
    const aggregate = [...domain.aggregates.values()].find((one) => domain.categoryOf(one) === record.category);
    if (!aggregate) return;
    const { state = aggregate.initial() } = this.#states.get(record.stream) ?? {};
    if (record.version === 0) this.#ids.set(aggregate, [...this.ids(aggregate), message.aggregateId]);
    this.#states.set(record.stream, { state: aggregate.apply(state, message), version: record.version });
  }

  /** @internal */
  put({ projection, key, row }: Effects["rows"][number]): void {
    const { projection: name } = generationOf(projection);
    // Of a version that is to be replaced.
    if (this.#domain.rowsOf(name) !== projection) return;
    const rows = this.#rows.get(name) ?? new Map();
    this.#rows.set(name, rows);
    if (row === null) rows.delete(key);
    else rows.set(key, JSON.parse(row));
  }
}

/** A group in a run: what it has read up to, and what it has handled and not written. */
interface Progress {
  readonly handler: Handler;
  readonly categories: ReadonlySet<string>;
  readonly handles: ReadonlySet<string>;
  position: number;
  runner: LocalRunner;
  /** The worker of another server, which has the group now and then: what that remembers may be old. */
  other: LocalRunner;
  inHand: { readonly record: MessageRecord; readonly effects: Effects } | undefined;
}

/** One run: a domain whose groups handle, write, crash and lag as they are told to. */
export class Exploration {
  readonly seen: Seen;
  #domain: Domain;
  #now = BEGIN;
  #store: MemoryEventStore;
  #log: MessageRecord[] = [];
  #groups: Progress[];
  #history: string[];
  #changed: () => void;
  #scheduler: Scheduler;

  /**
   * Creates a run in which nothing has happened.
   *
   * @param domain The domain.
   * @param history What happens is added to it, in words.
   * @param changed Called after each change.
   */
  constructor(domain: Domain, history: string[], changed: (seen: Seen) => void) {
    this.#history = history;
    this.#domain = domain;
    this.#store = new MemoryEventStore({ clock: { now: () => this.#now } });
    for (const generation of firstGenerations(domain)) void this.#store.addGeneration(generation);
    this.#scheduler = new Scheduler({ store: this.#store, outbox: true, clock: { now: () => this.#now } });
    this.seen = new Seen(domain);
    this.#changed = () => changed(this.seen);
    this.#groups = [...domain.handlers.values()].map((handler) => ({
      handler,
      categories: new Set(domain.categoriesOf(handler)),
      handles: new Set(handler.kind.handles(handler).map(({ type }) => type)),
      position: 0,
      runner: this.#runner(handler),
      other: this.#runner(handler),
      inHand: undefined,
    }));
  }

  #runner(handler: Handler): LocalRunner {
    return runnerOf(this.#domain, handler, {
      readStream: (stream, from) => this.#store.readStream(stream, { from }),
      readRows: (projection, keys) => this.#store.readRows(projection, keys),
      readAt: (positions) => this.#store.readAt(positions),
      readTagged: (among, after) => this.#store.readTagged(among, { after }),
      readOutcome: (id) => this.#store.outcome(id),
      readSnapshot: (stream, fingerprint) => this.#store.readSnapshot(stream, fingerprint),
      now: () => this.#now,
    });
  }

  /** Lets time pass, in milliseconds; what is due is sent. */
  async elapse(ms: number): Promise<void> {
    this.#now += ms;
    this.#history.push(`${ms / 1_000} s pass`);
    while (await this.#scheduler.release() === 0);
    await this.#look();
  }

  /** Lets time pass until something is due; returns whether there was anything. */
  async elapseUntilDue(): Promise<boolean> {
    const { wait } = await this.#store.due(1);
    if (wait === null) return false;
    await this.elapse(wait);
    return true;
  }

  /** Sends a command. */
  async send(command: CommandDraft): Promise<void> {
    const handler = this.#domain.handlerOf(command.type);
    if (!handler) {
      throw new DomainDefinitionError(`No handler of domain "${this.#domain.name}" takes "${command.type}"`);
    }
    this.#history.push(`${textOf(command)} is sent`);
    const { category, stream } = commandStream(this.#domain, handler, command.aggregateId);
    const messages = [newMessage(command, this.#now)];
    await this.#store.commit({ appends: [{ category, stream, expected: "any", messages, publish: true }] });
    await this.#look();
  }

  /** Reads what was written. */
  async #look(): Promise<void> {
    const records = await this.#store.readLog({ after: this.#log.length, limit: ENDLESS });
    for (const record of records) {
      this.#log.push(record);
      this.seen.add(record);
    }
    if (this.#log.length > ENDLESS) {
      throw new Error(`it does not come to an end: ${ENDLESS} messages, the last of them ${records.at(-1)?.type}`);
    }
  }

  /** The groups that have something to handle or to write. */
  get busy(): number[] {
    return this.#groups.flatMap((group, i) => group.inHand || this.#next(group) ? [i] : []);
  }

  /** The number of groups. */
  get groups(): number {
    return this.#groups.length;
  }

  #next(group: Progress): MessageRecord | undefined {
    for (; group.position < this.#log.length; group.position++) {
      const record = this.#log[group.position];
      if (group.categories.has(record.category) && group.handles.has(record.type)) return record;
    }
  }

  /** Lets a group handle its next message; nothing is written yet. */
  async handle(index: number): Promise<void> {
    const group = this.#groups[index];
    const record = group.inHand ? undefined : this.#next(group);
    if (!record) return;
    group.inHand = { record, effects: await handleOne(group.runner, group.handler, record) };
  }

  /** Writes what a group has handled; if the state that it was decided on has changed, it is handled again. */
  async write(index: number): Promise<void> {
    const group = this.#groups[index];
    if (!group.inHand) return;
    const { record, effects } = group.inHand;
    group.inHand = undefined;
    const { handler: { name } } = group;
    const { statements: _, snapshots, ...written } = effects;
    const { appends, rows, outcomes, schedule } = written;
    try {
      await this.#store.commit(written);
    } catch (error) {
      group.runner.settle(false);
      if (!isConflict(error)) throw error;
      return void this.#history.push(`${name} finds ${record.type} decided on an old state`);
    }
    group.runner.settle(true);
    await this.#store.writeSnapshots(snapshots);
    group.position = record.position;
    const made = appends.flatMap(({ category, messages }) => isInternal(category) ? [] : messages);
    const what = [
      ...made.map(({ type, data }) => `${type} ${data}`),
      ...schedule.map(({ message: { type, data } }) => `${type} ${data} later`),
      ...rows.map(({ projection, key, row }) => `row "${key}" of ${projection}: ${row}`),
      ...outcomes.flatMap(({ status, detail }) =>
        status === "refused" ? [`refused: ${JSON.parse(detail).message}`] : []
      ),
    ];
    this.#history.push(`${name} handles ${record.type}: ${what.join(", ") || "nothing"}`);
    for (const row of rows) this.seen.put(row);
    await this.#look();
    this.#changed();
  }

  /** Ends the process of a group: what it has handled is not written, and will be handled again. */
  crash(index: number): void {
    const group = this.#groups[index];
    if (group.inHand) {
      this.#history.push(`${group.handler.name} crashes after it has handled ${group.inHand.record.type}`);
    }
    group.inHand = undefined;
    group.runner = this.#runner(group.handler);
  }

  /** Gives a group to the other server; what it has handled is not written, and will be handled there. */
  handOver(index: number): void {
    this.swap(index);
    this.#history.push(`${this.#groups[index].handler.name} goes on on another server`);
  }

  /** The same without a word in the history. */
  swap(index: number): void {
    const group = this.#groups[index];
    group.runner.settle(false);
    [group.runner, group.other, group.inHand] = [group.other, group.runner, undefined];
    // Servers forget everything when they take over a group. States have a version that appends check, and are kept here, to
    // see that they are checked; rows have none.
    if (group.handler.kind.keeps(group.handler).length > 0) group.runner.forget();
  }

  /** Ends the run. */
  async close(): Promise<void> {
    await this.#store.close();
  }
}

function textOf({ type, payload }: Draft): string {
  return `${type} ${JSON.stringify(payload)}`;
}

import type { Aggregate } from "../domain/aggregate.ts";
import { commandStream } from "../domain/command_handler.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain, Handler } from "../domain/model.ts";
import type { Projection } from "../domain/projection.ts";
import { LocalRunner } from "../handling/runner.ts";
import type { Effects, Reading } from "../handling/batch.ts";
import { decode } from "../messages/codec.ts";
import {
  type Draft,
  factCategory,
  isInternal,
  type Message,
  type MessageRecord,
  type NewMessage,
  streamName,
} from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { newId } from "../messages/ids.ts";
import type { ProcessManager } from "../domain/handlers.ts";
import { withStubs } from "./stubs.ts";
import { ABSENT, type Instance } from "../processes/instance.ts";
import { journalCategory } from "../processes/names.ts";
import { ProcessState } from "../processes/process_state.ts";
import { tagsFor } from "../messages/tags.ts";
import { MemorySchedule } from "../store/memory_schedule.ts";
import { MemoryTags } from "../store/memory_tags.ts";
import type { StreamAppend } from "../store/port.ts";

/** How a command ended. */
export type Decided =
  | { readonly status: "accepted" }
  | { readonly status: "refused"; readonly field: string; readonly rule: string; readonly message: string };

/** What has happened, and the commands that processes have sent for it. */
export interface Progress {
  /** The events. */
  readonly events: readonly Message[];
  /** The commands. */
  readonly sent: readonly Message[];
}

/** How many commands may be sent before that is taken for endless. */
const ENDLESS = 2_000;

/** What a handler may take: nothing takes long here, but a promise that never resolves must end. */
const TIMEOUT = 10_000;

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** Copies a payload as it would be stored and read. */
export function stored(payload: unknown): unknown {
  return JSON.parse(JSON.stringify(payload));
}

/** When a test begins, unless it says otherwise. */
export const BEGIN: number = Date.UTC(2026, 0, 1);

/** Creates a message as a client would store it. */
export function newMessage({ type, schemaVersion, payload }: Draft, now: number): NewMessage {
  const id = newId();
  const data = JSON.stringify(payload);
  return { id, type, schemaVersion, time: now, correlationId: id, causationId: null, data, metadata: null };
}

/** Creates what runs a handler as on a server. */
export function runnerOf(
  domain: Domain,
  handler: Handler,
  reading: Pick<Reading, "readStream" | "readRows" | "readAt" | "readTagged" | "readSnapshot" | "readOutcome" | "now">,
): LocalRunner {
  return new LocalRunner(domain, handler, { reading, timeout: TIMEOUT, log: SILENT });
}

/** Lets a handler handle one message; throws if that fails other than by a refusal. */
export async function handleOne(runner: LocalRunner, { name }: Handler, record: MessageRecord): Promise<Effects> {
  const result = await runner.run([{ record, attempt: 1 }], new AbortController().signal);
  if (result === "apart") throw new Error(`"${name}" has no result for "${record.type}"`);
  for (const { error, stack } of result.failures.values()) {
    const failure = new Error(`"${name}" failed on "${record.type}": ${error}`);
    if (stack !== null) failure.stack = `Error: ${failure.message}\n${stack}`;
    throw failure;
  }
  return result.effects;
}

/** The streams and rows of a domain in plain maps. Handlers run as on a server, one message at a time. */
export class World {
  #domain: Domain;
  #log: MessageRecord[] = [];
  #streams = new Map<string, MessageRecord[]>();
  #rows = new Map<string, string>();
  /** How many messages of the log each projector has seen. */
  #projected = new Map<Handler, number>();
  /** How many messages of the log each group of a process manager has seen. */
  #seen = new Map<Handler, number>();
  #schedule = new MemorySchedule();
  #tags = new MemoryTags();
  /** The runners of process managers, which remember their instances. */
  #runners = new Map<Handler, LocalRunner>();
  /** Commands that were sent and are not decided. */
  #undecided: StreamAppend[] = [];
  /** The time, in milliseconds since 1970. */
  now: number;

  /**
   * Creates an empty world.
   *
   * @param domain The domain.
   * @param now The time to begin with.
   */
  constructor(domain: Domain, now: number) {
    this.#domain = domain;
    this.now = now;
  }

  #categoryOf({ kind, type }: Draft): string {
    const found = this.#domain.categoryOfEvent(type);
    if (kind === "event" && found !== undefined) return found;
    throw new DomainDefinitionError(`"${type}" is not an event of domain "${this.#domain.name}"`);
  }

  /** Returns the aggregate that an event belongs to, if it is of one. */
  ownerOf(draft: Draft): Aggregate | undefined {
    const category = this.#categoryOf(draft);
    return [...this.#domain.aggregates.values()].find((one) => this.#domain.categoryOf(one) === category);
  }

  /** Appends events that have happened; processes react to them. */
  async happened(id: string, drafts: readonly Draft[]): Promise<Progress> {
    const events = drafts.flatMap((draft) => {
      const category = this.#categoryOf(draft);
      const aggregate = this.ownerOf(draft);
      const stream = aggregate ? this.#domain.streamOf(aggregate, id) : streamName(category, id);
      const tags = tagsFor(this.#domain.types.get(draft.type)!, draft.payload);
      const events = this.#append(category, stream, [{ ...newMessage(draft, this.now), tags }]);
      if (aggregate) this.#tell(aggregate, id, stream);
      return events;
    });
    return { events, sent: await this.#proceed() };
  }

  /** Appends what an aggregate tells of its state. */
  #tell(aggregate: Aggregate, id: string, stream: string): void {
    if (!aggregate.facts) return;
    const state = this.#streams.get(stream)!.reduce(
      (state, record) => aggregate.apply(state, decode(record, this.#domain.types)),
      aggregate.initial(),
    );
    const payload = aggregate.facts.from(state, id);
    if (payload === null) return;
    const category = factCategory(this.#domain.categoryOf(aggregate));
    this.#append(category, streamName(category, id), [newMessage(aggregate.facts.event(payload), this.now)]);
  }

  /** Lets the domain decide a command; processes react to what comes of it. */
  async decide(command: CommandDraft): Promise<Progress & { readonly decided: Decided }> {
    const handler = this.#domain.handlerOf(command.type);
    if (!handler) {
      throw new DomainDefinitionError(`No handler of domain "${this.#domain.name}" takes "${command.type}"`);
    }
    const { category, stream } = commandStream(this.#domain, handler, command.aggregateId);
    return await this.#decide(handler, { category, stream, messages: [newMessage(command, this.now)] });
  }

  async #decide(
    handler: Handler,
    { category, stream, messages }: Pick<StreamAppend, "category" | "stream" | "messages">,
  ): Promise<Progress & { readonly decided: Decided }> {
    this.#append(category, stream, messages);
    const { appends, outcomes } = await this.#run(handler, this.#log.at(-1)!);
    const [{ status, detail }] = outcomes;
    const { field, rule, message } = JSON.parse(detail);
    const decided: Decided = status === "refused" ? { status, field, rule, message } : { status: "accepted" };
    const events = this.#write(appends);
    return { decided, events, sent: await this.#proceed() };
  }

  /** Lets the domain decide what was sent, and what is sent for that, until nothing is left. */
  async settle(): Promise<Progress> {
    const [events, sent]: [Message[], Message[]] = [[], []];
    for (let undecided = this.#undecided.shift(); undecided; undecided = this.#undecided.shift()) {
      const handler = this.#domain.handlerOf(undecided.messages[0].type)!;
      const progress = await this.#decide(handler, undecided);
      events.push(...progress.events);
      sent.push(...progress.sent);
      if (sent.length > ENDLESS) throw new Error(`It does not come to an end: ${ENDLESS} commands were sent`);
    }
    return { events, sent };
  }

  /** Lets time pass: what becomes due meanwhile is sent when it is. */
  async elapse(milliseconds: number): Promise<readonly Message[]> {
    const end = this.now + milliseconds;
    const sent: Message[] = [];
    const fired = new Map<string, number>();
    while (true) {
      const { messages: [due], wait } = this.#schedule.due(1, this.now);
      if (due) {
        const { key, category, stream, message } = due;
        const times = (fired.get(key) ?? 0) + 1;
        fired.set(key, times);
        if (times > ENDLESS) {
          throw new Error(`It does not come to an end: "${key}" fired ${ENDLESS} times within ${milliseconds} ms`);
        }
        this.#schedule.change({ unschedule: [key] }, this.now);
        const append = { category, stream, expected: "any", messages: [{ ...message, time: this.now }] } as const;
        sent.push(...this.#take([{ ...append, publish: true }]), ...await this.#proceed());
      } else if (wait === null || this.now + wait > end) break;
      else this.now += wait;
    }
    this.now = end;
    return sent;
  }

  /** Returns an instance of a process manager. */
  async instance(process: ProcessManager, id: string): Promise<Instance> {
    const state = new ProcessState(process);
    const category = journalCategory(this.#domain.name, process.name);
    let instance = ABSENT;
    for (const { data } of this.#streams.get(streamName(category, id)) ?? []) {
      instance = state.apply(
        instance,
        JSON.parse(data),
        ({ position }) => decode(this.#log[position - 1], this.#domain.types),
      );
    }
    return await Promise.resolve(instance);
  }

  /** Lets processes react to what they have not seen; returns the commands that they send. */
  async #proceed(): Promise<Message[]> {
    const groups = [...this.#domain.handlers.values()].filter(({ kind }) => kind.appends !== undefined);
    const sent: Message[] = [];
    const next = (group: Handler): MessageRecord | undefined => {
      const categories = this.#domain.categoriesOf(group);
      const handles = new Set(group.kind.handles(group).map(({ type }) => type));
      for (let seen = this.#seen.get(group) ?? 0; seen < this.#log.length; seen++) {
        this.#seen.set(group, seen + 1);
        const record = this.#log[seen];
        if (categories.includes(record.category) && handles.has(record.type)) return record;
      }
    };
    for (let isDone = false; !isDone;) {
      isDone = true;
      for (const group of groups) {
        for (let record = next(group); record; record = next(group)) {
          isDone = false;
          sent.push(...this.#carryOut(await this.#run(group, record)));
        }
      }
    }
    return sent;
  }

  /** Keeps what was scheduled and appended; returns the commands that were sent. */
  #carryOut({ appends, schedule, unschedule }: Effects): Message[] {
    this.#schedule.change({ schedule, unschedule }, this.now);
    return this.#take(appends);
  }

  /** Appends what is of processes; commands are kept until they are decided, and returned. */
  #take(appends: readonly StreamAppend[]): Message[] {
    return appends.flatMap((append) => {
      const { category, stream, messages } = append;
      if (this.#domain.parts.has(category)) {
        this.#append(category, stream, messages);
        return [];
      }
      this.#undecided.push(append);
      return messages.map((message) =>
        decode({ ...message, category, stream, version: 0, position: 0 }, this.#domain.types)
      );
    });
  }

  /** Lets a handler react to an event; returns the commands that it sends. */
  async react(handler: Handler, event: Message): Promise<readonly Message[]> {
    const effects = await this.#run(handler, this.#log[event.position - 1]);
    this.#keep(effects.rows);
    return this.#carryOut(effects);
  }

  /** Returns a row of a projection; whoever keeps it has seen everything. */
  async row(projection: Projection, key: string): Promise<unknown> {
    const keeper = this.#domain.keeperOf(projection.name);
    if (keeper) await this.#project(keeper);
    const row = this.#rows.get(this.#rowName(projection.name, key));
    return row === undefined ? null : JSON.parse(row);
  }

  async #project(projector: Handler): Promise<void> {
    const categories = new Set(this.#domain.categoriesOf(projector));
    const handles = new Set(projector.kind.handles(projector).map(({ type }) => type));
    const from = this.#projected.get(projector) ?? 0;
    this.#projected.set(projector, this.#log.length);
    for (const record of this.#log.slice(from)) {
      if (!categories.has(record.category) || !handles.has(record.type)) continue;
      this.#keep((await this.#run(projector, record)).rows);
    }
  }

  #keep(rows: Effects["rows"]): void {
    for (const { projection, key, row } of rows) {
      if (row === null) this.#rows.delete(this.#rowName(projection, key));
      else this.#rows.set(this.#rowName(projection, key), row);
    }
  }

  /** Names a row; a projection's name stands for the rows of its newest version. */
  #rowName(projection: string, key: string): string {
    return JSON.stringify([this.#domain.rowsOf(projection), key]);
  }

  async #run(handler: Handler, record: MessageRecord): Promise<Effects> {
    const runner = this.#runners.get(handler) ?? runnerOf(this.#domain, handler, {
      readStream: (stream, from) => Promise.resolve(this.#streams.get(stream)?.slice(from) ?? []),
      readRows: (projection, keys) =>
        Promise.resolve(keys.flatMap((key) => {
          const row = this.#rows.get(this.#rowName(projection, key));
          return row === undefined ? [] : [{ key, row }];
        })),
      readAt: (positions) => Promise.resolve(positions.flatMap((position) => this.#log[position - 1] ?? [])),
      readTagged: (among, after) => {
        const messages = this.#tags.find(among, after).map((position) => this.#log[position - 1]);
        return Promise.resolve({ messages, last: this.#log.length });
      },
      now: () => this.now,
    });
    const isProcess = handler.kind.appends !== undefined;
    if (isProcess) this.#runners.set(handler, runner);
    const work = () => handleOne(runner, handler, record);
    // A process only says what is to be done.
    const effects = await (isProcess ? withStubs(handler.name, {}, work) : work());
    runner.settle(true);
    return effects;
  }

  #write(appends: Effects["appends"]): Message[] {
    return appends.flatMap(({ category, stream, messages }) => {
      const added = this.#append(category, stream, messages);
      const isOther = isInternal(category) || this.#domain.parts.has(category) || this.#domain.facts.has(category);
      return isOther ? [] : added;
    });
  }

  #append(category: string, stream: string, messages: readonly NewMessage[]): Message[] {
    const before = this.#streams.get(stream) ?? [];
    this.#streams.set(stream, before);
    return messages.map(({ tags, ...message }) => {
      const record = { ...message, category, stream, version: before.length, position: this.#log.length + 1 };
      if (tags) this.#tags.add({ position: record.position, type: record.type, tags });
      before.push(record);
      this.#log.push(record);
      // Unique values are no message of the domain.
      return isInternal(category) ? record as never : decode(record, this.#domain.types);
    });
  }
}

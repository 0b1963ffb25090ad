import type { CommandDraft } from "../domain/handlers.ts";
import { commandRoute } from "./command_route.ts";
import { deepFreeze, freezeMessage } from "../domain/freeze.ts";
import type { Domain } from "../domain/model.ts";
import type { ProcessManager } from "../domain/handlers.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { decode } from "../messages/codec.ts";
import { type Message, type MessageRecord, type NewMessage, streamName } from "../messages/envelope.ts";
import { DomainDefinitionError, UndecodableMessageError } from "../messages/errors.ts";
import { versionName } from "../messages/known_types.ts";
import { validate } from "../messages/schema.ts";
import { ABSENT, after, type Entry, type InputReference, type Instance } from "../processes/instance.ts";
import {
  COMMAND_END,
  type CommandEnd,
  EVENT,
  type EventReference,
  type Fired,
  HANDLED,
  inboxCategory,
  journalCategory,
  reactionName,
  TIMER,
  timerKey,
} from "../processes/names.ts";
import { ProcessState } from "../processes/process_state.ts";
import { type Decision, type Effect, StepMaker, type Vocabulary } from "../processes/steps.ts";
import { MOST_CHARACTERS } from "../store/large.ts";
import type { Snapshot, StreamAppend } from "../store/port.ts";
import { type Delivery, type Effects, type HandlerBatch, NO_EFFECTS, type Reading } from "./batch.ts";
import { UnexpectedInputError } from "./errors.ts";
import { type Fold, foldStream, isDue, snapshotOf } from "./snapshots.ts";
import type { Kept } from "./state_cache.ts";
import { UnitOfWork } from "./unit_of_work.ts";

/** How long events wait for an instance to begin, in milliseconds. */
const ABSENT_LIMIT = 3_600_000;

/** How many instances are read at a time. */
const LOADED_TOGETHER = 8;

/** How many messages are read at a time that inputs refer to. */
const TOGETHER = 50;

/** The timer that ends this; no timer of a process has such a name. */
const ABSENT_TIMER = "$absent";

/** What has become of an instance in this batch. */
interface Touched {
  /** The version of its journal before. */
  readonly expected: number;
  readonly instance: Instance;
  readonly messages: readonly NewMessage[];
  /** The version of the newest snapshot of it. */
  readonly snapshot: number;
}

/** What an input leads to, as it is collected. */
type Draft = { -readonly [K in keyof Entry]: Entry[K] } & {
  sent: { id: string; type: string; to: string }[];
  set: { name: string; id: string }[];
  unset: string[];
  undo: CommandDraft[];
  then: CommandDraft[];
};

/** Lets instances of a process manager handle their inputs; what an instance does on one of them is one transaction. */
export class ProcessBatch implements HandlerBatch {
  #domain: Domain;
  #process: ProcessManager;
  #reading: Reading;
  #state: ProcessState;
  #words: Vocabulary;
  #unit: UnitOfWork;
  #inbox: string;
  #journal: string;
  #touched = new Map<string, Touched>();
  /** Instances whose state could not be folded, with the error. */
  #broken = new Map<string, unknown>();
  /** How many characters were read, and whether they are too many for one batch. */
  #read = 0;
  #isTooLarge = false;
  /** Instances of which only what is remembered is known. */
  #unverified = new Set<string>();
  /** What the inputs refer to, by position. */
  #referred = new Map<number, Message>();
  /** What cannot be read of it, by position, with the error. */
  #unreadable = new Map<number, unknown>();
  /** Commands that were given up first, and then replayed and accepted. */
  #accepted = new Set<string>();
  /** How long instances are kept. */
  #fold: Pick<Fold<Instance>, "rule" | "pack" | "unpack">;

  /**
   * Creates an empty batch.
   *
   * @param domain The domain.
   * @param process The process manager.
   * @param reading What to read from, and cached instances of earlier batches.
   */
  constructor(domain: Domain, process: ProcessManager, reading: Reading) {
    this.#domain = domain;
    this.#process = process;
    this.#state = new ProcessState(process);
    const { snapshots: rule } = this.#state;
    this.#fold = { rule, pack: (one) => this.#state.pack(one), unpack: (one) => this.#state.unpack(one) };
    const { name, commands, timeouts } = process;
    this.#words = { name, commands: new Set(commands.map(({ type }) => type)), timeouts };
    this.#reading = reading;
    this.#unit = new UnitOfWork(domain, reading);
    this.#inbox = inboxCategory(domain.name, process.name);
    this.#journal = journalCategory(domain.name, process.name);
  }

  async prepare(messages: readonly Message[]): Promise<void> {
    // Of each instance, the first.
    const firsts = new Map(messages.toReversed().map((message) => [message.aggregateId, message]));
    const room = new Semaphore(LOADED_TOGETHER);
    await Promise.all([...firsts.values()].map((first) => room.run(() => this.#load(first, true))));
    await this.#reconsider(messages);
    const positions = new Set<number>();
    const { react } = this.#process;
    for (const { type, payload } of messages) {
      if (type === EVENT.type && !Object.hasOwn(react, (payload as EventReference).type)) continue;
      if (type !== TIMER.type) positions.add((payload as EventReference | CommandEnd).position);
    }
    // What waits for a start is read when that comes.
    const { starts } = this.#process;
    const begun = messages.filter(({ type, payload }) =>
      type === EVENT.type && starts.has((payload as EventReference).type)
    );
    for (const id of new Set(begun.map(({ aggregateId }) => aggregateId))) {
      for (const position of this.#waitingFor(this.#touched.get(id)!.instance)) positions.add(position);
    }
    const all = [...positions];
    for (let from = 0; from < all.length && !this.#isTooLarge; from += TOGETHER) {
      await this.#refer(all.slice(from, from + TOGETHER));
      // Then each is handled alone: a batch is cut by its references, and not by what they refer to.
      this.#isTooLarge = messages.length > 1 && this.#read > MOST_CHARACTERS;
    }
  }

  /** Looks whether what undoes something was accepted after all. */
  async #reconsider(messages: readonly Message[]): Promise<void> {
    const { readOutcome } = this.#reading;
    for (const { aggregateId, type, payload } of messages) {
      const { id, status } = payload as CommandEnd;
      if (!readOutcome || type !== COMMAND_END.type || status !== "failed") continue;
      if (this.#touched.get(aggregateId)?.instance.undoing !== id) continue;
      if ((await readOutcome(id))?.status === "accepted") this.#accepted.add(id);
    }
  }

  /** The positions of events that wait for an instance to begin. */
  #waitingFor({ waiting }: Instance): number[] {
    return waiting.filter(({ type }) => Object.hasOwn(this.#process.react, type)).map(({ position }) => position);
  }

  /** Reads what inputs refer to. */
  async #refer(positions: Iterable<number>): Promise<void> {
    const missing = [...positions].filter((position) => !this.#referred.has(position));
    if (missing.length === 0) return;
    const { readAt, guard = (work) => work() } = this.#reading;
    const records = await readAt!(missing);
    guard(() => {
      for (const record of records) {
        this.#read += record.data.length;
        // One that cannot be read fails those that refer to it.
        try {
          // Several instances share it.
          this.#referred.set(record.position, freezeMessage(decode(record, this.#domain.types)));
        } catch (error) {
          this.#unreadable.set(record.position, error);
        }
      }
    });
  }

  #at({ position, type }: InputReference): Message {
    const found = this.#referred.get(position);
    if (found) return found;
    if (this.#unreadable.has(position)) throw this.#unreadable.get(position);
    throw new DomainDefinitionError(`Cannot read "${type}" at ${position}, which an instance is to handle`);
  }

  /** Loads an instance from the cache if that is to be trusted, or from its journal and the events that this refers to. */
  async #load({ aggregateId: id, version }: Message, isTrusting: boolean): Promise<void> {
    const { cache, guard = (work) => work() } = this.#reading;
    const stream = streamName(this.#journal, id);
    const cached = cache?.get(stream) as Kept<Instance> | undefined;
    let [instance, snapshot] = [cached?.state ?? ABSENT, cached?.snapshot ?? -1];
    // Nothing was handled before the first input, unless that comes late; then the append says so.
    const isKnown = isTrusting && (cached?.trusted ?? version === 0);
    if (isKnown) this.#unverified.add(id);
    else {
      const apply = async (before: Instance, records: readonly MessageRecord[]): Promise<Instance> => {
        let after = before;
        // A few at a time: a thousand events may have 16 MB each.
        for (let from = 0; from < records.length && !this.#broken.has(id); from += TOGETHER) {
          const entries = records.slice(from, from + TOGETHER).map((record) => JSON.parse(record.data) as Entry);
          const needed = entries.filter((entry) => this.#state.needs(entry)).map(({ input }) => input.position);
          await this.#refer(needed);
          try {
            guard(() => {
              for (const entry of entries) after = this.#state.apply(after, entry, (input) => this.#at(input));
            });
          } catch (error) {
            this.#broken.set(id, error);
          }
          for (const position of needed) this.#referred.delete(position);
        }
        return after;
      };
      const fold = { ...this.#fold, initial: () => ABSENT, apply };
      ({ state: instance, snapshot } = await foldStream(this.#reading, stream, fold, cached));
    }
    this.#touched.set(id, { expected: instance.version, instance, messages: [], snapshot });
  }

  handle({ message }: Delivery): void | Promise<void> {
    const id = message.aggregateId;
    try {
      this.#handle(id, message);
    } catch (error) {
      // What fails appends nothing, and so does not learn that somebody has ended the instance meanwhile.
      if (this.#unverified.delete(id) && this.#touched.get(id)!.messages.length === 0) return this.#handleAnew(message);
      throw error;
    }
  }

  async #handleAnew(message: Message): Promise<void> {
    await this.#load(message, false);
    await this.#refer(this.#waitingFor(this.#touched.get(message.aggregateId)!.instance));
    this.#handle(message.aggregateId, message);
  }

  #handle(id: string, message: Message): void {
    if (this.#broken.has(id)) throw this.#broken.get(id);
    const before = this.#touched.get(id)!;
    this.#unit.begin(message);
    const run = new InstanceRun(id, before.instance, message);
    switch (message.type) {
      case EVENT.type:
        this.#event(run, message.payload as EventReference);
        break;
      case COMMAND_END.type:
        this.#commandEnd(run, message.payload as CommandEnd);
        break;
      default:
        this.#timer(run, message.payload as Fired);
    }
    const entries = run.entries.map((entry) => this.#unit.message({ ...HANDLED_DRAFT, payload: entry }));
    this.#touched.set(id, { ...before, instance: run.instance, messages: [...before.messages, ...entries] });
    this.#unit.keep();
  }

  #event(run: InstanceRun, input: EventReference): void {
    const { name, starts, absent, ended, react } = this.#process;
    const { instance } = run;
    const { position } = input;
    if (instance.recent.includes(position)) return this.#ignore(run, input, "it was handled before");
    if (instance.waiting.some((one) => one.position === position)) return;
    if (instance.status === "ended" && ended === "ignore") return this.#ignore(run, input, "the instance has ended");
    if (!Object.hasOwn(react, input.type)) throw this.#unknown(run.id, input);
    const event = this.#at(input);
    const isStart = starts.has(input.type);
    if (isStart && (instance.status === "absent" || (instance.status === "ended" && ended === "restart"))) {
      this.#begin(run, event);
      // What came too early, in order.
      for (const early of run.instance.waiting) {
        if (run.instance.status === "ended") this.#ignore(run, early, "the instance has ended");
        else if (!Object.hasOwn(react, early.type)) throw this.#unknown(run.id, early);
        else this.#react(run, this.#at(early));
      }
      return;
    }
    if (instance.status === "ended") {
      if (ended === "fail") {
        throw new UnexpectedInputError(`Instance "${run.id}" of "${name}" has ended, and "${input.type}" is for it`);
      }
      return this.#ignore(run, input, "the instance has ended");
    }
    if (instance.status === "absent") {
      if (absent === "fail") {
        throw new UnexpectedInputError(
          `Instance "${run.id}" of "${name}" has not begun, and "${input.type}" is for it`,
        );
      }
      return absent === "ignore" ? this.#ignore(run, input, "the instance has not begun") : this.#wait(run, input);
    }
    if (isStart) return this.#ignore(run, input, "the instance has begun already");
    this.#react(run, event);
  }

  /** Code of before, or newer code in the middle of a deploy, has asked for an event: it is not for this code to drop it. */
  #unknown(id: string, { type, position }: InputReference): UndecodableMessageError {
    const { name } = this.#process;
    return new UndecodableMessageError(
      "unknown type",
      `Instance "${id}" of "${name}" is to handle "${type}" at ${position}, to which this code does not react; let it react again, or abandon the instance`,
      versionName({ type: reactionName(name, type), schemaVersion: 1 }),
    );
  }

  #ignore(run: InstanceRun, { position, type }: InputReference, why: string): void {
    run.add({ ...this.#blank(run, { position, type }), did: "ignored", why }, run.instance.state);
  }

  #wait(run: InstanceRun, { position, type }: InputReference): void {
    const entry = this.#blank(run, { position, type });
    entry.did = "waits";
    if (run.instance.waiting.length === 0) this.#set(run, entry, ABSENT_TIMER, ABSENT_LIMIT, null);
    run.add(entry, run.instance.state);
  }

  #blank({ instance: { run, status } }: InstanceRun, input: InputReference): Draft {
    const code = this.#process.version;
    return { input, did: "handled", code, run, sent: [], set: [], unset: [], undo: [], then: [], status };
  }

  #begin(run: InstanceRun, event: Message): void {
    const { position, type } = event;
    const entry = this.#blank(run, { position, type });
    entry.run++;
    entry.begins = true;
    entry.status = "running";
    for (const name of run.instance.timers.keys()) this.#unset(run, entry, name);
    this.#carryOut(run, entry, this.#state.evolve(this.#state.initial(), event), event);
  }

  #react(run: InstanceRun, event: Message): void {
    const { position, type } = event;
    this.#carryOut(run, this.#blank(run, { position, type }), this.#state.evolve(run.instance.state, event), event);
  }

  /** Asks the process what to do on an event, and does it. */
  #carryOut(run: InstanceRun, entry: Draft, state: unknown, event: Message): void {
    const { react } = this.#process;
    const decision = this.#decide(run, event.time, `"${event.type}"`, (step) => react[event.type](state, event, step));
    this.#perform(run, entry, state, decision);
  }

  #decide(run: InstanceRun, now: Date, what: string, ask: (step: StepMaker) => unknown): Decision {
    const step = new StepMaker(this.#words, run.id, now);
    return step.take(this.#state.purely(() => ask(step)), what);
  }

  #commandEnd(run: InstanceRun, end: CommandEnd): void {
    const { name, refused } = this.#process;
    const { instance } = run;
    const { type: command, id, status, rule } = end;
    const input = { position: run.message.position, type: COMMAND_END.type };
    if (instance.heard.includes(id)) return this.#ignore(run, input, "it has heard of it before");
    if (end.run !== instance.run || instance.status === "absent" || instance.status === "ended") {
      return this.#ignore(run, input, "the instance has ended");
    }
    if (id === instance.undoing) {
      // It may have been replayed since.
      if (status !== "accepted" && !this.#accepted.has(id)) {
        throw new Error(
          `Instance "${run.id}" of "${name}" cannot be undone: "${command}" was ${status}: ${rule}. ` +
            (status === "failed"
              ? "Mend it, replay its dead letter, and let the instance try again"
              : "Do by hand what it should have done, and abandon the instance"),
        );
      }
      const entry = { ...this.#blank(run, input), of: id };
      this.#undoNext(run, entry, instance.undo);
      return run.add(entry, instance.state);
    }
    if (status === "accepted") return this.#ignore(run, input, "nothing waits for it");
    if (!Object.hasOwn(refused, command)) {
      throw new DomainDefinitionError(
        `"${command}" was ${status} (${rule}), and "${name}" does not say what to do then`,
      );
    }
    const { payload } = this.#at({ position: end.position, type: command });
    const decision = this.#decide(
      run,
      run.message.time,
      `the refusal of "${command}"`,
      (step) => refused[command](instance.state, Object.freeze({ command, payload, status, rule }), step),
    );
    this.#perform(run, { ...this.#blank(run, input), of: id }, instance.state, decision);
  }

  #timer(run: InstanceRun, { name, data }: Fired): void {
    const { late, timeouts, name: process } = this.#process;
    const { instance, message } = run;
    const input = { position: message.position, type: TIMER.type };
    if (instance.timers.get(name) !== message.id) {
      return this.#ignore(run, input, `timer "${name}" is not set any more`);
    }
    if (name === ABSENT_TIMER) {
      const [{ type, position }] = instance.waiting;
      throw new UnexpectedInputError(
        `Instance "${run.id}" of "${process}" has not begun: ${instance.waiting.length} events wait for it, the first is "${type}" at ${position}`,
      );
    }
    if (!Object.hasOwn(late, name)) {
      throw new DomainDefinitionError(`Timer "${name}" of "${process}" has fired, and "late" has no function for it`);
    }
    // It may have been set by older code.
    const checked = validate(`${process}.${name}`, timeouts[name], data);
    const entry = this.#blank(run, input);
    entry.unset.push(name);
    const decision = this.#decide(
      run,
      message.time,
      `timer "${name}"`,
      (step) => late[name](instance.state, deepFreeze(checked), step),
    );
    this.#perform(run, entry, instance.state, decision);
  }

  /** Does what a reaction has decided, in order. */
  #perform(run: InstanceRun, entry: Draft, state: unknown, decision: Decision): void {
    let remembered: readonly CommandDraft[] = entry.begins ? [] : run.instance.undo;
    const wasUndoing = !entry.begins && run.instance.undoing !== null;
    let [isUndoing, isDone] = [false, false];
    for (const one of decision) {
      if (!("effect" in one)) {
        this.#send(run, entry, one);
        continue;
      }
      const effect: Effect = one;
      if (effect.effect === "set") this.#set(run, entry, effect.name, effect.after, effect.data);
      else if (effect.effect === "cancel") this.#unset(run, entry, effect.name);
      else if (effect.effect === "undoWith") {
        entry.undo.push(effect.command);
        remembered = [...remembered, effect.command];
      } else if (effect.effect === "undo") {
        isUndoing = true;
        // It comes last, behind what is to come last already.
        if (effect.then) {
          entry.then.push(effect.then);
          remembered = [effect.then, ...remembered];
        }
      } else isDone = true;
    }
    if (isDone) entry.ends = true;
    if (isUndoing && !wasUndoing) this.#undoNext(run, entry, remembered);
    else if (isDone && !wasUndoing) this.#end(run, entry);
    run.add(entry, state);
  }

  /** Sends what undoes the last step that is not undone. */
  #undoNext(run: InstanceRun, entry: Draft, remembered: readonly CommandDraft[]): void {
    const last = remembered.at(-1);
    entry.left = Math.max(0, remembered.length - 1);
    if (last) {
      entry.status = "undoing";
      entry.undoing = this.#send(run, entry, this.#current(last), true);
      return;
    }
    entry.undoing = null;
    entry.status = "running";
    if (entry.ends || (run.instance.ends && !entry.begins)) this.#end(run, entry);
  }

  /** Brings a command that was remembered, perhaps by older code, to the current version. */
  #current(command: CommandDraft): CommandDraft {
    const { type, schemaVersion, payload } = command;
    const version = this.#domain.types.get(type)?.version ?? schemaVersion;
    if (version === schemaVersion) return command;
    const record = { type, schemaVersion, data: JSON.stringify(payload), metadata: null } as MessageRecord;
    const message = decode({ ...record, stream: "", category: "", time: 0 }, this.#domain.types);
    return { ...command, schemaVersion: version, payload: message.payload };
  }

  #end(run: InstanceRun, entry: Draft): void {
    entry.status = "ended";
    const set = new Set([...entry.begins ? [] : run.instance.timers.keys(), ...entry.set.map(({ name }) => name)]);
    for (const name of entry.unset) set.delete(name);
    for (const name of set) this.#unset(run, entry, name);
    entry.set = [];
  }

  #send(run: InstanceRun, entry: Draft, command: CommandDraft, all = false): string {
    const category = commandRoute(this.#domain, command);
    const sender = { inbox: this.#inbox, id: run.id, run: entry.run, ...(all && { all }) };
    const id = this.#unit.queue(category, command.aggregateId, command, sender);
    entry.sent.push({ id, type: command.type, to: command.aggregateId });
    return id;
  }

  #set(run: InstanceRun, entry: Draft, name: string, after: number, data: unknown): void {
    const key = timerKey(this.#process.name, name, run.id);
    const payload: Fired = { name, data: data ?? null };
    const draft = { kind: "event", type: TIMER.type, schemaVersion: 1, payload } as const;
    const id = this.#unit.schedule(this.#inbox, run.id, draft, { after }, key);
    entry.unset = entry.unset.filter((other) => other !== name);
    entry.set = [...entry.set.filter((other) => other.name !== name), { name, id }];
  }

  #unset(run: InstanceRun, entry: Draft, name: string): void {
    this.#unit.unschedule(timerKey(this.#process.name, name, run.id));
    entry.set = entry.set.filter((other) => other.name !== name);
    if (!entry.unset.includes(name)) entry.unset.push(name);
  }

  get characters(): number {
    return this.#isTooLarge ? Infinity : this.#unit.characters;
  }

  effects(): Effects {
    const journal = [...this.#touched].flatMap(([id, { expected, messages }]): StreamAppend[] =>
      messages.length === 0
        ? []
        : [{ category: this.#journal, stream: streamName(this.#journal, id), expected, messages, publish: false }]
    );
    const appends = [...journal, ...this.#unit.appends()];
    return { ...NO_EFFECTS, appends, snapshots: this.#snapshots(), ...this.#unit.scheduling() };
  }

  /** The long instances that are to be kept. */
  #snapshots(): Snapshot[] {
    const due: Snapshot[] = [];
    for (const [id, touched] of this.#touched) {
      const { instance: state, messages, snapshot } = touched;
      const { version } = state;
      if (messages.length === 0 || !isDue(this.#state.snapshots, { version, snapshot })) continue;
      this.#touched.set(id, { ...touched, snapshot: version });
      // A state that is not JSON is folded from all its inputs each time; nobody has asked for more.
      const quiet = { ...this.#reading, complain: () => {} };
      const stream = streamName(this.#journal, id);
      const one = snapshotOf(quiet, stream, this.#fold, { state, version, message: messages.at(-1)!.id });
      if (one) due.push(one);
    }
    return due;
  }

  settle(written: boolean): void {
    const { cache } = this.#reading;
    for (const [id, { instance, messages, snapshot }] of this.#touched) {
      const stream = streamName(this.#journal, id);
      if (!written) {
        // It is read again, also if nothing was known of it.
        if (!cache?.get(stream)) cache?.set(stream, { state: ABSENT, version: ABSENT.version });
        cache?.distrust(stream);
      } else if (messages.length > 0) {
        const message = messages.at(-1)!.id;
        cache?.set(stream, { state: instance, version: instance.version, message, snapshot });
      }
    }
  }
}

const HANDLED_DRAFT = { kind: "event", type: HANDLED.type, schemaVersion: 1 } as const;

/** One input of an instance, and what came of it so far. */
class InstanceRun {
  readonly id: string;
  readonly message: Message;
  readonly entries: Entry[] = [];
  instance: Instance;

  constructor(id: string, instance: Instance, message: Message) {
    this.id = id;
    this.instance = instance;
    this.message = message;
  }

  /** Adds what the instance did; empty parts are left out. */
  add(draft: Draft, state: unknown): void {
    const filled = Object.entries(draft).filter(([, value]) => !(Array.isArray(value) && value.length === 0));
    const entry = Object.fromEntries(filled) as unknown as Entry;
    this.entries.push(entry);
    this.instance = after(this.instance, entry, state);
  }
}

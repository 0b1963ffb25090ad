import type { Effects } from "../handling/batch.ts";
import type { BatchRunner } from "../handling/runner.ts";
import type { MessageRecord, NewMessage } from "../messages/envelope.ts";
import { newId } from "../messages/ids.ts";
import { senderOf } from "../messages/sender.ts";
import { readBatch } from "../store/large.ts";
import type { EventStore, ScheduleEntry } from "../store/port.ts";
import { SqliteEventStore } from "../store/sqlite/store.ts";
import { commandEnd } from "./command_end.ts";
import { inboxCategory, journalCategory } from "./names.ts";

/** A command that would have been sent. */
export interface Rehearsed {
  /** When, in milliseconds since 1970. */
  readonly at: number;
  /** The instance. */
  readonly instance: string;
  /** What the instance reacted to: an event, a timer, or the end of a command. */
  readonly input: string;
  /** Where the event is in the log, if it was one. */
  readonly position: number | null;
  /** The command. */
  readonly command: string;
  /** The aggregate's id. */
  readonly to: string;
  /** Its payload. */
  readonly payload: unknown;
}

/** What a rehearsal came to. */
export interface RehearsalSummary {
  /** How many events it was told of. */
  readonly events: number;
  /** How many instances have handled something. */
  readonly instances: number;
  /** How many commands would have been sent, by name. */
  readonly sent: Readonly<Record<string, number>>;
  /** Timers that would be set now. */
  readonly timers: number;
  /** What would have failed, each with the instance that would have been set aside. */
  readonly failures: readonly { readonly instance: string; readonly position: number; readonly error: string }[];
}

/** Positions from here on are those of messages that are made up: no log has so many. */
const MADE_UP = 2 ** 50;

/** How many events are read at a time. */
const PAGE = 500;

/** The most failures that are kept in words. */
const MOST_FAILURES = 100;

/** What the two groups of a process manager read: the log, and what was made up, in a file that is thrown away. */
export type RehearsalStore = Pick<
  EventStore,
  "readStream" | "readRows" | "readAt" | "readTagged" | "readSnapshot" | "outcome"
>;

/** Plays history to a process manager, and writes and sends nothing. */
export class Rehearsal {
  #log: EventStore;
  #made: SqliteEventStore;
  #domain: string;
  #manager: string;
  #now = 0;
  #instances = new Set<string>();
  #sent: Record<string, number> = {};
  #failures: { instance: string; position: number; error: string }[] = [];
  /** Instances that would have been set aside. */
  #aside = new Set<string>();

  /**
   * Begins.
   *
   * @param log The store; it is only read.
   * @param file A file that there is not yet, for what is made up.
   * @param domain The domain's name.
   * @param manager The process manager's name.
   */
  constructor(log: EventStore, file: string, domain: string, manager: string) {
    this.#log = log;
    this.#made = new SqliteEventStore({ path: file, synchronous: "normal", now: () => this.#now });
    this.#domain = domain;
    this.#manager = manager;
  }

  /** What the groups read from. */
  get store(): RehearsalStore {
    const shift = (record: MessageRecord): MessageRecord => ({ ...record, position: record.position + MADE_UP });
    return {
      // All that instances have done was made up: they begin anew.
      readStream: async (stream, options) => (await this.#made.readStream(stream, options)).map(shift),
      readAt: async (positions, options) => {
        const made = positions.filter((position) => position > MADE_UP).map((position) => position - MADE_UP);
        const real = positions.filter((position) => position <= MADE_UP);
        return [
          ...real.length > 0 ? await this.#log.readAt(real, options) : [],
          ...made.length > 0 ? (await this.#made.readAt(made, options)).map(shift) : [],
        ];
      },
      readRows: () => Promise.resolve([]),
      readTagged: () => Promise.resolve({ messages: [], last: 0 }),
      readSnapshot: () => Promise.resolve(null),
      outcome: () => Promise.resolve(null),
    };
  }

  /**
   * Plays history.
   *
   * @param groups The router and the manager, which read from this rehearsal's store.
   * @param events The categories and types of the events, and the time and position to begin and end with.
   * @param told Called with each command that would have been sent, in order.
   * @param reached Called with each position that was reached.
   */
  async run(
    groups: { readonly router: BatchRunner; readonly manager: BatchRunner },
    events: {
      readonly categories: readonly string[];
      readonly types: ReadonlySet<string>;
      readonly since: number;
      readonly upTo: number;
    },
    told: (command: Rehearsed) => void,
    reached: (position: number) => void = () => {},
  ): Promise<RehearsalSummary> {
    const { categories, types, since, upTo } = events;
    let count = 0;
    for (let after = 0;;) {
      const page = await this.#page(categories, after, upTo);
      if (page.length === 0) break;
      const records = page.filter(({ type, time }) => types.has(type) && time >= since);
      const inboxes = await this.#route(groups.router, records);
      for (const record of records) {
        await this.#elapse(groups.manager, record.time, told);
        this.#now = Math.max(this.#now, record.time);
        for (const { stream, message } of inboxes.get(record.id) ?? []) {
          await this.#tell(groups.manager, stream, message, record, told);
        }
      }
      count += records.length;
      after = page.at(-1)!.position;
      reached(after);
    }
    await this.#elapse(groups.manager, Date.now(), told);
    return {
      events: count,
      instances: this.#instances.size,
      sent: this.#sent,
      timers: (await this.#made.scheduled()).length,
      failures: this.#failures,
    };
  }

  /** The next messages of some categories, in order of position. */
  async #page(categories: readonly string[], after: number, upTo: number): Promise<MessageRecord[]> {
    const pages = await Promise.all(
      categories.map((category) => readBatch(this.#log, { category, after, upTo, limit: PAGE })),
    );
    // One that was cut may have more before the last of the others.
    const end = Math.min(
      upTo,
      ...pages.flatMap((page) => page.length > 0 && page.at(-1)!.position < upTo ? [page.at(-1)!.position] : []),
    );
    return pages.flat().filter(({ position }) => position <= end).sort((a, b) => a.position - b.position);
  }

  /** Asks which instances events are for: their inboxes, by the event's id. */
  async #route(
    router: BatchRunner,
    records: readonly MessageRecord[],
  ): Promise<Map<string, { readonly stream: string; readonly message: NewMessage }[]>> {
    const inboxes = new Map<string, { stream: string; message: NewMessage }[]>();
    if (records.length === 0) return inboxes;
    const result = await router.run(records.map((record) => ({ record, attempt: 1 })), new AbortController().signal);
    if (result === "apart") throw new Error("The router cannot be run");
    router.settle(true);
    for (const { stream, messages } of result.effects.appends) {
      for (const message of messages) {
        const cause = message.causationId!;
        inboxes.set(cause, [...inboxes.get(cause) ?? [], { stream, message }]);
      }
    }
    for (const [i, { error }] of result.failures) this.#fail("-", records[i].position, error);
    return inboxes;
  }

  /** Lets time pass: timers that are due meanwhile fire. */
  async #elapse(manager: BatchRunner, time: number, told: (command: Rehearsed) => void): Promise<void> {
    while (true) {
      const { messages: [due], wait } = await this.#made.due(1);
      if (due) {
        const { key, stream, message, dueAt } = due;
        this.#now = Math.max(this.#now, dueAt);
        await this.#made.commit({ unschedule: [key] });
        await this.#tell(manager, stream, { ...message, time: this.#now }, null, told);
      } else if (wait === null || this.#now + wait > time) return;
      else this.#now += wait;
    }
  }

  /** Puts something into the inbox of an instance, which handles it. */
  async #tell(
    manager: BatchRunner,
    stream: string,
    message: NewMessage,
    event: MessageRecord | null,
    told: (command: Rehearsed) => void,
  ): Promise<void> {
    const category = inboxCategory(this.#domain, this.#manager);
    const instance = stream.slice(category.length + 1);
    if (this.#aside.has(instance)) return;
    const append = { category, stream, expected: "any" as const, messages: [message], publish: false };
    await this.#made.commit({ appends: [append] });
    const [record] = await this.store.readStream(stream, { backward: true, limit: 1 });
    const result = await manager.run([{ record, attempt: 1 }], new AbortController().signal);
    if (result === "apart") throw new Error("The process manager cannot be run");
    const [failure] = result.failures.values();
    if (failure) {
      manager.settle(false);
      this.#aside.add(instance);
      return this.#fail(instance, event?.position ?? 0, failure.error);
    }
    this.#instances.add(instance);
    const commands = await this.#write(result.effects);
    manager.settle(true);
    const input = event?.type ?? message.type;
    for (const command of commands) {
      this.#sent[command.type] = (this.#sent[command.type] ?? 0) + 1;
      const to = command.stream.slice(command.category.length + 1);
      const payload = JSON.parse(command.data);
      const position = event?.position ?? null;
      told({ at: this.#now, instance, input, position, command: command.type, to, payload });
      // Nobody decides it. Who waits for its end before going on is told that it was accepted.
      const end = commandEnd(command, senderOf(command.metadata), "accepted", "");
      if (!end) continue;
      const { type, schemaVersion, payload: data } = end.draft;
      const heard = {
        ...message,
        id: newId(),
        type,
        schemaVersion,
        causationId: command.id,
        data: JSON.stringify(data),
      };
      await this.#tell(manager, `${end.inbox}-${end.id}`, heard, null, told);
    }
  }

  /** Keeps what an instance has done; returns the commands that it would have sent. */
  async #write({ appends, schedule, unschedule }: Effects): Promise<MessageRecord[]> {
    const later = schedule.map((entry): ScheduleEntry => ({
      ...entry,
      due: { at: entry.due.at ?? this.#now + entry.due.after! },
    }));
    const own = [inboxCategory(this.#domain, this.#manager), journalCategory(this.#domain, this.#manager)];
    await this.#made.commit({ appends, schedule: later, unschedule });
    const commands: MessageRecord[] = [];
    for (const { stream, category, messages } of appends) {
      if (own.includes(category)) continue;
      const stored = await this.store.readStream(stream, { backward: true, limit: messages.length });
      commands.push(...stored.reverse());
    }
    return commands;
  }

  #fail(instance: string, position: number, error: string): void {
    if (this.#failures.length < MOST_FAILURES) this.#failures.push({ instance, position, error });
  }

  /** Throws away what was made up. */
  async close(): Promise<void> {
    await this.#made.close();
  }
}

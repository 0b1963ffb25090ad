import { streamName } from "../messages/envelope.ts";
import { readBatch } from "../store/large.ts";
import { type DeferredMessage, type EventStore, REPLAY } from "../store/port.ts";
import { ABSENT, after, type Entry, type Instance, type Status } from "./instance.ts";
import { EVENT, type EventReference, inboxCategory, journalCategory, timerKey } from "./names.ts";

/** An instance as an operator sees it; its state is known to the domain's code alone. */
export interface InstanceStatus {
  /** The process manager. */
  readonly manager: string;
  /** The instance. */
  readonly id: string;
  /** What it is; `set aside` if one of its inputs is a dead letter. */
  readonly status: Status | "set aside";
  /** How many times it has begun. */
  readonly run: number;
  /** The version of the code that handled its last input. */
  readonly code: number;
  /** When that was, in milliseconds since 1970. */
  readonly at: number;
  /** The timers that are set. */
  readonly timers: readonly string[];
  /** How many events wait for it to begin. */
  readonly waiting: number;
  /** Why it was set aside. */
  readonly error?: string;
}

/** One input of an instance, and what it led to. */
export interface HandledInput extends Entry {
  /** When it was handled, in milliseconds since 1970. */
  readonly at: number;
}

/** How many messages are read at a time. */
const PAGE = 1_000;

/** Reads what process managers have done, and lets an operator change it. */
export class ProcessInspector {
  #store: EventStore;
  #domain: string;

  /**
   * @param store The store.
   * @param domain The domain's name.
   */
  constructor(store: EventStore, domain: string) {
    this.#store = store;
    this.#domain = domain;
  }

  /** Returns all instances of a process manager, in the order of their first inputs. */
  async instances(manager: string): Promise<InstanceStatus[]> {
    const category = journalCategory(this.#domain, manager);
    const found = new Map<string, { instance: Instance; code: number; at: number }>();
    for (let position = 0;;) {
      const records = await readBatch(this.#store, { category, after: position, limit: PAGE });
      if (records.length === 0) break;
      for (const { stream, data, time } of records) {
        const id = stream.slice(category.length + 1);
        const entry = JSON.parse(data) as Entry;
        const instance = after(found.get(id)?.instance ?? ABSENT, entry, undefined);
        found.set(id, { instance, code: entry.code, at: time });
      }
      position = records.at(-1)!.position;
    }
    const aside = await this.#setAside(manager);
    for (const [id, { failures }] of aside) {
      if (!found.has(id)) found.set(id, { instance: ABSENT, code: 0, at: failures.at(-1)?.at ?? 0 });
    }
    return [...found].map(([id, { instance: { status, run, timers, waiting }, code, at }]) => {
      const halted = aside.get(id);
      const error = halted?.failures.at(-1)?.error ??
        (halted?.awaits && halted.awaits !== REPLAY ? `waits for code that knows ${halted.awaits}` : undefined);
      return {
        manager,
        id,
        status: aside.has(id) ? "set aside" : status,
        run,
        code,
        at,
        timers: [...timers.keys()],
        waiting: waiting.length,
        ...(error !== undefined && { error }),
      };
    });
  }

  /** What keeps instances waiting, by id. */
  async #setAside(manager: string): Promise<Map<string, DeferredMessage>> {
    const category = inboxCategory(this.#domain, manager);
    const deferred = await this.#store.deferred(manager, { category });
    // Or something that this code does not know.
    const halted = deferred.filter(({ awaits }) => awaits !== null);
    return new Map(halted.map((message) => [message.stream.slice(category.length + 1), message]));
  }

  /** The position of the event that has set an instance aside, if it was one. */
  async #eventOf(halted: DeferredMessage | undefined): Promise<number | undefined> {
    const [input] = halted ? await this.#store.readAt([halted.position]) : [];
    return input?.type === EVENT.type ? (JSON.parse(input.data) as EventReference).position : undefined;
  }

  /** Returns the last inputs that an instance has handled, in order. */
  async history(manager: string, id: string, limit: number): Promise<HandledInput[]> {
    const stream = streamName(journalCategory(this.#domain, manager), id);
    const records = (await this.#store.readStream(stream, { backward: true, limit })).reverse();
    return records.map(({ data, time }) => ({ ...JSON.parse(data) as Entry, at: time }));
  }

  /**
   * Lets an instance try again what has set it aside.
   *
   * @returns Whether it was set aside.
   */
  async retry(manager: string, id: string): Promise<boolean> {
    const halted = (await this.#setAside(manager)).get(id);
    if (!halted) return false;
    let before: string | undefined;
    while (true) {
      const letters = await this.#store.deadLetters({
        group: manager,
        limit: PAGE,
        ...(before !== undefined && { before }),
      });
      const letter = letters.find(({ message }) => message.position === halted.position);
      if (letter) return await this.#store.replayDeadLetters([letter.id]) > 0;
      if (letters.length < PAGE) break;
      before = letters.at(-1)!.id;
    }
    // Somebody else has retried it meanwhile: what it waits for is there again, or it was handled.
    const now = (await this.#setAside(manager)).get(id);
    if (now?.position !== halted.position) return now === undefined;
    // Its dead letter was purged, or there was none.
    const defer = [{ ...halted, attempts: 0, dueAt: 0, failures: [], replayed: true, awaits: null }];
    await this.#store.commit({ defer });
    return true;
  }

  /**
   * Ends an instance as it is. What comes for it later is for one that has ended.
   *
   * @returns Whether there was one that had not ended.
   * @throws {WrongExpectedVersionError} If it has handled something meanwhile.
   */
  async abandon(manager: string, id: string): Promise<boolean> {
    const category = journalCategory(this.#domain, manager);
    const stream = streamName(category, id);
    const records = await this.#store.readStream(stream);
    const entries = records.map(({ data }) => JSON.parse(data) as Entry);
    const instance = entries.reduce((instance, entry) => after(instance, entry, undefined), ABSENT);
    if (instance.status === "ended") return await this.retry(manager, id);
    const halted = (await this.#setAside(manager)).get(id);
    if (instance === ABSENT && !halted) return false;
    const last = records.at(-1);
    const skip = await this.#eventOf(halted);
    const messageId = crypto.randomUUID();
    const entry: Entry = {
      input: { position: 0, type: "$Abandoned" },
      did: "handled",
      code: entries.at(-1)?.code ?? 1,
      run: instance.run,
      ...(skip !== undefined && { skip }),
      ...(instance.timers.size > 0 && { unset: [...instance.timers.keys()] }),
      status: "ended",
    };
    const message = {
      id: messageId,
      type: "$Handled",
      schemaVersion: 1,
      time: Date.now(),
      correlationId: last?.correlationId ?? messageId,
      causationId: null,
      data: JSON.stringify(entry),
      metadata: null,
    };
    await this.#store.commit({
      appends: [{ category, stream, expected: instance.version, messages: [message], publish: false }],
      unschedule: [...instance.timers.keys()].map((name) => timerKey(manager, name, id)),
    });
    await this.retry(manager, id);
    return true;
  }
}

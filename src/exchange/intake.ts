import { createHash } from "node:crypto";
import { type CloudEvent, RECEIVED, type Received } from "../messages/cloud_event.ts";
import { streamName } from "../messages/envelope.ts";
import { idFault, newId } from "../messages/ids.ts";
import { isLonger } from "../messages/json.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { storable } from "../messages/text.ts";
import type { EventStore, Fence } from "../store/port.ts";

/** How many events are stored at a time. */
const MOST_AT_ONCE = 256;

/** The longest subject or id that names a stream as it is, in characters. */
const LONGEST_SHOWN = 100;

/** What came for a subscriber: a CloudEvent; or what is none, known by where it was. */
export type Arrived =
  | { readonly event: CloudEvent }
  | { readonly fault: string; readonly type?: string; readonly raw: string; readonly place: string };

/** The JSON text that an event is stored as. */
export function storedText(event: CloudEvent): string {
  return JSON.stringify({ event } satisfies Received);
}

/** What became of it. */
export type Fate = "stored" | "repeated" | "other type";

/** What an intake stores for. */
export interface IntakeOptions {
  /** The store. */
  readonly store: Pick<EventStore, "commit">;
  /** The domain's name. */
  readonly domain: string;
  /** The subscriber's name. */
  readonly subscriber: string;
  /** The type of CloudEvents that it takes, and the category that they are put into. */
  readonly receives: { readonly type: string; readonly category: string };
  /** Whether appends get outbox rows. */
  readonly outbox: boolean;
  /** The longest payload, in bytes of JSON. */
  readonly longest: number;
  /** Returns the time, in milliseconds since 1970. */
  readonly now: () => number;
}

/** What all keys begin with that source and id of an event are known by. */
export function receivedKeys(domain: string): string {
  return `${domain}:received:`;
}

function hashOf(...parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64url");
}

/**
 * Stores what comes for a subscriber, each event once: its source and id are a key of the commit that stores it. From there
 * on it is a message like any other, handled exactly once.
 */
export class Intake {
  #options: IntakeOptions;

  /** @param options What it stores for. */
  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** The subscriber's name. */
  get subscriber(): string {
    return this.#options.subscriber;
  }

  /**
   * Stores what came; resolves when all of it is stored. Events with one source and subject are handled in order, others
   * independently.
   *
   * @param all What came, in order.
   * @param fence Stores only while this lease is held.
   * @returns What became of each.
   */
  async take(all: readonly Arrived[], fence?: Fence): Promise<Fate[]> {
    const { type } = this.#options.receives;
    const fates = new Array<Fate>(all.length).fill("other type");
    const typeOf = (arrived: Arrived) => "event" in arrived ? arrived.event.type : arrived.type ?? type;
    const wanted = all.map((arrived, i) => ({ arrived, i })).filter(({ arrived }) => typeOf(arrived) === type);
    const streams = Map.groupBy(wanted, ({ arrived }) => this.#streamOf(arrived));
    const slots = new Semaphore(MOST_AT_ONCE);
    await Promise.all([...streams].map(([stream, its]) =>
      slots.run(async () => {
        for (const { arrived, i } of its) fates[i] = await this.#store(stream, arrived, fence);
      })
    ));
    return fates;
  }

  #streamOf(arrived: Arrived): string {
    const { category } = this.#options.receives;
    if (!("event" in arrived)) return streamName(category, hashOf(arrived.place));
    const { source, subject, id } = arrived.event;
    // For those who look at the log: which subject, or which event, and of which source.
    const shown = subject ?? id;
    const hash = hashOf(source, subject === undefined ? "id" : "subject", shown);
    const isShort = shown.length <= LONGEST_SHOWN && idFault(shown) === null;
    return streamName(category, isShort ? `${shown}~${hash.slice(0, 10)}` : hash);
  }

  #received(arrived: Arrived): { readonly key: string; readonly data: string } {
    const { longest } = this.#options;
    // In bytes, a character may be three times as long.
    const unreadable = (why: string, raw: string): string => {
      const received: Received = { unreadable: storable(why, 1_000), raw: storable(raw, Math.floor(longest / 4)) };
      return JSON.stringify(received);
    };
    if (!("event" in arrived)) return { key: hashOf(arrived.place), data: unreadable(arrived.fault, arrived.raw) };
    const { event } = arrived;
    const key = hashOf(event.source, event.id);
    const data = storedText(event);
    if (!isLonger(data, longest)) return { key, data };
    return { key, data: unreadable(`it is longer than max_message_bytes = ${longest}`, data) };
  }

  async #store(stream: string, arrived: Arrived, fence: Fence | undefined): Promise<Fate> {
    const { store, domain, subscriber, receives: { category }, outbox, now } = this.#options;
    const { key, data } = this.#received(arrived);
    const id = newId();
    const message = {
      id,
      type: RECEIVED.type,
      schemaVersion: RECEIVED.version,
      time: now(),
      correlationId: id,
      causationId: null,
      data,
      metadata: null,
    };
    const { repeated } = await store.commit({
      ...(fence && { fence }),
      once: { key: `${receivedKeys(domain)}${subscriber}:${key}`, value: JSON.stringify({ id }) },
      appends: [{ category, stream, expected: "any", messages: [message], publish: outbox }],
    });
    return repeated === null ? "stored" : "repeated";
  }
}

import type { SSEStreamingApi } from "hono/streaming";
import { encodeToken } from "../../client/token.ts";
import type { Inspector } from "../../isolation/inspector.ts";
import { Semaphore } from "../../lib/semaphore.ts";
import { within } from "../../lib/within.ts";
import type { MessageRecord } from "../../messages/envelope.ts";
import { charactersOf } from "../../operating/streams.ts";
import { lookOrWait } from "../../store/changes.ts";
import { isLeftOut, LARGE } from "../../store/large.ts";
import type { EventStore } from "../../store/port.ts";

/** How often a line is sent when there is nothing else, in milliseconds: proxies close silent connections. */
const ALIVE_INTERVAL = 15_000;

/**
 * How many read at the same time, and are sent something large, which they hold several times, in several forms. Each holds
 * a page of few characters until it is sent.
 */
const MOST_READING = 16;
const MOST_SENDING_LARGE = 3;
const PAGE = 100;
const MOST_CHARACTERS = 200_000;

/** How many bytes are sent at a time; how long one may take none of them, in milliseconds, and how many a millisecond at least. */
const SLICE = 64 << 10;
const STALL_PATIENCE = 10_000;
const LEAST_RATE = 128;

/** How long a wait for news takes at most, in milliseconds: a notification may be lost. */
const LONGEST_WAIT = 1_000;

/** What all followers of a server share: how many of them may hold something. */
export class FollowerTurns {
  readonly reading: Semaphore = new Semaphore(MOST_READING);
  readonly sendingLarge: Semaphore = new Semaphore(MOST_SENDING_LARGE);
}

/** Dependencies of a {@linkcode Follower}. */
export interface FollowerOptions {
  /** The log. */
  readonly store: EventStore;
  /** The log's id. */
  readonly log: string;
  /** Upcasts payloads with the domain's code. */
  readonly inspector: Pick<Inspector, "decode">;
  /** Which messages are sent. */
  readonly isWanted: (record: MessageRecord) => boolean;
  /** What the followers of this server share. */
  readonly turns: FollowerTurns;
  /** Where to. */
  readonly stream: SSEStreamingApi;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Sends the events of a log to one who follows them, as server-sent events. */
export class Follower {
  #options: FollowerOptions;
  #left = new AbortController();
  #ended: AbortSignal;
  #place = 0;
  #isSending = false;

  /** @param options Its dependencies. */
  constructor(options: FollowerOptions) {
    this.#options = options;
    options.stream.onAbort(() => this.#left.abort());
    this.#ended = AbortSignal.any([options.signal, this.#left.signal]);
  }

  /** Whether it is over: the follower has left, was cut off, or the server stops. */
  get hasEnded(): boolean {
    return this.#ended.aborted;
  }

  /** Sends what comes behind a position, until it is over. */
  async run(position: number): Promise<void> {
    const { store, log, turns, stream } = this.#options;
    this.#place = position;
    // Within an event, the line would end it.
    const alive = setInterval(() => {
      if (!this.#isSending) void stream.write(": alive\n\n").catch(() => {});
    }, ALIVE_INTERVAL);
    const look = async (): Promise<true | null> => {
      const next = await turns.reading.run(() => this.#read(), this.#ended);
      if (next === null) return null;
      await this.#send(next.text);
      const { large } = next;
      if (large !== undefined && !this.hasEnded) {
        await turns.sendingLarge.run(() => this.#sendLarge(large), this.#ended);
      }
      return true;
    };
    try {
      // Whoever loses the connection before the first event goes on from here.
      await this.#send(`id: ${position === 0 ? "start" : encodeToken({ log, position })}\n\n`);
      while (!this.hasEnded) {
        await lookOrWait(store, look, { wait: LONGEST_WAIT, signal: this.#ended, what: "messages" });
      }
    } finally {
      clearInterval(alive);
    }
  }

  /** Reads what came since, as far as it is little, and up to a large one; `null` if nothing came. */
  async #read(): Promise<{ readonly text: string; readonly large: number | undefined } | null> {
    const { store, isWanted } = this.#options;
    const page = await store.readLog({ after: this.#place, limit: PAGE, largest: LARGE });
    if (page.length === 0) return null;
    const found = page.filter(isWanted);
    let characters = 0;
    const rest = found.findIndex((record, i) =>
      isLeftOut(record) || ((characters += charactersOf(record)) > MOST_CHARACTERS && i > 0)
    );
    const next = found[rest];
    const text = await this.#textOf(next ? found.slice(0, rest) : found);
    this.#place = next ? next.position - 1 : page[page.length - 1].position;
    return { text, large: next && isLeftOut(next) ? next.position : undefined };
  }

  async #sendLarge(position: number): Promise<void> {
    await this.#send(await this.#textOf(await this.#options.store.readAt([position])));
    this.#place = position;
  }

  /** Writes events, with what the domain's code makes of them. */
  async #textOf(records: readonly MessageRecord[]): Promise<string> {
    const { inspector, log } = this.#options;
    const payloads = await inspector.decode(records);
    return records.map(({ data: _, metadata, ...event }, i) => {
      const data = JSON.stringify({
        ...event,
        time: new Date(event.time).toISOString(),
        ...payloads[i],
        metadata: metadata === null ? {} : JSON.parse(metadata),
      });
      return `id: ${encodeToken({ log, position: event.position })}\nevent: ${event.type}\ndata: ${data}\n\n`;
    }).join("");
  }

  /** Sends a text; whoever takes none of it for long, or little, is cut off. */
  async #send(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    const until = performance.now() + STALL_PATIENCE + bytes.length / LEAST_RATE;
    this.#isSending = true;
    for (let from = 0; from < bytes.length && !this.hasEnded; from += SLICE) {
      const taken = this.#options.stream.write(bytes.subarray(from, from + SLICE)).then(() => true);
      const patience = Math.min(STALL_PATIENCE, until - performance.now());
      if (await within(Math.max(0, patience), taken) === undefined) this.#left.abort();
    }
    // What was cut off stays without an end, so that it is not taken for an event.
    this.#isSending = this.hasEnded;
  }
}

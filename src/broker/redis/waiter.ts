import type { Cluster, Redis } from "ioredis";
import { REAL_CLOCK } from "../../lib/clock.ts";

/** How long one blocked read lasts, in milliseconds. */
const BLOCK = 1_000;

/** How much longer than asked it may take before its connection counts as dead, in milliseconds. */
const GRACE = 5_000;

/** The pause after a read that failed, in milliseconds: readers find out themselves what is wrong. */
const PAUSE = 100;

/** For so long after it has added something a process counts as the one that does, in milliseconds. */
const ADDING = 20;

/** Both kinds of connections. */
export type Driver = Redis | Cluster;

/** What a waiter works with. */
export interface WaiterOptions {
  /** Makes a connection of its own, which may be blocked. */
  readonly connect: () => Driver;
  /** The id of the newest entry that a stream has had; asked on the connection that readers use. */
  readonly last: (key: string) => Promise<number>;
  /** Lets go of a blocked read of a connection, so that it begins again with more streams. */
  readonly unblock: (clientId: number) => Promise<void>;
}

/** Somebody who has had everything up to a position, and waits for more. */
interface Reader {
  readonly after: number;
  readonly wake: () => void;
}

interface Stream {
  readonly readers: Set<Reader>;
  /** Up to here readers were woken; `null` while that is not known. */
  last: number | null;
}

/**
 * Waits for entries of any number of streams on one connection: readers of a hundred groups do not block one each.
 *
 * It only wakes. Readers look for themselves, on another connection, and may be woken for nothing.
 */
export class RedisWaiter {
  #options: WaiterOptions;
  #streams = new Map<string, Stream>();
  #driver: Driver | undefined;
  #clientId: number | undefined;
  #running = false;
  /** The streams that the read which is blocked now waits for. */
  #blockedOn = new Set<string>();
  #closed = false;
  /** When this process last added something itself. */
  #addedAt = -Infinity;

  /** @param options How it reaches Redis. */
  constructor(options: WaiterOptions) {
    this.#options = options;
  }

  #stream(key: string): Stream {
    let stream = this.#streams.get(key);
    if (!stream) this.#streams.set(key, stream = { readers: new Set(), last: null });
    return stream;
  }

  /**
   * Makes sure that whatever comes to a stream from here on wakes its readers: to be called before they look.
   *
   * @param key The stream's key.
   */
  async watch(key: string): Promise<void> {
    const stream = this.#stream(key);
    if (stream.last === null) stream.last = await this.#options.last(key);
  }

  /** The last position that a stream is known to have had; `undefined` if that is not known. */
  lastOf(key: string): number | undefined {
    return this.#stream(key).last ?? undefined;
  }

  /** Forgets what a stream had: it was deleted, or a group starts at another position. */
  forget(key: string): void {
    const stream = this.#streams.get(key);
    if (!stream) return;
    stream.last = null;
    this.adding(key);
  }

  /** Whether a stream has had nothing behind a position, as far as is known: whoever waits is woken when that changes. */
  hasNothingAfter(key: string, position: number): boolean {
    const last = this.#stream(key).last;
    return last !== null && last <= position;
  }

  /** Wakes the readers of a stream: this process has added entries up to an id. */
  added(key: string, last: number): void {
    const stream = this.#streams.get(key);
    if (!stream || stream.last === null) return;
    stream.last = Math.max(stream.last, last);
    this.#addedAt = performance.now();
    for (const { after, wake } of [...stream.readers]) if (after < last) wake();
  }

  /**
   * Wakes the readers of a stream before it is known whether this process has added anything: what they ask for now, on
   * the connection that it is sent by, is answered behind it.
   */
  adding(key: string): void {
    for (const { wake } of [...this.#streams.get(key)?.readers ?? []]) wake();
  }

  /** Resolves when a stream may have something behind a position, or after `timeout` milliseconds. */
  async wait(key: string, after: number, timeout: number, signal?: AbortSignal): Promise<void> {
    const { last, readers } = this.#stream(key);
    // The connection failed since: the reader looks again, and has it watched anew.
    if (last === null || signal?.aborted) return;
    const waiting = new Promise<void>((resolve) => {
      const wake = (): void => {
        over();
        readers.delete(reader);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const reader = { after, wake };
      const over = REAL_CLOCK.after(timeout, wake);
      readers.add(reader);
      signal?.addEventListener("abort", wake);
    });
    if (!this.#running) void this.#run();
    else if (!this.#blockedOn.has(key) && this.#clientId !== undefined) {
      void this.#options.unblock(this.#clientId).catch(() => {});
    }
    await waiting;
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (!this.#closed) {
        const keys = [...this.#streams].filter(([, { readers, last }]) => readers.size > 0 && last !== null);
        // Whoever was woken mostly comes back to wait: they are given a moment.
        if (keys.length === 0) {
          if (![...this.#streams.values()].some(({ readers }) => readers.size > 0)) break;
          await new Promise((resolve) => setTimeout(resolve, 1));
          continue;
        }
        // While this process adds entries, it wakes its readers itself: a read would return with each of them.
        const quiet = this.#addedAt + ADDING - performance.now();
        if (quiet > 0) {
          await new Promise((resolve) => setTimeout(resolve, quiet));
          continue;
        }
        await this.#read(keys.map(([key]) => key)).catch(async () => {
          this.#letGo();
          for (const stream of this.#streams.values()) stream.last = null;
          this.#wakeAll();
          await new Promise((resolve) => setTimeout(resolve, PAUSE));
        });
      }
    } finally {
      this.#running = false;
      this.#blockedOn.clear();
    }
  }

  async #read(keys: readonly string[]): Promise<void> {
    const driver = this.#driver ??= this.#options.connect();
    if (this.#clientId === undefined) this.#clientId = await driver.call("client", "id") as number;
    this.#blockedOn = new Set(keys);
    const ids = keys.map((key) => `${this.#stream(key).last}-0`);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const dead = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("it does not answer")), BLOCK + GRACE);
    });
    try {
      const reading = driver.call("xread", "COUNT", 1, "BLOCK", BLOCK, "STREAMS", ...keys, ...ids);
      reading.catch(() => {});
      const answer = await Promise.race([reading, dead]) as [string, [string, unknown][]][] | null;
      await Promise.all((answer ?? []).map(([key, [[id]]]) => this.#came(key, Number(id.slice(0, id.indexOf("-"))))));
    } finally {
      clearTimeout(timer);
    }
  }

  async #came(key: string, position: number): Promise<void> {
    const stream = this.#stream(key);
    // Added by this process, which has said so.
    if (stream.last !== null && position <= stream.last) return;
    // Asked for before readers look, on their connection: what comes later than this answer is waited for again.
    const last = this.#options.last(key);
    this.adding(key);
    stream.last = Math.max(position, stream.last ?? 0, await last);
  }

  #wakeAll(): void {
    for (const key of this.#streams.keys()) this.adding(key);
  }

  #letGo(): void {
    this.#driver?.disconnect();
    this.#driver = undefined;
    this.#clientId = undefined;
  }

  /** Wakes everybody, and lets go of the connection. */
  close(): void {
    this.#closed = true;
    this.#letGo();
    this.#wakeAll();
  }
}

import type { Cluster, Redis } from "ioredis";
import { Notifier } from "../../lib/notifier.ts";

/** How long one blocked read lasts, in milliseconds. */
const BLOCK = 1_000;

/** How much longer than asked it may take before its connection counts as dead, in milliseconds. */
const GRACE = 5_000;

/** The pause after a read that failed, in milliseconds: readers find out themselves what is wrong. */
const PAUSE = 100;

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

interface Stream {
  readonly readers: Notifier;
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

  /** @param options How it reaches Redis. */
  constructor(options: WaiterOptions) {
    this.#options = options;
  }

  #stream(key: string): Stream {
    let stream = this.#streams.get(key);
    if (!stream) this.#streams.set(key, stream = { readers: new Notifier(), last: null });
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

  /** Wakes the readers of a stream: this process has added entries up to an id. */
  added(key: string, last: number): void {
    const stream = this.#streams.get(key);
    if (!stream || stream.last === null) return;
    stream.last = Math.max(stream.last, last);
    stream.readers.notify();
  }

  /** Resolves when a stream may have something new, or after `timeout` milliseconds. */
  async wait(key: string, timeout: number, signal?: AbortSignal): Promise<void> {
    // The connection failed since: the reader looks again, and has it watched anew.
    if (this.#stream(key).last === null) return;
    const waiting = this.#stream(key).readers.wait(timeout, signal);
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
        const keys = [...this.#streams].filter(([, { readers, last }]) => readers.waiting > 0 && last !== null);
        // Whoever was woken mostly comes back to wait: they are given a moment.
        if (keys.length === 0) {
          if (![...this.#streams.values()].some(({ readers }) => readers.waiting > 0)) break;
          await new Promise((resolve) => setTimeout(resolve, 1));
          continue;
        }
        await this.#read(keys.map(([key]) => key)).catch(async () => {
          this.#letGo();
          for (const stream of this.#streams.values()) stream.last = null;
          for (const { readers } of this.#streams.values()) readers.notify();
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
    stream.readers.notify();
    stream.last = Math.max(position, stream.last ?? 0, await last);
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
    for (const { readers } of this.#streams.values()) readers.notify();
  }
}

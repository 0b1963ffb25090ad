import type { Cluster, Redis } from "ioredis";
import { REAL_CLOCK } from "../../lib/clock.ts";
import { deadline } from "../../lib/deadline.ts";

/** The duration of a blocking read, in milliseconds. */
const BLOCK = 1_000;

/** The grace period before the connection counts as dead, in milliseconds. */
const GRACE = 5_000;

/** The delay after a failed read, in milliseconds; readers get the error themselves. */
const PAUSE = 100;

/** How long a process counts as the writer after adding entries, in milliseconds. */
const ADDING = 20;

/** Single-node or cluster connections. */
export type Driver = Redis | Cluster;

/** Dependencies of a waiter. */
export interface WaiterOptions {
  /** Creates a separate connection for blocking reads. */
  readonly connect: () => Driver;
  /** Returns the id of a stream's newest entry, on the connection that readers use. */
  readonly last: (key: string) => Promise<number>;
  /** Unblocks the blocking read of a connection, so that it restarts with more streams. */
  readonly unblock: (clientId: number) => Promise<void>;
}

/** A reader that has everything up to a position and waits for more. */
interface Reader {
  readonly after: number;
  readonly wake: () => void;
}

interface Stream {
  readonly readers: Set<Reader>;
  /** The position up to which readers were woken; `null` if unknown. */
  last: number | null;
}

/**
 * Waits for entries of any number of streams on one connection, instead of one blocked connection per group.
 *
 * It only wakes readers, which then read on another connection; wake-ups may be spurious.
 */
export class RedisWaiter {
  #options: WaiterOptions;
  #streams = new Map<string, Stream>();
  #driver: Driver | undefined;
  #clientId: number | undefined;
  #running = false;
  /** The streams of the current blocking read. */
  #blockedOn = new Set<string>();
  #closed = false;
  /** When this process last added entries. */
  #addedAt = -Infinity;

  /** @param options Its dependencies. */
  constructor(options: WaiterOptions) {
    this.#options = options;
  }

  #stream(key: string): Stream {
    let stream = this.#streams.get(key);
    if (!stream) this.#streams.set(key, stream = { readers: new Set(), last: null });
    return stream;
  }

  /**
   * Ensures that new entries of a stream wake its readers from here on; call it before reading.
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
   * Wakes the readers of a stream while this process's entries are still being sent: their reads use the same
   * connection, so they are processed after the entries.
   */
  adding(key: string): void {
    for (const { wake } of [...this.#streams.get(key)?.readers ?? []]) wake();
  }

  /** Resolves when a stream may have something after a position, or after `timeout` milliseconds. */
  async wait(key: string, after: number, timeout: number, signal?: AbortSignal): Promise<void> {
    const { last, readers } = this.#stream(key);
    // The connection has failed since: the reader reads again and re-registers the stream.
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
        // Woken readers usually wait again soon: give them a moment.
        if (keys.length === 0) {
          if (![...this.#streams.values()].some(({ readers }) => readers.size > 0)) break;
          await new Promise((resolve) => setTimeout(resolve, 1));
          continue;
        }
        // While this process adds entries, it wakes its readers itself; a blocking read would return for each entry.
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
    const reading = driver.call("xread", "COUNT", 1, "BLOCK", BLOCK, "STREAMS", ...keys, ...ids) as Promise<
      [string, [string, unknown][]][] | null
    >;
    const answer = await deadline(BLOCK + GRACE, reading, () => new Error("it is not responding"));
    await Promise.all((answer ?? []).map(([key, [[id]]]) => this.#came(key, Number(id.slice(0, id.indexOf("-"))))));
  }

  async #came(key: string, position: number): Promise<void> {
    const stream = this.#stream(key);
    // Added by this process, which has already woken its readers.
    if (stream.last !== null && position <= stream.last) return;
    // Query before readers read, on their connection: entries newer than the result trigger another wake-up.
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

  /** Wakes all readers and closes the connection. */
  close(): void {
    this.#closed = true;
    this.#letGo();
    this.#wakeAll();
  }
}

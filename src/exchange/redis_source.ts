import { RedisConnection } from "../broker/redis/connection.ts";
import { wordOf } from "../broker/redis/errors.ts";
import { isJsonType, parseJson, readCloudEvent, readCloudEvents, type ReadEvent } from "../messages/cloud_event.ts";
import type { Fence } from "../store/port.ts";
import type { Arrived, Intake } from "./intake.ts";
import { EVENT_FIELD, noStream, type RedisStreamOptions } from "./redis_courier.ts";

/** Most entries that are read at a time, and how many characters of them: they are in memory together. */
const COUNT = 100;
const FIRST = 4;
const MOST_CHARACTERS = 8_000_000;

/** How long an entry may be with another consumer, in milliseconds. */
const ABANDONED = 60_000;

/** How long a read may take, in milliseconds: entries may be large, and the way to them slow. */
const TIMEOUT = 20_000;

/** How much is kept of an entry that cannot be read, in characters a field. */
const LONGEST_RAW = 100_000;

/** How long a read waits for entries, in milliseconds; less than a command may take. */
const BLOCK = 1_000;

/** The name of the only consumer of a group: whichever process has the lease, it goes on where the one before was. */
const CONSUMER = "intake";

/** An entry; without fields if it was trimmed. */
type Entry = readonly [id: string, fields: readonly string[] | null];

/** Reads the fields of an entry: CloudEvents in JSON, or one with an attribute per field. */
function eventsIn(fields: readonly string[]): readonly ReadEvent[] {
  const values = new Map<string, string>();
  for (let i = 0; i < fields.length; i += 2) values.set(fields[i], fields[i + 1]);
  const event = values.get(EVENT_FIELD);
  if (event !== undefined) return readCloudEvents(event);
  const { data, ...attributes } = Object.fromEntries([...values].filter(([, value]) => value !== ""));
  if (data === undefined) return [readCloudEvent(attributes)];
  return [readCloudEvent({ ...attributes, data: isJsonType(attributes.datacontenttype) ? parseJson(data) : data })];
}

function lengthOf([, fields]: Entry): number {
  return fields?.reduce((sum, { length }) => sum + length, 0) ?? 0;
}

/**
 * Reads an entry of a foreign stream.
 *
 * @param place Which stream it is.
 * @param entry The entry.
 * @param longest The longest that is looked at, in characters.
 */
export function arrivedIn(place: string, entry: Entry, longest: number): readonly Arrived[] {
  const [id, fields] = entry;
  if (fields === null) return [];
  const wrong = (fault: string, i = 0) => ({
    fault,
    raw: JSON.stringify(fields.map((text) => text.slice(0, LONGEST_RAW))),
    place: `${place}:${id}:${i}`,
  });
  // Hundreds of megabytes of JSON would take all memory.
  if (lengthOf(entry) > longest) return [wrong(`it is longer than max_message_bytes = ${longest}`)];
  try {
    return eventsIn(fields).map((one, i) => "event" in one ? one : { ...one, ...wrong(one.fault, i) });
  } catch (error) {
    const at = fields.findIndex((name, i) => i % 2 === 0 && name === "type");
    return [{ ...wrong((error as Error).message), ...(at >= 0 && { type: fields[at + 1] }) }];
  }
}

/** How a stream is read. */
export interface RedisSourceOptions {
  /** The consumer group in Redis. */
  readonly group: string;
  /** The longest entry, in characters. */
  readonly longest: number;
  /** Stores what is read. */
  readonly intake: Intake;
  /** Hears of what an operator should know. */
  readonly warn: (text: string) => void;
}

/** Reads a stream that another system writes, for one subscriber; an entry is acknowledged when it is stored. */
export class RedisSource {
  #at: RedisStreamOptions;
  #options: RedisSourceOptions;
  /** How many entries to read, by how large the last ones were; nobody knows of the first ones. */
  #count = FIRST;

  /**
   * @param at The stream.
   * @param options How it is read.
   */
  constructor(at: RedisStreamOptions, options: RedisSourceOptions) {
    this.#at = at;
    this.#options = options;
  }

  /**
   * Reads until stopped.
   *
   * @param fence The lease under which what is read is stored: one process reads at a time.
   * @param signal Stops it.
   * @throws {BrokerUnavailableError} If Redis cannot be used.
   */
  async run(fence: Fence, signal: AbortSignal): Promise<void> {
    const { url, stream } = this.#at;
    const { group, longest, intake, warn } = this.#options;
    const connection = new RedisConnection(url, TIMEOUT);
    const over = new AbortController();
    // A Redis that does not answer holds nobody up.
    signal.addEventListener("abort", () => connection.close(), { signal: over.signal });
    const place = `${connection.location}/${stream}`;
    try {
      // From the first entry on: what was there before the subscriber is not lost.
      await this.#create(connection);
      // What somebody has read by hand, and left.
      await connection.ask((driver) => driver.xautoclaim(stream, group, CONSUMER, ABANDONED, "0", "JUSTID"));
      let isBehind = true;
      while (!signal.aborted) {
        const fresh: readonly Entry[] = isBehind ? [] : await this.#read(connection, ">");
        const entries: readonly Entry[] = await this.#withOlder(connection, fresh, isBehind);
        isBehind = entries !== fresh && entries.length > 0;
        if (entries.length === 0 || signal.aborted) continue;
        await intake.take(entries.flatMap((entry) => arrivedIn(place, entry, longest)), fence);
        const lost = entries.filter(([, fields]) => fields === null).length;
        if (lost > 0) {
          warn(`${lost} entries of stream "${stream}" were trimmed before they could be stored, and are lost`);
        }
        await connection.ask((driver) => driver.xack(stream, group, ...entries.map(([id]) => id)));
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      over.abort("done");
      connection.close();
    }
  }

  /**
   * Puts what was read before, and not stored, in front of what is fresh: by whoever read before; or by a process that had
   * lost the lease and did not know it yet, whose last read may have come in between.
   */
  async #withOlder(
    connection: RedisConnection,
    fresh: readonly Entry[],
    isBehind: boolean,
  ): Promise<readonly Entry[]> {
    if (!isBehind) {
      const pending = await connection.ask((driver) =>
        driver.xpending(this.#at.stream, this.#options.group, "-", "+", 1, CONSUMER).catch((error) => {
          if (wordOf(error) !== "NOGROUP") throw error;
          return [];
        })
      ) as [id: string][];
      const [oldest] = pending;
      if (oldest === undefined || oldest[0] === fresh[0]?.[0]) return fresh;
    }
    return await this.#read(connection, "0");
  }

  async #create(connection: RedisConnection): Promise<void> {
    await connection.ask(async (driver) => {
      await driver.xgroup("CREATE", this.#at.stream, this.#options.group, "0", "MKSTREAM").catch((error) => {
        if (wordOf(error) === "WRONGTYPE") throw noStream(this.#at.stream, connection.location);
        if (wordOf(error) !== "BUSYGROUP") throw error;
      });
    });
  }

  async #read(connection: RedisConnection, after: string): Promise<readonly Entry[]> {
    const { stream } = this.#at;
    const args = [
      "GROUP",
      this.#options.group,
      CONSUMER,
      "COUNT",
      this.#count,
      "BLOCK",
      BLOCK,
      "STREAMS",
      stream,
      after,
    ];
    const startedAt = performance.now();
    const answer = await connection.ask(async (driver) => {
      try {
        return await driver.call("xreadgroup", ...args) as [string, Entry[]][] | null;
      } catch (error) {
        if (wordOf(error) === "WRONGTYPE") throw noStream(stream, connection.location);
        if (wordOf(error) !== "NOGROUP") throw error;
        return "missing";
      }
    }).catch((error) => {
      // They did not arrive in time: fewer may.
      if (performance.now() - startedAt >= TIMEOUT - 100) this.#count = Math.max(1, this.#count >> 2);
      throw error;
    });
    if (answer !== "missing") {
      const entries = answer?.[0]?.[1] ?? [];
      const characters = entries.reduce((sum, entry) => sum + lengthOf(entry), 0);
      if (characters > MOST_CHARACTERS) this.#count = Math.max(1, this.#count >> 1);
      else if (characters < MOST_CHARACTERS / 4) this.#count = Math.min(COUNT, 2 * this.#count);
      return entries;
    }
    this.#options.warn(`Stream "${stream}", or its consumer group, was deleted; reading from its first entry on`);
    await this.#create(connection);
    return [];
  }
}

import { RedisConnection } from "../broker/redis/connection.ts";
import { wordOf } from "../broker/redis/errors.ts";
import { isJsonType, readCloudEvents } from "../messages/cloud_event.ts";
import type { Fence } from "../store/port.ts";
import type { Arrived, Intake } from "./intake.ts";
import { EVENT_FIELD, type RedisStreamOptions } from "./redis_courier.ts";

/** Entries that are read at a time. */
const COUNT = 100;

/** How long a read waits for entries, in milliseconds; less than a command may take. */
const BLOCK = 1_000;

/** The name of the only consumer of a group: whichever process has the lease, it goes on where the one before was. */
const CONSUMER = "intake";

/** An entry; without fields if it was trimmed. */
type Entry = readonly [id: string, fields: readonly string[] | null];

/** What the fields of an entry are: a CloudEvent in JSON, or one with an attribute per field. */
function textOf(fields: readonly string[]): string {
  const values = new Map<string, string>();
  for (let i = 0; i < fields.length; i += 2) values.set(fields[i], fields[i + 1]);
  const event = values.get(EVENT_FIELD);
  if (event !== undefined) return event;
  const { data, ...attributes } = Object.fromEntries([...values].filter(([, value]) => value !== ""));
  if (data === undefined) return JSON.stringify(attributes);
  return JSON.stringify({ ...attributes, data: isJsonType(attributes.datacontenttype) ? JSON.parse(data) : data });
}

/** Reads an entry of a foreign stream. */
export function arrivedIn(place: string, [id, fields]: Entry): readonly Arrived[] {
  if (fields === null) return [];
  const raw = JSON.stringify(fields);
  try {
    const found = readCloudEvents(textOf(fields));
    return found.map((one, i) => "event" in one ? one : { ...one, raw, place: `${place}:${id}:${i}` });
  } catch (error) {
    return [{ fault: (error as Error).message, raw, place: `${place}:${id}:0` }];
  }
}

/** Reads a stream that another system writes, for one subscriber; an entry is acknowledged when it is stored. */
export class RedisSource {
  #options: RedisStreamOptions;
  #group: string;
  #intake: Intake;

  /**
   * @param options The stream.
   * @param group The consumer group in Redis.
   * @param intake Stores what is read.
   */
  constructor(options: RedisStreamOptions, group: string, intake: Intake) {
    this.#options = options;
    this.#group = group;
    this.#intake = intake;
  }

  /**
   * Reads until stopped.
   *
   * @param fence The lease under which what is read is stored: one process reads at a time.
   * @param signal Stops it.
   * @throws {BrokerUnavailableError} If Redis cannot be used.
   */
  async run(fence: Fence, signal: AbortSignal): Promise<void> {
    const { url, stream } = this.#options;
    const connection = new RedisConnection(url);
    const place = `${connection.location}/${stream}`;
    try {
      // From the first entry on: what was there before the subscriber is not lost.
      await this.#create(connection);
      // First what was read before and not stored.
      for (let after = "0"; !signal.aborted;) {
        const entries = await this.#read(connection, after);
        const isOld = after !== ">";
        if (entries.length === 0) {
          if (isOld) after = ">";
          continue;
        }
        await this.#intake.take(entries.flatMap((entry) => arrivedIn(place, entry)), fence);
        const ids = entries.map(([id]) => id);
        await connection.ask((driver) => driver.xack(stream, this.#group, ...ids));
        if (isOld) after = ids.at(-1)!;
      }
    } finally {
      connection.close();
    }
  }

  async #create(connection: RedisConnection): Promise<void> {
    await connection.ask(async (driver) => {
      await driver.xgroup("CREATE", this.#options.stream, this.#group, "0", "MKSTREAM").catch((error) => {
        if (wordOf(error) !== "BUSYGROUP") throw error;
      });
    });
  }

  async #read(connection: RedisConnection, after: string): Promise<readonly Entry[]> {
    const args = [
      "GROUP",
      this.#group,
      CONSUMER,
      "COUNT",
      COUNT,
      "BLOCK",
      BLOCK,
      "STREAMS",
      this.#options.stream,
      after,
    ];
    const answer = await connection.ask(async (driver) => {
      try {
        return await driver.call("xreadgroup", ...args) as [string, Entry[]][] | null;
      } catch (error) {
        // Redis was emptied: what comes from here on is read.
        if (wordOf(error) !== "NOGROUP") throw error;
        return "missing";
      }
    });
    if (answer === "missing") await this.#create(connection);
    return answer === "missing" ? [] : answer?.[0]?.[1] ?? [];
  }
}

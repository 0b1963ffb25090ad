import { BrokerUnavailableError } from "../broker/errors.ts";
import type { RedisConnection } from "../broker/redis/connection.ts";
import { wordOf } from "../broker/redis/errors.ts";
import type { Courier, Delivered, Delivery } from "./courier.ts";

/** The field of an entry that has a CloudEvent as JSON. */
export const EVENT_FIELD = "event";

/** A stream of Redis that is not the broker's. */
export interface RedisStreamOptions {
  /** The URL of Redis. */
  readonly url: string;
  /** The key of the stream. */
  readonly stream: string;
}

/** Says that a key, which is to be a stream, is something else. */
export function noStream(stream: string, location: string): BrokerUnavailableError {
  return new BrokerUnavailableError(
    `Key "${stream}" of Redis at ${location} is no stream; name another in domain.toml, or delete it`,
  );
}

/** Adds CloudEvents to a stream of Redis, all of a batch in one round trip. */
export class RedisCourier implements Courier {
  readonly place: string;
  #connection: RedisConnection;
  #stream: string;
  #longest: number | null;

  /**
   * @param connection The connection, which others may use as well; it is not closed here.
   * @param options The stream, and how many entries it keeps at least; `null`: all.
   */
  constructor(
    connection: RedisConnection,
    { stream, longest }: { readonly stream: string; readonly longest: number | null },
  ) {
    this.#connection = connection;
    this.#stream = stream;
    this.#longest = longest;
    this.place = `stream "${stream}" of ${this.#connection.location}`;
  }

  async deliver(events: readonly Delivery[], signal: AbortSignal): Promise<Delivered> {
    const none = { arrived: new Set<number>(), failed: new Map<number, string>() };
    if (signal.aborted) return none;
    const trim = this.#longest === null ? [] : ["MAXLEN", "~", String(this.#longest)];
    try {
      await this.#connection.ask(async (driver) => {
        // All or none: one that is refused, because memory is full, must not be passed by the next.
        const all = driver.multi();
        for (const { event } of events) all.call("xadd", this.#stream, ...trim, "*", EVENT_FIELD, event);
        for (const [error] of await all.exec() ?? []) if (error) throw error;
      });
    } catch (error) {
      if (wordOf(error) === "WRONGTYPE") throw noStream(this.#stream, this.#connection.location);
      // Also what an operator has to mend, like a password: it is tried until that is done.
      throw error instanceof BrokerUnavailableError ? new BrokerUnavailableError(error.message, true) : error;
    }
    return { ...none, arrived: new Set(events.map(({ position }) => position)) };
  }

  close(): void {}
}

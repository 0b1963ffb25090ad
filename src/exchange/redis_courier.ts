import { RedisConnection } from "../broker/redis/connection.ts";
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

/** Adds CloudEvents to a stream of Redis, all of a batch in one round trip. */
export class RedisCourier implements Courier {
  readonly place: string;
  #connection: RedisConnection;
  #stream: string;
  #longest: number | null;

  /** @param options The stream, and how many entries it keeps at least; `null`: all. */
  constructor({ url, stream, longest }: RedisStreamOptions & { readonly longest: number | null }) {
    this.#connection = new RedisConnection(url);
    this.#stream = stream;
    this.#longest = longest;
    this.place = `stream "${stream}" of ${this.#connection.location}`;
  }

  async deliver(events: readonly Delivery[], signal: AbortSignal): Promise<Delivered> {
    const none = { arrived: new Set<number>(), failed: new Map<number, string>() };
    if (signal.aborted) return none;
    const trim = this.#longest === null ? [] : ["MAXLEN", "~", String(this.#longest)];
    await this.#connection.ask(async (driver) => {
      const pipeline = driver.pipeline();
      for (const { event } of events) pipeline.call("xadd", this.#stream, ...trim, "*", EVENT_FIELD, event);
      for (const [error] of await pipeline.exec() ?? []) if (error) throw error;
    });
    return { ...none, arrived: new Set(events.map(({ position }) => position)) };
  }

  close(): void {
    this.#connection.close();
  }
}

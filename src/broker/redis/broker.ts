import type { MessageRecord } from "../../messages/envelope.ts";
import { BrokerBehindError, BrokerUnavailableError, GroupMissingError } from "../errors.ts";
import type { Broker, BrokerStreamInfo, ClaimOptions, Delivered, ReadGroupOptions } from "../port.ts";
import { RedisConnection } from "./connection.ts";
import { wordOf } from "./errors.ts";
import { LASTS, PUBLISH, type Script, SEEK } from "./scripts.ts";
import { type Driver, RedisWaiter } from "./waiter.ts";

/** Settings of {@linkcode RedisBroker}. */
export interface RedisOptions {
  /**
   * `redis://user:password@host:port/database`, `rediss://` for TLS; add `?cluster=true` if the host is a node of a
   * cluster.
   */
  readonly url: string;
  /** A prefix for every key, so that several deployments can share a Redis. @default {""} */
  readonly prefix?: string;
  /** The domain; several domains can share a Redis. @default {"annals"} */
  readonly domain?: string;
}

/** The lifetime of the key that marks a running deployment, in milliseconds. */
const ALIVE = 5_000;

type Entry = [id: string, fields: string[]];

function idOf(position: number): string {
  return `${position}-0`;
}

function positionOf(id: string): number {
  return Number(id.slice(0, id.indexOf("-")));
}

function envelopeOf({ position: _, category: __, data: ___, ...envelope }: MessageRecord): string {
  return JSON.stringify(envelope);
}

function toMessage(category: string, [id, fields]: Entry): MessageRecord {
  // Our script always writes the fields in this order: p, e, d.
  return { position: positionOf(id), category, data: fields[5], ...JSON.parse(fields[3]) };
}

/** Converts a flat list of keys and values to an object. */
function pairs(flat: unknown[]): Record<string, any> {
  const found: Record<string, unknown> = {};
  for (let i = 0; i < flat.length; i += 2) found[String(flat[i])] = flat[i + 1];
  return found;
}

/** Decodes the result of a read. */
function deliveredOf(stream: string, entries: readonly Entry[]): Delivered {
  // Entries trimmed while pending come without fields.
  const whole = entries.filter(([, fields]) => fields);
  return {
    messages: whole.map((entry) => toMessage(stream, entry)),
    previous: whole.map(([, fields]) => Number(fields[1])),
  };
}

/**
 * A broker on Redis Streams (Redis 6.2 or newer, or Valkey): one stream per category, one consumer group per group.
 *
 * An entry's id is `POSITION-0`, so Redis itself rejects duplicates. Its data can be deleted at any time: it is
 * refilled from the log.
 *
 * @example A group that reads
 * ```ts ignore
 * import { RedisBroker } from "@annals/annals/broker/redis";
 *
 * const broker = new RedisBroker({ url: "redis://localhost:6379/0" });
 * await broker.createGroup("bank::account", "Auditor", 0);
 * console.log(await broker.read({ stream: "bank::account", group: "Auditor", consumer: "me", count: 10, block: 0 }));
 * await broker.close();
 * ```
 */
export class RedisBroker implements Broker {
  /** Always `redis`. */
  readonly kind = "redis";
  /** The URL, without its password. */
  readonly location: string;
  #options: RedisOptions;
  #prefix: string;
  #connection: RedisConnection;
  /** The last position delivered to a group, by key and group. */
  #delivered = new Map<string, number>();
  #waiters = new Map<string, RedisWaiter>();
  #shas = new Map<Script, string>();
  #adopted: string | undefined;
  /** Streams known to be in the list of streams, unless it was wiped since the last check. */
  #known = new Set<string>();

  /**
   * Creates a broker that connects on first use.
   *
   * @param options The location and settings.
   */
  constructor(options: RedisOptions) {
    this.#options = options;
    this.#prefix = options.prefix ?? "";
    this.#connection = new RedisConnection(options.url);
    this.location = this.#connection.location;
  }

  #key(stream: string): string {
    return `${this.#prefix}${stream}`;
  }

  /** Returns the name of a key that is not a stream. */
  #own(name: string): string {
    return `${this.#prefix}annals:${this.#options.domain ?? "annals"}:${name}`;
  }

  /** Runs a script by its hash; sends its text if the server does not have it cached. */
  async #run(driver: Driver, script: Script, keys: string[], args: (string | number)[]): Promise<unknown> {
    let sha = this.#shas.get(script);
    if (sha === undefined) {
      const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(script.lua));
      sha = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
      this.#shas.set(script, sha);
    }
    try {
      return await driver.evalsha(sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (wordOf(error) !== "NOSCRIPT") throw error;
      return await driver.eval(script.lua, keys.length, ...keys, ...args);
    }
  }

  async publish(
    messages: readonly MessageRecord[],
    expected?: ReadonlyMap<string, number>,
    previous?: ReadonlyMap<string, number>,
  ): Promise<number> {
    const byStream = Map.groupBy(messages, (message) => message.category);
    for (const stream of expected?.keys() ?? []) if (!byStream.has(stream)) byStream.set(stream, []);
    const streams = [...byStream.keys()];
    if (streams.length === 0) return 0;
    // In a cluster the streams of one call must be on one node.
    const parts = this.#connection.isCluster ? streams.map((stream) => [stream]) : [streams];
    return await this.#connection.ask(async (driver) => {
      const unknown = streams.filter((stream) => !this.#known.has(stream));
      if (unknown.length > 0) await driver.sadd(this.#own("streams"), ...unknown);
      for (const stream of unknown) this.#known.add(stream);
      let added = 0;
      for (const part of parts) {
        const heads = part.flatMap((stream) => [
          expected?.get(stream) ?? 0,
          previous?.get(stream) ?? expected?.get(stream) ?? 0,
          byStream.get(stream)!.length,
        ]);
        const entries = part.flatMap((stream) =>
          byStream.get(stream)!.flatMap((message) => [message.position, envelopeOf(message), message.data])
        );
        const publishing = this.#run(driver, PUBLISH, part.map((stream) => this.#key(stream)), [...heads, ...entries]);
        for (const stream of part) this.#waiterOf(stream)?.adding(this.#key(stream));
        const answer = await publishing;
        if (Array.isArray(answer)) {
          const stream = part[answer[0] - 1];
          throw new BrokerBehindError(stream, expected!.get(stream)!, answer[1]);
        }
        added += answer as number;
        for (const stream of part) {
          const last = byStream.get(stream)!.at(-1)?.position;
          if (last !== undefined) this.#waiterOf(stream)?.added(this.#key(stream), last);
        }
      }
      return added;
    });
  }

  adopt(logId: string): Promise<boolean> {
    return this.#connection.ask(async (driver) => {
      const alive = await driver.get(this.#own("alive"));
      if (alive !== null && alive !== logId && alive !== this.#adopted) {
        throw new BrokerUnavailableError(
          `Redis at ${this.location} is in use for another log of domain "${this.#options.domain}"; ` +
            `if that is another deployment, give this one a key prefix: [brokers.default] prefix = "…" ` +
            `(a deployment that was just killed is forgotten within ${ALIVE / 1000} s)`,
          true,
        );
      }
      await driver.set(this.#own("alive"), logId, "PX", ALIVE);
      this.#adopted = logId;
      this.#known.clear();
      const known = await driver.get(this.#own("log"));
      if (known === logId) return false;
      const streams = await driver.smembers(this.#own("streams"));
      let deleted = 0;
      for (const stream of streams) deleted += await driver.del(this.#key(stream));
      await driver.del(this.#own("streams"));
      await driver.set(this.#own("log"), logId);
      return known !== null && deleted > 0;
    });
  }

  async remove(stream: string): Promise<void> {
    await this.#connection.ask((driver) => driver.del(this.#key(stream)));
    this.#waiterOf(stream)?.forget(this.#key(stream));
  }

  async createGroup(stream: string, group: string, after: number): Promise<void> {
    await this.#connection.ask(async (driver) => {
      await driver.sadd(this.#own("streams"), stream);
      await driver.xgroup("CREATE", this.#key(stream), group, idOf(after), "MKSTREAM").catch((error) => {
        if (wordOf(error) !== "BUSYGROUP") throw error;
      });
    });
  }

  async seek(stream: string, group: string, after: number): Promise<void> {
    await this.#connection.ask(async (driver) => {
      await driver.sadd(this.#own("streams"), stream);
      this.#delivered.delete(`${this.#key(stream)}\n${group}`);
      this.#waiterOf(stream)?.forget(this.#key(stream));
      await this.#run(driver, SEEK, [this.#key(stream)], [group, idOf(after)]);
    });
  }

  async read({ stream, group, consumer, count, block, signal }: ReadGroupOptions): Promise<Delivered> {
    const key = this.#key(stream);
    const until = performance.now() + block;
    const args = ["GROUP", group, consumer, "COUNT", count, "STREAMS", key, ">"];
    const reader = `${key}\n${group}`;
    while (!signal?.aborted && !this.#connection.isClosed) {
      if (block > 0) {
        const waiter = this.#waiter(key);
        await waiter.watch(key);
        // The group has received everything, so a read would find nothing.
        const [wait, after] = [until - performance.now(), this.#delivered.get(reader) ?? -1];
        if (wait > 0 && waiter.hasNothingAfter(key, after)) {
          await waiter.wait(key, after, wait, signal);
          if (signal?.aborted || this.#connection.isClosed) break;
        }
      }
      const last = block > 0 ? this.#waiter(key).lastOf(key) : undefined;
      let answer: [string, Entry[]][] | null;
      try {
        answer = await this.#connection.ask((driver) =>
          driver.call("xreadgroup", ...args) as Promise<[string, Entry[]][] | null>
        );
      } catch (error) {
        if (signal?.aborted) break;
        this.#waiterOf(stream)?.forget(key);
        throw this.#missing(error, stream, group);
      }
      const left = until - performance.now();
      const entries = answer?.[0]?.[1] ?? [];
      if (entries.length > 0) this.#delivered.set(reader, positionOf(entries[entries.length - 1][0]));
      if (answer || left <= 0) {
        return { ...deliveredOf(stream, entries), ...(entries.length === 0 && last !== undefined && { last }) };
      }
      await this.#waiter(key).wait(key, this.#delivered.get(reader) ?? -1, left, signal);
    }
    return { messages: [], previous: [] };
  }

  #waiterOf(stream: string): RedisWaiter | undefined {
    return this.#waiters.get(this.#connection.isCluster ? this.#key(stream) : "");
  }

  /** Returns the waiter: one for all streams, or in a cluster one per stream, as they may be on different nodes. */
  #waiter(key: string): RedisWaiter {
    const name = this.#connection.isCluster ? key : "";
    let waiter = this.#waiters.get(name);
    if (!waiter) {
      waiter = new RedisWaiter({
        connect: () => this.#connection.connect("waiter"),
        last: async (key) => (await this.#lasts([key]))[0],
        unblock: async (id) => void await this.#connection.driver.call("client", "unblock", id),
      });
      this.#waiters.set(name, waiter);
    }
    return waiter;
  }

  /** A deleted stream has no groups either. */
  #missing(error: unknown, stream: string, group: string): unknown {
    return ["NOGROUP", "UNBLOCKED"].includes(wordOf(error)) ? new GroupMissingError(stream, group) : error;
  }

  async acknowledge(stream: string, group: string, positions: readonly number[]): Promise<void> {
    if (positions.length === 0) return;
    await this.#connection.ask((driver) => driver.xack(this.#key(stream), group, ...positions.map(idOf)));
  }

  async claim({ stream, group, consumer, idle, count }: ClaimOptions): Promise<MessageRecord[]> {
    try {
      return await this.#connection.ask(async (driver) => {
        const answer = await driver.xautoclaim(this.#key(stream), group, consumer, idle, "0-0", "COUNT", count) as [
          string,
          Entry[],
        ];
        return [...deliveredOf(stream, answer[1].filter((entry) => entry)).messages];
      });
    } catch (error) {
      throw this.#missing(error, stream, group);
    }
  }

  trim(stream: string, upTo: number): Promise<number> {
    return this.#connection.ask(async (driver) =>
      Number(await driver.call("xtrim", this.#key(stream), "MINID", "=", idOf(upTo + 1)))
    );
  }

  async lasts(streams: readonly string[]): Promise<number[]> {
    const keys = streams.map((stream) => this.#key(stream));
    if (!this.#connection.isCluster) return await this.#lasts(keys);
    // In a cluster the streams of one call must be on one node.
    return (await Promise.all(keys.map((key) => this.#lasts([key])))).flat();
  }

  async #lasts(keys: string[]): Promise<number[]> {
    return await this.#connection.ask((driver) => this.#run(driver, LASTS, keys, [])) as number[];
  }

  async describe(stream: string): Promise<BrokerStreamInfo> {
    return await this.#connection.ask(async (driver) => {
      const key = this.#key(stream);
      let info: Record<string, any>;
      try {
        info = pairs(await driver.xinfo("STREAM", key) as unknown[]);
      } catch (error) {
        if (!/no such key/.test((error as Error).message)) throw error;
        return { last: 0, lastId: null, first: null, length: 0, groups: [] };
      }
      const found = (await driver.xinfo("GROUPS", key) as unknown[][]).map(pairs);
      const pending = await Promise.all(found.map(({ name }) => driver.xpending(key, name)));
      const groups = found.map(({ name, pending: waiting, ...rest }, i) => {
        const [, lowest] = pending[i] as [number, string | null];
        return {
          group: name as string,
          delivered: positionOf(rest["last-delivered-id"]),
          pending: waiting as number,
          lowestPending: lowest === null ? null : positionOf(lowest),
        };
      }).sort((a, b) => a.group < b.group ? -1 : 1);
      const [first, end] = [info["first-entry"], info["last-entry"]] as (Entry | null)[];
      return {
        last: positionOf(info["last-generated-id"]),
        lastId: end && end[0] === info["last-generated-id"] ? toMessage(stream, end).id : null,
        first: first ? positionOf(first[0]) : null,
        length: info.length,
        groups,
      };
    });
  }

  /**
   * Checks the version and configuration of Redis.
   *
   * @returns Warnings for the operator.
   * @throws {BrokerUnavailableError} If it is unreachable, too old or denies access.
   */
  async inspect(): Promise<string[]> {
    const info = await this.#connection.ask((driver) => driver.info());
    const field = (name: string): string => new RegExp(`^${name}:(.*?)\r?$`, "m").exec(info)?.[1] ?? "";
    const version = field("redis_version").split(".").map(Number);
    if (version[0] < 6 || (version[0] === 6 && version[1] < 2)) {
      throw new BrokerUnavailableError(
        `Redis at ${this.location} is ${field("redis_version")}; Annals needs 6.2 or newer, or Valkey`,
        false,
      );
    }
    const found: string[] = [];
    const policy = field("maxmemory_policy");
    if (policy !== "" && policy !== "noeviction" && field("maxmemory") !== "0") {
      found.push(
        `Redis at ${this.location} may evict whole streams if its memory is full (maxmemory-policy ${policy}); ` +
          `they would be refilled from the log, which takes time but loses nothing; set it to noeviction`,
      );
    }
    if (field("aof_enabled") === "0" && field("rdb_bgsave_in_progress") !== "" && !await this.#saves()) {
      found.push(
        `Redis at ${this.location} keeps nothing on disk; after a restart it is refilled from the log, ` +
          `from the checkpoint of the slowest group; nothing is lost`,
      );
    }
    return found;
  }

  async #saves(): Promise<boolean> {
    try {
      const [, save] = await this.#connection.driver.call("config", "get", "save") as string[];
      return save !== "";
    } catch {
      // Not permitted to read the setting: no warning.
      return true;
    }
  }

  async close(): Promise<void> {
    if (this.#connection.isClosed) return;
    if (this.#adopted !== undefined && this.#connection.driver.status === "ready") {
      await this.#connection.driver.del(this.#own("alive")).catch(() => {});
    }
    this.#connection.close();
    for (const waiter of this.#waiters.values()) waiter.close();
  }
}

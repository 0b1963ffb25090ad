import type { StatementSync } from "node:sqlite";
import type { MessageRecord } from "../../messages/envelope.ts";
import { SqliteDatabase, type SqliteOptions } from "../../sqlite/database.ts";
import { BROKER_SCHEMA } from "./schema.ts";
import { BrokerBehindError, GroupMissingError } from "../errors.ts";
import type { Broker, BrokerStreamInfo, ClaimOptions, Delivered, GroupInfo, ReadGroupOptions } from "../port.ts";

export type { SqliteOptions } from "../../sqlite/database.ts";

/** Settings of {@linkcode SqliteBroker}. */
export interface SqliteBrokerOptions extends SqliteOptions {
  /** Returns the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
}

const NOTHING: Delivered = { messages: [], previous: [] };

const TABLES = ["broker_streams", "broker_entries", "broker_groups", "broker_pending"];

/**
 * A broker in an SQLite file next to the store's, for a single machine without other services.
 *
 * It uses a separate file, named like the store's with the suffix `-broker`, so that the two do not wait for each
 * other's locks. Its commits are not synced to disk by default (see `synchronous`): lost entries are republished from
 * the log.
 *
 * @example A group that reads
 * ```ts
 * import { SqliteBroker } from "@annals/annals/broker/sqlite";
 *
 * const broker = new SqliteBroker({ path: ":memory:" }); // or the store's file
 * await broker.createGroup("bank::account", "Auditor", 0);
 * console.log(await broker.read({ stream: "bank::account", group: "Auditor", consumer: "me", count: 10, block: 0 })); // []
 * await broker.close();
 * ```
 */
export class SqliteBroker implements Broker {
  /** Always `sqlite`. */
  readonly kind = "sqlite";
  /** The store's file. */
  readonly location: string;
  /** The file whose WAL needs a checkpointer. */
  readonly walFiles: readonly string[];
  #db: SqliteDatabase;
  #now: () => number;
  #prepared = new Map<string, StatementSync>();

  /**
   * Opens the file.
   *
   * @param options The file and its settings.
   * @throws {BrokerUnavailableError} If the file is foreign, newer, damaged, locked or cannot be opened.
   */
  constructor(options: SqliteBrokerOptions) {
    this.location = options.path;
    this.#now = options.now ?? Date.now;
    const path = options.path === ":memory:" ? options.path : `${options.path}-broker`;
    this.walFiles = path === ":memory:" ? [] : [path];
    this.#db = new SqliteDatabase({ synchronous: "normal", ...options, path }, BROKER_SCHEMA);
  }

  #sql(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (!statement) this.#prepared.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  publish(
    messages: readonly MessageRecord[],
    expected?: ReadonlyMap<string, number>,
    previous: ReadonlyMap<string, number> | undefined = expected,
  ): Promise<number> {
    return this.#db.write(() => {
      for (const [stream, position] of expected ?? []) {
        const last = this.#last(stream);
        if (last < position) throw new BrokerBehindError(stream, position, last);
      }
      const lasts = new Map<string, number>();
      const before = new Map(previous ?? []);
      let added = 0;
      for (const message of messages) {
        const { category, position } = message;
        const last = lasts.get(category) ?? this.#last(category);
        const earlier = before.get(category) ?? 0;
        before.set(category, position);
        if (position <= last) continue;
        this.#sql("insert into broker_entries values (?, ?, ?, ?)")
          .run(category, position, JSON.stringify(message), earlier);
        lasts.set(category, position);
        added++;
      }
      for (const [category, last] of lasts) {
        this.#sql("insert into broker_streams values (?, ?) on conflict do update set last = excluded.last")
          .run(category, last);
      }
      return added;
    });
  }

  #last(stream: string): number {
    return (this.#sql("select last from broker_streams where stream = ?").get(stream)?.last as number | undefined) ?? 0;
  }

  async adopt(logId: string): Promise<boolean> {
    const owner = () => this.#sql("select id from broker_log").get()?.id;
    // Called repeatedly: write only if something changes.
    if (await this.#db.read(owner) === logId) return false;
    return await this.#db.write(() => {
      const known = owner();
      const some = this.#sql("select 1 from broker_streams union all select 1 from broker_groups limit 1").get();
      for (const table of TABLES) this.#sql(`delete from ${table}`).run();
      this.#sql("delete from broker_log").run();
      this.#sql("insert into broker_log values (?)").run(logId);
      return known !== undefined && some !== undefined;
    });
  }

  async remove(stream: string): Promise<void> {
    await this.#db.write(() => {
      for (const table of TABLES) this.#sql(`delete from ${table} where stream = ?`).run(stream);
    });
  }

  async createGroup(stream: string, group: string, after: number): Promise<void> {
    await this.#db.write(() => {
      this.#sql("insert or ignore into broker_groups values (?, ?, ?)").run(stream, group, after);
    });
  }

  async seek(stream: string, group: string, after: number): Promise<void> {
    await this.#db.write(() => {
      this.#sql("insert or replace into broker_groups values (?, ?, ?)").run(stream, group, after);
      this.#sql(`delete from broker_pending where stream = ? and "group" = ?`).run(stream, group);
    });
  }

  #delivered(stream: string, group: string): number {
    const row = this.#sql(`select delivered from broker_groups where stream = ? and "group" = ?`).get(stream, group);
    if (!row) throw new GroupMissingError(stream, group);
    return row.delivered as number;
  }

  async read({ stream, group, consumer, count, block, signal }: ReadGroupOptions): Promise<Delivered> {
    const until = performance.now() + block;
    while (true) {
      // Looking takes no lock; only a delivery does.
      const [last, some] = await this.#db.read(() => {
        const last = this.#last(stream);
        return [last, last > this.#delivered(stream, group)];
      });
      if (some) {
        const found = await this.#db.write(() => this.#deliver(stream, group, consumer, count));
        if (found.messages.length > 0) return found;
      }
      const left = until - performance.now();
      if (left <= 0 || signal?.aborted) return { ...NOTHING, last };
      await this.#db.changed(left, signal);
    }
  }

  #deliver(stream: string, group: string, consumer: string, count: number): Delivered {
    const rows = this.#sql(
      "select position, message, previous from broker_entries where stream = ? and position > ? order by position limit ?",
    ).all(stream, this.#delivered(stream, group), count);
    if (rows.length === 0) return NOTHING;
    const first = rows[0].position as number;
    const last = rows[rows.length - 1].position as number;
    this.#sql(
      `insert or replace into broker_pending select stream, ?, position, ?, ?, 1
       from broker_entries where stream = ? and position between ? and ?`,
    ).run(group, consumer, this.#now(), stream, first, last);
    this.#sql(`update broker_groups set delivered = ? where stream = ? and "group" = ?`).run(last, stream, group);
    return {
      messages: rows.map((row) => JSON.parse(row.message as string)),
      previous: rows.map((row) => row.previous as number),
    };
  }

  async acknowledge(stream: string, group: string, positions: readonly number[]): Promise<void> {
    if (positions.length === 0) return;
    await this.#db.write(() => {
      this.#sql(
        `delete from broker_pending where stream = ? and "group" = ? and position in (select value from json_each(?))`,
      ).run(stream, group, JSON.stringify(positions));
    });
  }

  claim({ stream, group, consumer, idle, count }: ClaimOptions): Promise<MessageRecord[]> {
    return this.#db.write(() => {
      this.#delivered(stream, group);
      // Trimmed entries cannot be redelivered, and need not be: trimming waits for every group.
      this.#sql(
        `delete from broker_pending where stream = ?1 and "group" = ?2
         and position < coalesce((select min(position) from broker_entries where stream = ?1), 9e15)`,
      ).run(stream, group);
      const rows = this.#sql(
        `select p.position, e.message from broker_pending p
         join broker_entries e on e.stream = p.stream and e.position = p.position
         where p.stream = ? and p."group" = ? and p.consumer <> ? and p.delivered_at <= ?
         order by p.position limit ?`,
      ).all(stream, group, consumer, this.#now() - idle, count);
      const take = this.#sql(
        `update broker_pending set consumer = ?, delivered_at = ?, deliveries = deliveries + 1
         where stream = ? and "group" = ? and position = ?`,
      );
      for (const row of rows) take.run(consumer, this.#now(), stream, group, row.position);
      return rows.map((row) => JSON.parse(row.message as string));
    });
  }

  async trim(stream: string, upTo: number): Promise<number> {
    return await this.#db.write(() =>
      Number(this.#sql("delete from broker_entries where stream = ? and position <= ?").run(stream, upTo).changes)
    );
  }

  lasts(streams: readonly string[]): Promise<number[]> {
    return this.#db.read(() => streams.map((stream) => this.#last(stream)));
  }

  describe(stream: string): Promise<BrokerStreamInfo> {
    return this.#db.read(() => {
      const entries = this.#sql(
        "select count(*) as length, min(position) as first from broker_entries where stream = ?",
      )
        .get(stream) as unknown as { length: number; first: number | null };
      const groups = this.#sql(
        `select g."group", g.delivered, count(p.position) as pending, min(p.position) as lowestPending
         from broker_groups g left join broker_pending p on p.stream = g.stream and p."group" = g."group"
         where g.stream = ? group by g."group" order by g."group"`,
      ).all(stream).map((row) => ({ ...row }) as unknown as GroupInfo);
      const last = this.#last(stream);
      const end = this.#sql("select message from broker_entries where stream = ? and position = ?")
        .get(stream, last) as { message: string } | undefined;
      const lastId = end ? (JSON.parse(end.message) as MessageRecord).id : null;
      return { last, lastId, first: entries.first, length: entries.length, groups };
    });
  }

  /** Wakes waiters in `read()`: another connection has written. */
  wake(): void {
    this.#db.wake();
  }

  async close(): Promise<void> {
    await Promise.resolve(this.#db.close());
  }
}

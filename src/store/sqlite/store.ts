import type { StatementSync } from "node:sqlite";
import { type Fate, GroupCommit } from "../../lib/group_commit.ts";
import type { MessageRecord } from "../../messages/envelope.ts";
import { SqliteDatabase, type SqliteOptions } from "../../sqlite/database.ts";
import { STORE_SCHEMA } from "./schema.ts";
import { FencedError, isConflict, ScheduleChangedError, StoreUnavailableError } from "../errors.ts";
import { FORGOTTEN, LONGEST_LEASE } from "../membership.ts";
import type {
  Ages,
  Behind,
  CategoryPosition,
  Checkpoint,
  CommandOutcome,
  Commit,
  CommitResult,
  DeadLetter,
  DeadLetterOptions,
  DeferredCount,
  DeferredMessage,
  DeferredOptions,
  DueMessages,
  Ends,
  EventStore,
  Fence,
  Generation,
  GrantedLease,
  Lease,
  LeaseRequest,
  Member,
  ProjectionRow,
  ReadLogOptions,
  ReadStreamOptions,
  RowIndex,
  RowQuery,
  ScheduledMessage,
  Snapshot,
  Swap,
  SwapRefusal,
  Tagged,
  TaggedMessages,
} from "../port.ts";
import { grantOf, type LastGrant, leaseNames } from "../grant.ts";
import { behindOf, rangesOf } from "../behind.ts";
import { MOST_REPLAYED } from "../port.ts";
import type { ProjectionShape } from "../views.ts";
import { SqliteCommitter } from "./commit.ts";
import { SqliteProjections } from "./projections.ts";

export type { SqliteOptions } from "../../sqlite/database.ts";

/** Settings of {@linkcode SqliteEventStore}. */
export interface SqliteEventStoreOptions extends SqliteOptions {
  /** Returns the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
}

const columns = (data: string): string =>
  `m.position, m.id, m.type, m.schema_version, m.category, m.stream, m.version, m.time,
  m.correlation_id, m.causation_id, ${data}, m.metadata`;
const MESSAGE = columns("m.data");

/** The same, with payloads of more than so many bytes left out; SQLite knows a length without reading the text. */
function columnsOf(largest: number | undefined): string {
  if (largest === undefined) return MESSAGE;
  return columns(`case when octet_length(m.data) > ${Math.floor(largest)} then '' else m.data end`);
}

/** Dead letters, those with larger messages than `?4` without the payload. */
const DEAD_LETTER = `select id, "group",
  case when octet_length(message) > ?4 then json_set(message, '$.data', '') else message end as message,
  reason, error, stack, attempts, dead_at as deadAt from dead_letters`;
const SCHEDULED = "select key, due_at as dueAt, category, stream, message from schedule";
const LAST = "select max(position) as last from messages";
/** One range of the index for each of so many tags, none longer than the limit. */
function taggedBy(tags: number): string {
  const range = `select * from (select position from tags where tag = ? and position > ? and position <= ?
    and type in (select value from json_each(?)) order by position limit ?)`;
  return `select ${MESSAGE} from (
      select distinct position from (${Array(tags).fill(range).join(" union all ")}) order by position limit ?
    ) t join messages m on m.position = t.position order by m.position`;
}

/** Reading rows as arrays takes a fifth of the time of objects, and most rows are messages. */
function toMessage(row: any[]): MessageRecord {
  return {
    position: row[0],
    id: row[1],
    type: row[2],
    schemaVersion: row[3],
    category: row[4],
    stream: row[5],
    version: row[6],
    time: row[7],
    correlationId: row[8],
    causationId: row[9],
    data: row[10],
    metadata: row[11],
  };
}

function toDeadLetter(row: Record<string, any>): DeadLetter {
  return { ...row, message: JSON.parse(row.message), attempts: JSON.parse(row.attempts) } as DeadLetter;
}

function toScheduled({ message, ...row }: Record<string, any>): ScheduledMessage {
  return { ...row, message: JSON.parse(message) } as ScheduledMessage;
}

/** Rows of `node:sqlite` have no prototype; the port returns plain objects. */
function plain<T>(rows: Record<string, unknown>[]): T[] {
  return rows.map((row) => ({ ...row }) as T);
}

/**
 * A store in an SQLite file that several processes can share, with one writer at a time and any number of readers.
 *
 * @example A log in a file
 * ```ts
 * import { SqliteEventStore } from "@annals/annals/store/sqlite";
 *
 * const store = new SqliteEventStore({ path: ":memory:" }); // or a file, like ".annals/bank.db"
 * console.log(await store.lastPosition()); // 0
 * await store.close();
 * ```
 */
export class SqliteEventStore implements EventStore {
  /** Always `sqlite`. */
  readonly kind = "sqlite";
  /** The file. */
  readonly location: string;
  /** The file whose WAL needs a checkpointer. */
  readonly walFiles: readonly string[];
  #db: SqliteDatabase;
  #now: () => number;
  #committer: SqliteCommitter;
  #projections: SqliteProjections;
  #commits: GroupCommit<Commit, CommitResult>;
  #prepared = new Map<string, StatementSync>();

  /**
   * Opens the file.
   *
   * @param options The file and its settings.
   * @throws {StoreUnavailableError} If the file is foreign, newer, damaged, locked or cannot be opened.
   */
  constructor(options: SqliteEventStoreOptions) {
    this.location = options.path;
    this.walFiles = options.path === ":memory:" ? [] : [options.path];
    this.#now = options.now ?? Date.now;
    this.#db = new SqliteDatabase(options, STORE_SCHEMA);
    this.#committer = new SqliteCommitter(this.#db, this.#now);
    this.#projections = new SqliteProjections(this.#db, this.#now);
    this.#commits = new GroupCommit((batch) => this.#run(batch));
  }

  #statement(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (!statement) this.#prepared.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  /** Reads messages within `read()`; the columns are those of `MESSAGE`. */
  #found(sql: string, values: readonly (string | number | null)[]): MessageRecord[] {
    let statement = this.#prepared.get(sql);
    if (!statement) {
      this.#prepared.set(sql, statement = this.#db.prepare(sql));
      // Available in node:sqlite since 24.0 and in Deno, but missing from Deno's types.
      (statement as unknown as { setReturnArrays(on: boolean): void }).setReturnArrays(true);
    }
    return (statement.all(...values) as unknown as unknown[][]).map(toMessage);
  }

  /** Reads messages; the columns are those of `MESSAGE`. */
  #messages(sql: string, ...values: (string | number | null)[]): Promise<MessageRecord[]> {
    return this.#db.read(() => this.#found(sql, values));
  }

  #all<T>(sql: string, ...values: (string | number | null)[]): Promise<T[]> {
    return this.#db.read(() => plain<T>(this.#statement(sql).all(...values)));
  }

  async #one<T>(sql: string, ...values: (string | number | null)[]): Promise<T | null> {
    return (await this.#all<T>(sql, ...values))[0] ?? null;
  }

  async #run(batch: Commit[]): Promise<Fate<CommitResult>[]> {
    try {
      return await this.#transact(batch);
    } catch (error) {
      if (batch.length === 1 || error instanceof StoreUnavailableError) throw error;
      // One of them failed: run each on its own.
      const fates: Fate<CommitResult>[] = [];
      for (const commit of batch) {
        fates.push(...await this.#transact([commit]).catch((error): Fate<CommitResult>[] => [{ error }]));
      }
      return fates;
    }
  }

  #transact(batch: Commit[]): Promise<Fate<CommitResult>[]> {
    return this.#db.write(() => {
      const apply = this.#committer.begin();
      return batch.map((commit): Fate<CommitResult> => {
        try {
          return { ok: apply(commit) };
        } catch (error) {
          // Only these are thrown before anything is written. After any other error, the whole transaction is rolled
          // back.
          const isHarmless = isConflict(error) || error instanceof FencedError || error instanceof ScheduleChangedError;
          if (isHarmless) return { error };
          throw error;
        }
      });
    });
  }

  commit(commit: Commit): Promise<CommitResult> {
    return this.#commits.submit(commit);
  }

  readStream(stream: string, options: ReadStreamOptions = {}): Promise<MessageRecord[]> {
    const { backward = false, limit = -1 } = options;
    const [low, high] = backward
      ? [options.to ?? 0, options.from ?? Number.MAX_SAFE_INTEGER]
      : [options.from ?? 0, options.to ?? Number.MAX_SAFE_INTEGER];
    return this.#messages(
      `select ${columnsOf(options.largest)} from messages m where stream = ? and version between ? and ?
       order by version ${backward ? "desc" : "asc"} limit ?`,
      stream,
      low,
      high,
      limit,
    );
  }

  readLog(options: ReadLogOptions = {}): Promise<MessageRecord[]> {
    const { after = 0, upTo = Number.MAX_SAFE_INTEGER, limit = 1000, backward = false } = options;
    const { category, type, correlationId, id, since, largest } = options;
    const values: (string | number)[] = [after, upTo];
    let where = "m.position > ? and m.position <= ?";
    for (
      const [condition, value] of [
        ["m.category = ?", category],
        ["m.type = ?", type],
        ["m.correlation_id = ?", correlationId],
        ["m.id = ?", id],
        ["m.time >= ?", since],
      ] as const
    ) {
      if (value === undefined) continue;
      where += ` and ${condition}`;
      values.push(value);
    }
    return this.#messages(
      `select ${columnsOf(largest)} from messages m where ${where} order by m.position ${
        backward ? "desc" : "asc"
      } limit ?`,
      ...values,
      limit,
    );
  }

  readAt(positions: readonly number[], { largest }: { largest?: number } = {}): Promise<MessageRecord[]> {
    return this.#messages(
      `select ${columnsOf(largest)} from messages m where m.position in (select value from json_each(?))
       order by m.position`,
      JSON.stringify(positions),
    );
  }

  readTagged(
    among: readonly Tagged[],
    { after = 0, upTo = Number.MAX_SAFE_INTEGER, limit = -1 }: { after?: number; upTo?: number; limit?: number } = {},
  ): Promise<TaggedMessages> {
    return this.#db.read(() => {
      const last = (this.#statement(LAST).get()?.last as number | null) ?? 0;
      const ranges = among.flatMap(({ tag, types }) => [tag, after, upTo, JSON.stringify(types), limit]);
      const messages = among.length === 0 ? [] : this.#found(taggedBy(among.length), [...ranges, limit]);
      // Others may write between the two.
      return { messages, last: Math.max(last, messages.at(-1)?.position ?? 0) };
    });
  }

  async lastPosition(): Promise<number> {
    return (await this.#one<{ last: number | null }>(LAST))?.last ?? 0;
  }

  changed(timeout: number, signal?: AbortSignal): Promise<void> {
    return this.#db.changed(timeout, signal);
  }

  /** Wakes waiters in `changed()`: another connection has written. */
  wake(): void {
    this.#db.wake();
  }

  async logId(): Promise<string> {
    return (await this.#one<{ id: string }>("select id from identity"))!.id;
  }

  /**
   * Claims the file for a domain: two domains in one would take each other's groups for their own.
   *
   * @param domain The domain.
   * @throws {StoreUnavailableError} When another domain has it.
   */
  async claim(domain: string): Promise<void> {
    const ownerOf = async () => (await this.#one<{ domain: string | null }>("select domain from identity"))!.domain;
    if (await ownerOf() === null) {
      await this.#db.write(() => this.#statement("update identity set domain = ? where domain is null").run(domain));
    }
    const owner = await ownerOf();
    if (owner === domain) return;
    throw new StoreUnavailableError(
      `SQLite file "${this.location}" holds domain "${owner}", not "${domain}"; give this one a file of its own, like [event_store] url = "sqlite:.annals/{domain}.db"`,
      "foreign",
      false,
    );
  }

  async markPublished(position: number, fence?: Fence): Promise<void> {
    await this.#db.write(() => {
      if (fence) this.#committer.checkFence(fence);
      this.#statement("delete from outbox where position <= ?").run(position);
      this.#statement("update relay set published = max(published, ?)").run(position);
    });
  }

  async published(): Promise<number> {
    return (await this.#one<{ published: number }>("select published from relay"))!.published;
  }

  async outboxStatus(): Promise<{ waiting: number; oldest: number | null; published: number }> {
    const status = await this.#one<{ waiting: number; oldest: number | null; published: number }>(
      `select (select count(*) from outbox) as waiting,
         (select m.time from messages m where m.position = (select min(position) from outbox)) as oldest,
         published from relay`,
    );
    return status!;
  }

  checkpoints(group?: string, category?: string): Promise<Checkpoint[]> {
    // One statement for both would look at all of them for one group.
    const [which, given] = group === undefined
      ? ["", []]
      : category === undefined
      ? ['where "group" = ?', [group]]
      : ['where "group" = ? and category = ?', [group, category]];
    return this.#all(
      `select "group", category, partitions, partition, position from checkpoints ${which}
       order by "group", category, partitions, partition`,
      ...given,
    );
  }

  async acquireLease(request: LeaseRequest): Promise<GrantedLease | null> {
    const { name, group, partitions, owner, ttl } = request;
    const isHeld = (): boolean =>
      this.#statement(
        `select 1 from leases where expires_at > ? and ((name = ? and owner <> ?) or ("group" = ? and partitions <> ?))
         limit 1`,
      ).get(this.#now(), name, owner, group, partitions) !== undefined;
    // Standby processes poll: write, and wake all waiters, only for a grant.
    if (await this.#db.read(isHeld)) return null;
    return await this.#db.write(() => {
      const now = this.#now();
      if (isHeld()) return null;
      const last = this.#statement(
        `select owner, token, expires_at as expiresAt, clean = 1 as clean, granted, ends from leases where name = ?`,
      ).get(name);
      // Fence holders that assume another number of partitions.
      const others = this.#statement(
        `update leases set token = token + 1, expires_at = 0, clean = 1, owner = '' where "group" = ? and partitions <> ?
         and clean = 0`,
      );
      const vanished = this.#statement(
        `select 1 from leases where "group" = ? and partitions <> ? and clean = 0 limit 1`,
      ).get(group, partitions) !== undefined;
      others.run(group, partitions);
      const ends = (last?.ends ?? null) as string | null;
      const { token, clean, again, granted } = grantOf(last as LastGrant | undefined, request, vanished);
      // What may have been in flight there is now anybody's.
      for (const sibling of vanished ? leaseNames(group, partitions) : []) {
        this.#statement(
          `insert into leases (name, "group", partitions, owner, token, expires_at, clean) values (?, ?, ?, '', 0, 0, 0)
           on conflict do update set clean = 0, owner = ''`,
        ).run(sibling, group, partitions);
      }
      this.#statement("insert or replace into leases values (?, ?, ?, ?, ?, ?, 0, ?, ?)")
        .run(name, group, partitions, owner, token, now + ttl, ends, granted);
      return { token, clean, again, ends: ends && JSON.parse(ends) };
    });
  }

  async enroll({ owner, types }: Member, ttl: number): Promise<void> {
    await this.#db.write(() => {
      if (ttl === 0) this.#statement("delete from members where owner = ?").run(owner);
      else {
        const now = this.#now();
        // Of processes that were killed.
        this.#statement("delete from members where expires_at < ?").run(now - FORGOTTEN);
        this.#statement("update members set expires_at = ? where expires_at > ?").run(now + ttl, now + LONGEST_LEASE);
        this.#statement("update leases set expires_at = ?1 where expires_at > ?1").run(now + LONGEST_LEASE);
        this.#statement("insert or replace into members values (?, ?, ?)").run(owner, JSON.stringify(types), now + ttl);
      }
    });
  }

  async members(): Promise<Member[]> {
    const rows = await this.#all<{ owner: string; types: string }>(
      "select owner, types from members where expires_at > ? order by owner",
      this.#now(),
    );
    return rows.map(({ owner, types }) => ({ owner, types: JSON.parse(types) }));
  }

  renewLeases(leases: readonly Fence[], ttl: number): Promise<string[]> {
    return this.#db.write(() => {
      const renew = this.#statement("update leases set expires_at = ? where name = ? and token = ? and expires_at > 0");
      const until = this.#now() + ttl;
      return leases.filter(({ lease, token }) => renew.run(until, lease, token).changes === 0).map(({ lease }) =>
        lease
      );
    });
  }

  async releaseLease({ lease, token }: Fence, clean: boolean): Promise<void> {
    await this.#db.write(() => {
      // Increment the token, so that the previous holder is fenced from here on.
      this.#statement("update leases set token = token + 1, expires_at = 0, clean = ? where name = ? and token = ?")
        .run(Number(clean), lease, token);
    });
  }

  async recordEnds({ lease, token }: Fence, ends: Ends | null): Promise<void> {
    await this.#db.write(() => {
      this.#statement("update leases set ends = ? where name = ? and token = ?")
        .run(ends && JSON.stringify(ends), lease, token);
    });
  }

  async leases(): Promise<Lease[]> {
    const rows = await this.#all<Omit<Lease, "ends" | "isHeld"> & { ends: string | null }>(
      `select name, "group", partitions, owner, token, expires_at as expiresAt, ends from leases where token > 0
       order by name`,
    );
    const now = this.#now();
    return rows.map(({ ends, ...lease }) => ({
      ...lease,
      isHeld: lease.expiresAt > now,
      ends: ends === null ? null : JSON.parse(ends),
    }));
  }

  async deferred(group: string, options: DeferredOptions = {}): Promise<DeferredMessage[]> {
    const { category = null, replayedOnly, after = 0, limit = -1 } = options;
    const rows = await this.#all<Record<string, any>>(
      `select "group", category, stream, position, attempts, due_at as dueAt, failures, replayed, awaits from deferred
       where "group" = ?1 and (?2 is null or category = ?2) and position > ?4 ${replayedOnly ? "and replayed = 1" : ""}
       order by position limit ?3`,
      group,
      category,
      limit,
      after,
    );
    return rows.map((row) =>
      ({ ...row, failures: JSON.parse(row.failures), replayed: row.replayed === 1 }) as DeferredMessage
    );
  }

  async countDeferred(): Promise<DeferredCount[]> {
    const rows = await this.#all<Omit<DeferredCount, "isTried"> & { readonly isTried: number }>(
      `select "group", awaits, attempts > 0 as isTried, count(*) as count from deferred group by 1, 2, 3`,
    );
    return rows.map((row) => ({ ...row, isTried: row.isTried === 1 }));
  }

  async replayed(): Promise<DeferredMessage[]> {
    const rows = await this.#all<Record<string, any>>(
      `select "group", category, stream, position, attempts, due_at as dueAt, failures, awaits from deferred
       where replayed = 1 order by position limit ${MOST_REPLAYED}`,
    );
    return rows.map((row) => ({ ...row, failures: JSON.parse(row.failures), replayed: true }) as DeferredMessage);
  }

  async lag(category: string, after: number): Promise<Behind> {
    return (await this.lags([{ category, after }]))[0];
  }

  lags(positions: readonly CategoryPosition[]): Promise<Behind[]> {
    return this.#db.read(() => {
      const ranges = rangesOf(positions);
      const counts = ranges.map(({ category, after, upTo }) => {
        const { messages, oldest } = this.#statement(
          `select count(*) as messages, (select time from messages where category = ?1 and position > ?2
           order by position limit 1) as oldest from messages where category = ?1 and position > ?2 and position <= ?3`,
        ).get(category, after, upTo)!;
        return { messages, oldest } as unknown as Behind;
      });
      return behindOf(positions, ranges, counts);
    });
  }

  due(limit: number): Promise<DueMessages> {
    return this.#db.read(() => {
      const now = this.#now();
      const messages = this.#statement(`${SCHEDULED} where due_at <= ? order by due_at, key limit ?`).all(now, limit)
        .map(toScheduled);
      const [{ next }] = messages.length === limit
        ? [{ next: now }]
        : this.#statement("select min(due_at) as next from schedule where due_at > ?").all(now);
      return { messages, now, wait: next === null ? null : Math.max(0, next as number - now) };
    });
  }

  async scheduled(options: { key?: string; after?: string; limit?: number } = {}): Promise<ScheduledMessage[]> {
    const { key, after = "", limit = -1 } = options;
    const rows = key === undefined
      ? await this.#all<Record<string, unknown>>(`${SCHEDULED} where key > ? order by key limit ?`, after, limit)
      : await this.#all<Record<string, unknown>>(`${SCHEDULED} where key = ?1 and key > ?2`, key, after);
    return rows.map(toScheduled);
  }

  tidy({ outcomes, keys }: Ages, limit: number): Promise<number> {
    return this.#db.write(() => {
      const now = this.#now();
      const old = this.#statement(
        "delete from outcomes where command_id in (select command_id from outcomes where at < ? order by at limit ?)",
      ).run(Math.max(0, now - outcomes), limit).changes;
      const dead = this.#statement(
        `delete from once where key in (select key from once o where at < ?1 and substr(key, 1, length(?2)) = ?2
         and not exists (select 1 from schedule s where s.id = o.value->>'id') order by at limit ?3)`,
      ).run(Math.max(0, now - keys.age), keys.of, limit).changes;
      return Math.max(Number(old), Number(dead));
    });
  }

  async onceKeys(options: { after?: string; limit?: number } = {}): Promise<{ key: string; value: string }[]> {
    const { after = "", limit = -1 } = options;
    return await this.#all("select key, value from once where key > ? order by key limit ?", after, limit);
  }

  readSnapshot(stream: string, fingerprint: string): Promise<Snapshot | null> {
    return this.#one("select * from snapshots where stream = ? and fingerprint = ?", stream, fingerprint);
  }

  async writeSnapshots(snapshots: readonly Snapshot[]): Promise<void> {
    await this.#db.write(() => {
      for (const { stream, version, message, fingerprint, state } of snapshots) {
        this.#statement(
          `insert into snapshots (stream, version, message, fingerprint, state) values (?, ?, ?, ?, ?)
           on conflict do update set version = excluded.version, message = excluded.message,
             fingerprint = excluded.fingerprint, state = excluded.state
           where excluded.fingerprint <> fingerprint or excluded.version >= version`,
        ).run(stream, version, message, fingerprint, state);
      }
    });
  }

  async deadLetters({ group, limit, before, largest }: DeadLetterOptions = {}): Promise<DeadLetter[]> {
    const rows = await this.#all<Record<string, any>>(
      `${DEAD_LETTER} where (?1 is null or "group" = ?1) and (?2 is null or id < ?2) order by id desc limit ?3`,
      group ?? null,
      before ?? null,
      limit ?? -1,
      largest ?? Number.MAX_SAFE_INTEGER,
    );
    return rows.map(toDeadLetter);
  }

  async deadLetter(id: string): Promise<DeadLetter | null> {
    const row = await this.#one<Record<string, any>>(
      `${DEAD_LETTER} where id = ?1`,
      id,
      null,
      null,
      Number.MAX_SAFE_INTEGER,
    );
    return row && toDeadLetter(row);
  }

  async countDeadLetters(): Promise<Record<string, number>> {
    const rows = await this.#all<{ group: string; count: number }>(
      `select "group", count(*) as count from dead_letters group by "group"`,
    );
    return Object.fromEntries(rows.map(({ group, count }) => [group, count]));
  }

  async replayDeadLetters(ids: readonly string[]): Promise<number> {
    return await this.#db.write(() => {
      const defer = this.#statement(
        `insert or replace into deferred ("group", position, category, stream, attempts, due_at, failures, replayed)
         select "group", message->>'position', message->>'category', message->>'stream', 0, 0, '[]', 1
         from dead_letters where id = ?`,
      );
      const forget = this.#statement("delete from dead_letters where id = ?");
      let replayed = 0;
      for (const id of ids) {
        defer.run(id);
        replayed += Number(forget.run(id).changes);
      }
      return replayed;
    });
  }

  async purgeDeadLetters({ group, ids }: { group?: string; ids?: readonly string[] }): Promise<number> {
    return await this.#db.write(() =>
      Number(
        this.#statement(
          `delete from dead_letters where (?1 is null or "group" = ?1)
           and (?2 is null or id in (select value from json_each(?2)))`,
        ).run(group ?? null, ids ? JSON.stringify(ids) : null).changes,
      )
    );
  }

  readRow(projection: string, key: string): Promise<ProjectionRow | null> {
    return this.#db.read(() => this.#projections.readRow(projection, key));
  }

  readRows(projection: string, keys: readonly string[]): Promise<ProjectionRow[]> {
    return this.#db.read(() => this.#projections.readRows(projection, keys));
  }

  listRows(projection: string, options: { after?: string; limit?: number } = {}): Promise<ProjectionRow[]> {
    return this.#db.read(() => this.#projections.listRows(projection, options));
  }

  queryRows(query: RowQuery): Promise<ProjectionRow[]> {
    return this.#db.read(() => this.#projections.query(query));
  }

  async projections(): Promise<string[]> {
    const rows = await this.#all<{ projection: string }>("select distinct projection from projections order by 1");
    return rows.map(({ projection }) => projection);
  }

  countRows(query: Pick<RowQuery, "projection" | "where">): Promise<number> {
    return this.#db.read(() => this.#projections.count(query));
  }

  generations(): Promise<Generation[]> {
    return this.#db.read(() => this.#projections.generations());
  }

  addGeneration(generation: Generation): Promise<boolean> {
    return this.#db.write(() => this.#projections.add(generation));
  }

  markGeneration(
    generation: Pick<Generation, "projection" | "generation" | "state" | "error">,
    from: Generation["state"],
  ): Promise<boolean> {
    return this.#db.write(() => this.#projections.mark(generation, from));
  }

  swapGenerations(swap: Swap): Promise<SwapRefusal | null> {
    return this.#db.write(() => this.#projections.swap(swap));
  }

  clearGeneration(projection: string, generation: string, limit: number): Promise<number> {
    return this.#db.write(() => this.#projections.clear(projection, generation, limit));
  }

  renameGroup(from: string, to: string): Promise<"renamed" | "held" | "absent"> {
    return this.#db.write(() => this.#projections.rename(from, to));
  }

  async keepIndexes(projections: readonly string[], declared: readonly RowIndex[]): Promise<void> {
    if (await this.#db.read(() => this.#projections.hasIndexes(projections, declared))) return;
    // One after the other: meanwhile others write.
    for (const index of declared) {
      await this.#db.write(() => this.#projections.keepIndexes([], [index]));
      await new Promise((resolve) => setTimeout(resolve));
    }
    await this.#db.write(() => this.#projections.keepIndexes(projections, declared));
  }

  /**
   * Creates a view for each projection, with a column for each field of its schema, for reports and BI tools.
   *
   * @param shapes The projections.
   * @returns Warnings about views that could not be made.
   */
  async publishViews(shapes: readonly ProjectionShape[]): Promise<string[]> {
    if (await this.#db.read(() => this.#projections.hasViews(shapes))) return [];
    return await this.#db.write(() => this.#projections.publishViews(shapes));
  }

  outcome(commandId: string): Promise<CommandOutcome | null> {
    return this.#one("select command_id as commandId, status, detail from outcomes where command_id = ?", commandId);
  }

  async close(): Promise<void> {
    await this.#commits.idle();
    this.#db.close();
  }
}

import type { StatementSync } from "node:sqlite";
import type { SqliteDatabase } from "../../sqlite/database.ts";
import {
  AppendConditionError,
  FencedError,
  RowConflictError,
  ScheduleChangedError,
  StatementError,
  WrongExpectedVersionError,
} from "../errors.ts";
import { storedAs } from "../generations.ts";
import { statementFault } from "../single_statement.ts";
import {
  type AppendCondition,
  checkpointsOf,
  type Commit,
  type CommitResult,
  type Fence,
  type StreamAppend,
  tagsOf,
} from "../port.ts";

function prepareAll<K extends string>(db: SqliteDatabase, sql: Record<K, string>): Record<K, StatementSync> {
  const entries = Object.entries<string>(sql).map(([name, text]) => [name, db.prepare(text)]);
  return Object.fromEntries(entries) as Record<K, StatementSync>;
}

const SQL = {
  streamVersion: "select version from messages where stream = ? order by version desc limit 1",
  insertMessage: `insert into messages
    (position, id, type, schema_version, category, stream, version, time, correlation_id, causation_id, data, metadata)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  lastPosition: "select max(position) as position from messages",
  insertOutbox: "insert into outbox values (?)",
  token: "select token from leases where name = ?",
  checkpoint: `insert into checkpoints values (?, ?, ?, ?, ?)
    on conflict do update set position = excluded.position`,
  upsertRow: `insert into projections values (?, ?, ?, ?)
    on conflict do update set row = excluded.row, position = excluded.position`,
  rowPosition: "select position from projections where projection = ? and key = ?",
  deleteRow: "delete from projections where projection = ? and key = ?",
  defer: `insert or replace into deferred ("group", position, category, stream, attempts, due_at, failures, replayed,
    awaits) values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  resume: `delete from deferred where "group" = ? and position = ?`,
  deadLetter: "insert or replace into dead_letters values (?, ?, ?, ?, ?, ?, ?, ?)",
  outcome: "insert or replace into outcomes (command_id, status, detail, at) values (?, ?, ?, ?)",
  once: "select value from once where key = ?",
  insertOnce: "insert into once (key, value, at) values (?, ?, ?)",
  scheduledAs: "select 1 from schedule where key = ? and id = ? and due_at = ?",
  unschedule: "delete from schedule where key = ?",
  tag: "insert or ignore into tags (tag, position, type) values (?, ?, ?)",
  newer: `select 1 from tags where tag = ? and position > ? and type in (select value from json_each(?)) limit 1`,
  schedule: "insert or replace into schedule (key, due_at, category, stream, id, message) values (?, ?, ?, ?, ?, ?)",
};

/** Applies commits within the caller's transaction: each is checked first, then written. */
export class SqliteCommitter {
  #db: SqliteDatabase;
  #sql: Record<keyof typeof SQL, StatementSync>;

  #now: () => number;

  /**
   * @param db The connection.
   * @param now Returns the time, in milliseconds since 1970.
   */
  constructor(db: SqliteDatabase, now: () => number) {
    this.#db = db;
    this.#now = now;
    this.#sql = prepareAll(db, SQL);
  }

  /** @throws {FencedError} If another owner holds the lease. */
  checkFence({ lease, token }: Fence): void {
    if (this.#sql.token.get(lease)?.token !== token) throw new FencedError(lease, token);
  }

  #versionOf(stream: string): number {
    return (this.#sql.streamVersion.get(stream)?.version as number | undefined) ?? -1;
  }

  #check({ stream, expected, messages }: StreamAppend, ahead: Map<string, number>): number {
    const actual = ahead.get(stream) ?? this.#versionOf(stream);
    const fits = expected === "any" ||
      (expected === "none" ? actual < 0 : expected === "exists" ? actual >= 0 : actual === expected);
    if (!fits) throw new WrongExpectedVersionError(stream, expected, actual);
    ahead.set(stream, actual + messages.length);
    return actual;
  }

  /**
   * Starts a batch of commits in one transaction.
   *
   * @returns A function that applies one commit: it throws before writing anything, or writes everything.
   */
  begin(): (commit: Commit) => CommitResult {
    let last = (this.#sql.lastPosition.get()?.position as number | null) ?? 0;
    return (commit) => {
      if (commit.fence) this.checkFence(commit.fence);
      if (commit.once) {
        const repeated = this.#sql.once.get(commit.once.key)?.value;
        if (repeated !== undefined) return { lastPosition: 0, versions: [], repeated: repeated as string };
      }
      const { release = [] } = commit;
      if (!release.every(({ key, id, dueAt }) => this.#sql.scheduledAs.get(key, id, dueAt))) {
        throw new ScheduleChangedError(release.map(({ key }) => key));
      }
      const { conditions = [] } = commit;
      if (!conditions.every((condition) => this.#holds(condition))) throw new AppendConditionError(tagsOf(conditions));
      for (const { projection, key, expected } of commit.rows ?? []) {
        if (expected === undefined) continue;
        const found = (this.#sql.rowPosition.get(storedAs(projection), key)?.position as number | undefined) ?? 0;
        if (found !== expected) throw new RowConflictError();
      }
      const appends = commit.appends ?? [];
      const ahead = new Map<string, number>();
      const before = appends.map((append) => this.#check(append, ahead));
      const first = last;
      if (commit.statements) this.#run(commit.statements);
      appends.forEach((append, i) => last = this.#append(append, before[i], last));
      this.#rest(commit);
      this.#reschedule(commit);
      this.#retag(commit);
      return {
        lastPosition: last > first ? last : 0,
        versions: appends.map((append, i) => before[i] + append.messages.length),
        repeated: null,
      };
    };
  }

  #append({ stream, category, messages, publish }: StreamAppend, before: number, last: number): number {
    let version = before;
    let position = last;
    for (const m of messages) {
      this.#sql.insertMessage.run(
        ++position,
        m.id,
        m.type,
        m.schemaVersion,
        category,
        stream,
        ++version,
        m.time,
        m.correlationId,
        m.causationId,
        m.data,
        m.metadata,
      );
      for (const tag of m.tags ?? []) this.#sql.tag.run(tag, position, m.type);
      if (publish) this.#sql.insertOutbox.run(position);
    }
    return position;
  }

  #holds({ among, after }: AppendCondition): boolean {
    return among.every(({ tag, types }) => !this.#sql.newer.get(tag, after, JSON.stringify(types)));
  }

  #retag({ tag: taggings = [] }: Commit): void {
    for (const { position, type, tags } of taggings) {
      for (const tag of tags) this.#sql.tag.run(tag, position, type);
    }
  }

  #run(statements: NonNullable<Commit["statements"]>): void {
    for (const { parts, values } of statements) {
      const text = parts.join("?");
      const fault = statementFault(text);
      if (fault !== null) throw new StatementError(text, fault);
      try {
        this.#db.prepare(text).run(...values.map((value) => typeof value === "boolean" ? Number(value) : value));
      } catch (error) {
        throw new StatementError(text, (error as Error).message);
      }
    }
  }

  #reschedule({ release = [], unschedule = [], schedule = [] }: Commit): void {
    const sql = this.#sql;
    for (const { key } of release) sql.unschedule.run(key);
    for (const key of unschedule) sql.unschedule.run(key);
    for (const { key, due: { at, after = 0 }, category, stream, message } of schedule) {
      sql.schedule.run(key, at ?? this.#now() + after, category, stream, message.id, JSON.stringify(message));
    }
  }

  #rest(commit: Commit): void {
    const { rows, defer, resume, deadLetters, outcomes, once } = commit;
    const sql = this.#sql;
    const now = this.#now();
    if (once) sql.insertOnce.run(once.key, once.value, now);
    for (const { group, category, partitions, partition, position } of checkpointsOf(commit)) {
      sql.checkpoint.run(group, category, partitions, partition, position);
    }
    for (const { group, position } of resume ?? []) sql.resume.run(group, position);
    for (const p of defer ?? []) {
      const failures = JSON.stringify(p.failures);
      const replayed = Number(p.replayed);
      sql.defer.run(p.group, p.position, p.category, p.stream, p.attempts, p.dueAt, failures, replayed, p.awaits);
    }
    for (const d of deadLetters ?? []) {
      const [message, attempts] = [JSON.stringify(d.message), JSON.stringify(d.attempts)];
      sql.deadLetter.run(d.id, d.group, message, d.reason, d.error, d.stack, attempts, d.deadAt);
    }
    for (const { projection, key, row, position } of rows ?? []) {
      if (row === null) sql.deleteRow.run(storedAs(projection), key);
      else sql.upsertRow.run(storedAs(projection), key, row, position);
    }
    for (const { commandId, status, detail } of outcomes ?? []) sql.outcome.run(commandId, status, detail, now);
  }
}

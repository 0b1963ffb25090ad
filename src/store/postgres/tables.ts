import type { MessageRecord } from "../../messages/envelope.ts";
import { FencedError } from "../errors.ts";
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
import { behindOf, rangesOf } from "../behind.ts";
import { MOST_REPLAYED } from "../port.ts";
import { generationOf, rowsOf, storedAs } from "../generations.ts";
import { arrayLiteral, type Parameter } from "./commit.ts";
import { ADD_GENERATION, GENERATIONS, MARK_GENERATION, toGeneration } from "./projections.ts";
import {
  lags,
  LAST_POSITION,
  OUTBOX_STATUS,
  type Query,
  readAt,
  readLog,
  readStream,
  readTagged,
  UUID,
} from "./queries.ts";
import { countQuery, rowsQuery } from "./row_query.ts";
import { toCheckpoint, toDeadLetter, toDeferred, toLease, toMessage, toRow, toScheduled } from "./rows.ts";

const DEFERRED = `select "group", category, stream, position, attempts, due_at, failures::text, replayed, awaits
  from annals.deferred where "group" = $1 and ($3::text is null or category = $3) and position > $4`;
const REPLAYED = `select "group", category, stream, position, attempts, due_at, failures::text, replayed, awaits
  from annals.deferred where replayed 
  order by position limit ${MOST_REPLAYED}`;
/** Dead letters, those with larger messages than `$1` without the payload. */
const DEAD_LETTER = `select id, "group",
  case when octet_length(message::text) > $1::bigint then jsonb_set(message::jsonb, '{data}', '""')::text
    else message::text end, reason, error, stack, attempts::text, dead_at from annals.dead_letters`;
const SCHEDULED = "select s.key, s.due_at, s.category, s.stream, s.message::text from annals.schedule s";
const ROW = `select projection, key, "row"::text, position from annals.projections`;
/** What the rows are stored under that a name stands for: for a projection, what readers see of it. */
const STORED = "coalesce((select g.rows from annals.generations g where g.projection = $1 and g.is_active), $2::text)";
const NOW = "coalesce($1::bigint, annals.server_time())";

/** An age in milliseconds that PostgreSQL can subtract. */
function ageOf(age: number): number {
  return Math.min(age, Number.MAX_SAFE_INTEGER);
}

/** The session name that shows others that a process is alive: the last part of its id, because names are short. */
export function sessionOf(owner: string): string {
  return `annals ${owner.slice(owner.lastIndexOf(":") + 1)}`;
}

/** The store's reads, and its writes outside commits, as single statements. */
export abstract class PostgresTables implements EventStore {
  abstract readonly kind: string;
  abstract readonly location: string;
  abstract commit(commit: Commit): Promise<CommitResult>;
  abstract changed(timeout: number, signal?: AbortSignal, what?: "anything" | "messages"): Promise<void>;
  abstract swapGenerations(swap: Swap): Promise<SwapRefusal | null>;
  abstract clearGeneration(projection: string, generation: string, limit: number): Promise<number>;
  abstract renameGroup(from: string, to: string): Promise<"renamed" | "held" | "absent">;
  abstract keepIndexes(projections: readonly string[], declared: readonly RowIndex[]): Promise<void>;
  abstract close(): Promise<void>;

  #logId: string | undefined;
  /** What readers saw last of a projection. */
  #active = new Map<string, string>();
  /** The lineage that writes have to find; empty for any. */
  protected followed = "";

  /**
   * Runs a statement; `annals.` in it stands for the schema.
   *
   * @returns Its rows, each a list of values.
   */
  protected abstract ask(sql: string, values: readonly Parameter[], writing?: boolean): Promise<any[][]>;

  /** Returns the time in milliseconds since 1970; `null` for the database's clock. */
  protected abstract now(): number | null;

  async #read({ sql, values }: Query): Promise<MessageRecord[]> {
    return (await this.ask(sql, values)).map(toMessage);
  }

  readStream(stream: string, options: ReadStreamOptions = {}): Promise<MessageRecord[]> {
    return this.#read(readStream(stream, options));
  }

  readLog(options: ReadLogOptions = {}): Promise<MessageRecord[]> {
    return this.#read(readLog(options));
  }

  readAt(positions: readonly number[], { largest }: { largest?: number } = {}): Promise<MessageRecord[]> {
    return positions.length === 0 ? Promise.resolve([]) : this.#read(readAt(positions, largest));
  }

  async readTagged(
    among: readonly Tagged[],
    options: Pick<ReadLogOptions, "after" | "upTo" | "limit"> = {},
  ): Promise<TaggedMessages> {
    const { sql, values } = readTagged(among, options);
    const rows = await this.ask(sql, values);
    const messages = rows.filter(([, position]) => position !== null).map(([, ...row]) => toMessage(row));
    return { messages, last: rows[0][0] };
  }

  async lastPosition(): Promise<number> {
    return (await this.ask(LAST_POSITION, []))[0][0];
  }

  async logId(): Promise<string> {
    this.#logId ??= (await this.ask("select id from annals.identity", []))[0][0] as string;
    const lineage = await this.lineage();
    return lineage === "" ? this.#logId : `${this.#logId}/${lineage}`;
  }

  /**
   * Which history the database is at: the timeline of PostgreSQL, which changes with every failover and recovery. What was
   * written just before may be missing then.
   *
   * @returns An opaque text; empty where it cannot be told.
   */
  async lineage(): Promise<string> {
    return (await this.ask("select annals.lineage()", []))[0][0];
  }

  /**
   * Refuses commits from now on unless the database is at this lineage: what is known from another one may be wrong.
   *
   * @param lineage The lineage; empty for any.
   */
  follow(lineage: string): void {
    this.followed = lineage;
  }

  async markPublished(position: number, fence?: Fence): Promise<void> {
    const values = [position, fence?.lease ?? null, fence?.token ?? null, this.followed];
    const [[marked]] = await this.ask("select annals.mark_published($1, $2, $3, $4)", values, true);
    if (!marked) throw new FencedError(fence!.lease, fence!.token);
  }

  async published(): Promise<number> {
    return (await this.ask("select published from annals.relay", []))[0][0];
  }

  async outboxStatus(): Promise<{ waiting: number; oldest: number | null; published: number }> {
    const [[waiting, oldest, published]] = await this.ask(OUTBOX_STATUS, []);
    return { waiting, oldest, published };
  }

  async checkpoints(group?: string, category?: string): Promise<Checkpoint[]> {
    // One statement for both would look at all of them for one group.
    const [which, given] = group === undefined
      ? ["", []]
      : category === undefined
      ? ['where "group" = $1', [group]]
      : ['where "group" = $1 and category = $2', [group, category]];
    const rows = await this.ask(
      `select "group", category, partitions, partition, position from annals.checkpoints
       ${which} order by "group", category, partitions, partition`,
      given,
    );
    return rows.map(toCheckpoint);
  }

  async enroll({ owner, types }: Member, ttl: number): Promise<void> {
    if (ttl === 0) {
      await this.ask("delete from annals.members where owner = $1", [owner], true);
      return;
    }
    await this.ask(
      // With those of processes that were killed.
      // Members that do this at the same time must not wait for each other's rows.
      `with forgotten as (delete from annals.members where owner in (select owner from annals.members
         where expires_at < ${NOW} - ${FORGOTTEN} and owner <> $2 for update skip locked)),
       late_members as (update annals.members set expires_at = ${NOW} + $4
         where owner in (select owner from annals.members
           where expires_at > ${NOW} + ${LONGEST_LEASE} and owner <> $2 for update skip locked)),
       late_leases as (update annals.leases set expires_at = ${NOW} + ${LONGEST_LEASE}
         where name in (select name from annals.leases
           where expires_at > ${NOW} + ${LONGEST_LEASE} for update skip locked))
       insert into annals.members values ($2, $3::text::json, ${NOW} + $4)
       on conflict (owner) do update set types = excluded.types, expires_at = excluded.expires_at`,
      [this.now(), owner, JSON.stringify(types), ttl],
      true,
    );
  }

  async members(): Promise<Member[]> {
    const sql = `select owner, types::text from annals.members where expires_at > ${NOW} order by owner`;
    return (await this.ask(sql, [this.now()])).map(([owner, types]) => ({ owner, types: JSON.parse(types) }));
  }

  async present(owners: readonly string[]): Promise<string[]> {
    const names = new Map(owners.map((owner) => [sessionOf(owner), owner]));
    const found = await this.ask(
      "select distinct application_name from pg_stat_activity where application_name = any($1)",
      [
        arrayLiteral([...names.keys()]),
      ],
    );
    return found.map(([name]) => names.get(name)!);
  }

  async acquireLease({ name, group, partitions, owner, ttl, held }: LeaseRequest): Promise<GrantedLease | null> {
    const [[token, clean, again, ends]] = await this.ask(
      `select g.token, g.clean, g.again, l.ends::text from annals.grant_lease($1, $2, $3, $4, $5, $6, $7) g
       left join annals.leases l on l.name = $1`,
      [name, group, partitions, owner, ttl, this.now(), held ?? null],
      true,
    );
    return token === null ? null : { token, clean, again, ends: ends === null ? null : JSON.parse(ends) };
  }

  async renewLeases(leases: readonly Fence[], ttl: number): Promise<string[]> {
    const kept = await this.ask(
      `update annals.leases l set expires_at = ${NOW} + $2
       from unnest($3::text[], $4::bigint[]) x(name, token)
       where l.name = x.name and l.token = x.token and l.expires_at > 0 returning l.name`,
      [this.now(), ttl, arrayLiteral(leases.map((fence) => fence.lease)), arrayLiteral(leases.map((f) => f.token))],
      true,
    );
    const names = new Set(kept.map(([name]) => name));
    return leases.map((fence) => fence.lease).filter((name) => !names.has(name));
  }

  async releaseLease({ lease, token }: Fence, clean: boolean): Promise<void> {
    await this.ask("select annals.release_lease($1, $2, $3)", [lease, token, clean], true);
  }

  async recordEnds({ lease, token }: Fence, ends: Ends | null): Promise<void> {
    const values = [ends && JSON.stringify(ends), lease, token];
    await this.ask("update annals.leases set ends = $1::text::json where name = $2 and token = $3", values, true);
  }

  async leases(): Promise<Lease[]> {
    const rows = await this.ask(
      `select name, "group", partitions, owner, token, expires_at, expires_at > ${NOW}, ends::text
       from annals.leases where token > 0 order by name`,
      [this.now()],
    );
    return rows.map(toLease);
  }

  async deferred(group: string, options: DeferredOptions = {}): Promise<DeferredMessage[]> {
    const { category = null, replayedOnly, after = 0, limit = null } = options;
    const sql = `${DEFERRED} ${replayedOnly ? "and replayed" : ""} order by position limit $2`;
    return (await this.ask(sql, [group, limit, category, after])).map(toDeferred);
  }

  async countDeferred(): Promise<DeferredCount[]> {
    const sql = `select "group", awaits, attempts > 0, count(*) from annals.deferred group by 1, 2, 3`;
    return (await this.ask(sql, [])).map(([group, awaits, isTried, count]) => ({ group, awaits, isTried, count }));
  }

  async replayed(): Promise<DeferredMessage[]> {
    return (await this.ask(REPLAYED, [])).map(toDeferred);
  }

  async lag(category: string, after: number): Promise<Behind> {
    return (await this.lags([{ category, after }]))[0];
  }

  async lags(positions: readonly CategoryPosition[]): Promise<Behind[]> {
    const ranges = rangesOf(positions);
    if (ranges.length === 0) return [];
    const { sql, values } = lags(ranges);
    const counts = (await this.ask(sql, values)).map(([messages, oldest]) => ({ messages, oldest }));
    return behindOf(positions, ranges, counts);
  }

  async due(limit: number): Promise<DueMessages> {
    // Most often there is nothing, and one round trip says when there will be.
    const rows = await this.ask(
      `with moment as materialized (select ${NOW} as now)
       select now, (select min(due_at) from annals.schedule where due_at > now), s.*
       from moment left join lateral (${SCHEDULED} where s.due_at <= now order by s.due_at, s.key limit $2) s on true`,
      [this.now(), limit],
    );
    const [[now, next]] = rows;
    const messages = rows.filter((row) => row[2] !== null).map((row) => toScheduled(row.slice(2)));
    const wait = messages.length === limit ? 0 : next === null ? null : Math.max(0, next - now);
    return { messages, now, wait };
  }

  async scheduled(options: { key?: string; after?: string; limit?: number } = {}): Promise<ScheduledMessage[]> {
    const { key = null, after = "", limit = null } = options;
    const sql = `${SCHEDULED} where ($1::text is null or s.key = $1) and s.key > $2 order by s.key limit $3`;
    return (await this.ask(sql, [key, after, limit])).map(toScheduled);
  }

  async tidy({ outcomes, keys }: Ages, limit: number): Promise<number> {
    // By the database's clock, which has stamped them.
    const [[old, dead]] = await this.ask(
      `with old as (delete from annals.outcomes where command_id in (select command_id from annals.outcomes
         where at < annals.server_time() - $1::bigint limit $4) returning 1),
       dead as (delete from annals.once where key in (select key from annals.once o
         where at < annals.server_time() - $2::bigint and starts_with(key, $3)
         and not exists (select from annals.schedule s where s.id::text = o.value::json->>'id') limit $4) returning 1)
       select (select count(*) from old), (select count(*) from dead)`,
      [ageOf(outcomes), ageOf(keys.age), keys.of, limit],
      true,
    );
    return Math.max(old, dead);
  }

  async onceKeys(options: { after?: string; limit?: number } = {}): Promise<{ key: string; value: string }[]> {
    const { after = "", limit = null } = options;
    const sql = "select key, value from annals.once where key > $1 order by key limit $2";
    return (await this.ask(sql, [after, limit])).map(([key, value]) => ({ key, value }));
  }

  async readSnapshot(stream: string, fingerprint: string): Promise<Snapshot | null> {
    const sql = "select version, message, state from annals.snapshots where stream = $1 and fingerprint = $2";
    const [row] = await this.ask(sql, [stream, fingerprint]);
    return row ? { stream, version: row[0], message: row[1], fingerprint, state: row[2] } : null;
  }

  async writeSnapshots(snapshots: readonly Snapshot[]): Promise<void> {
    await this.ask(
      // In order, so that two servers do not wait for each other.
      `insert into annals.snapshots as s select x.stream, x.version, x.message, x.fingerprint, x.state
       from json_to_recordset($1::text::json)
         as x(stream text, version int, message uuid, fingerprint text, state text)
       order by x.stream
       on conflict (stream) do update set version = excluded.version, message = excluded.message,
         fingerprint = excluded.fingerprint, state = excluded.state
       where excluded.fingerprint <> s.fingerprint or excluded.version >= s.version`,
      [JSON.stringify(snapshots)],
      true,
    );
  }

  async deadLetters({ group, limit, before, largest }: DeadLetterOptions = {}): Promise<DeadLetter[]> {
    const sql = `${DEAD_LETTER} where ($2::text is null or "group" = $2) and ($4::uuid is null or id < $4)
      order by id desc limit $3`;
    const values = [largest ?? Number.MAX_SAFE_INTEGER, group ?? null, limit ?? null, before ?? null];
    return (await this.ask(sql, values)).map(toDeadLetter);
  }

  async deadLetter(id: string): Promise<DeadLetter | null> {
    if (!UUID.test(id)) return null;
    const [row] = await this.ask(`${DEAD_LETTER} where id = $2`, [Number.MAX_SAFE_INTEGER, id]);
    return row ? toDeadLetter(row) : null;
  }

  async countDeadLetters(): Promise<Record<string, number>> {
    return Object.fromEntries(
      await this.ask(`select "group", count(*) from annals.dead_letters group by "group"`, []),
    );
  }

  async replayDeadLetters(ids: readonly string[]): Promise<number> {
    const rows = await this.ask(
      `with gone as (delete from annals.dead_letters where id = any($1::uuid[]) returning "group", message),
       put as (insert into annals.deferred ("group", position, category, stream, attempts, due_at, failures, replayed)
         select distinct on ("group", (message->>'position')::bigint) "group", (message->>'position')::bigint,
           message->>'category', message->>'stream', 0, 0, '[]', true from gone
         on conflict ("group", position) do update set attempts = 0, due_at = 0, failures = '[]', replayed = true,
           awaits = null)
       select count(*) from gone`,
      [arrayLiteral(ids.filter((id) => UUID.test(id)))],
      true,
    );
    return rows[0][0];
  }

  async purgeDeadLetters({ group, ids }: { group?: string; ids?: readonly string[] }): Promise<number> {
    const rows = await this.ask(
      `with gone as (delete from annals.dead_letters where ($1::text is null or "group" = $1)
       and ($2::uuid[] is null or id = any($2)) returning 1) select count(*) from gone`,
      [group ?? null, ids ? arrayLiteral(ids.filter((id) => UUID.test(id))) : null],
      true,
    );
    return rows[0][0];
  }

  async readRow(projection: string, key: string): Promise<ProjectionRow | null> {
    const sql = `${ROW} where projection = ${STORED} and key = $3`;
    const [row] = await this.ask(sql, [projection, storedAs(projection), key]);
    return row ? toRow(row) : null;
  }

  async readRows(projection: string, keys: readonly string[]): Promise<ProjectionRow[]> {
    const sql = `${ROW} where projection = ${STORED} and key = any($3::text[])`;
    return (await this.ask(sql, [projection, storedAs(projection), arrayLiteral(keys)])).map(toRow);
  }

  async listRows(projection: string, options: { after?: string; limit?: number } = {}): Promise<ProjectionRow[]> {
    const sql = `${ROW} where projection = ${STORED} and key > $3 order by key limit $4`;
    const values = [projection, storedAs(projection), options.after ?? "", options.limit ?? null];
    return (await this.ask(sql, values)).map(toRow);
  }

  /**
   * Asks about the rows of a projection. What they are stored under is part of the text, so the answer also tells whether
   * that is still what readers see.
   */
  async #askRows(name: string, queryOf: (projection: string, rows: string) => Query): Promise<any[][]> {
    const { projection, generation } = generationOf(name);
    while (true) {
      const rows = generation === null ? this.#active.get(projection) ?? projection : storedAs(name);
      const { sql, values } = queryOf(projection, rows);
      const answer = await this.ask(sql, values);
      const active = answer[0][0] ?? projection;
      if (generation !== null || active === rows) return answer.map((row) => row.slice(1));
      this.#active.set(projection, active);
    }
  }

  async queryRows(query: RowQuery): Promise<ProjectionRow[]> {
    const found = await this.#askRows(query.projection, (projection, rows) => rowsQuery(projection, rows, query));
    // Without rows, there is one of nulls.
    return found.filter(([projection]) => projection !== null).map(toRow);
  }

  async projections(): Promise<string[]> {
    const sql = 'select distinct projection collate "C" from annals.projections order by 1';
    return (await this.ask(sql, [])).map(([projection]) => projection);
  }

  async countRows({ projection, where }: Pick<RowQuery, "projection" | "where">): Promise<number> {
    return (await this.#askRows(projection, (name, rows) => countQuery(name, rows, where)))[0][0];
  }

  async generations(): Promise<Generation[]> {
    return (await this.ask(GENERATIONS, [null])).map(toGeneration);
  }

  async addGeneration(one: Generation): Promise<boolean> {
    const { projection, generation, group, state, isActive, isPinned, swappedAt, error } = one;
    const rows = storedAs(rowsOf(projection, generation));
    const values = [projection, generation, rows, group, state, isActive, isPinned, swappedAt, error];
    return (await this.ask(ADD_GENERATION, values as Parameter[], true)).length > 0;
  }

  async markGeneration(
    { projection, generation, state, error }: Pick<Generation, "projection" | "generation" | "state" | "error">,
    from: Generation["state"],
  ): Promise<boolean> {
    return (await this.ask(MARK_GENERATION, [projection, generation, state, error, from], true)).length > 0;
  }

  async outcome(commandId: string): Promise<CommandOutcome | null> {
    if (!UUID.test(commandId)) return null;
    const [row] = await this.ask("select command_id, status, detail from annals.outcomes where command_id = $1", [
      commandId,
    ]);
    return row ? { commandId: row[0], status: row[1], detail: row[2] } : null;
  }
}

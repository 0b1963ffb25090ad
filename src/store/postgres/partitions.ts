import { REAL_CLOCK } from "../../lib/clock.ts";
import { retry } from "../../lib/retry.ts";
import { reachedBy } from "../../groups/progress.ts";
import { RELAY_GROUP } from "../../groups/watermark.ts";
import { StoreUnavailableError } from "../errors.ts";
import { PART_END } from "./errors.ts";
import { lock, type Place } from "./migrate.ts";
import { forSchema } from "./schema.ts";
import { toCheckpoint } from "./rows.ts";
import type { Session } from "./transaction.ts";

/** A part of a partitioned log: a table of its own. */
export interface LogPart {
  /** The table's name, like `messages_from_0`. */
  readonly name: string;
  /** The first position that belongs to it. */
  readonly from: number;
  /** The first position that does not; `null` for the last part, which takes whatever follows. */
  readonly to: number | null;
  /** The bytes on disk, with indexes. */
  readonly bytes: number;
  /** The tablespace; `null` for that of the database. */
  readonly tablespace: string | null;
}

/** How to partition a log. */
export interface PartitionOptions {
  /** The number of positions of a part. @default {10000000} */
  readonly size?: number;
  /** The number of parts to have ready beyond the one that is written to. @default {3} */
  readonly ahead?: number;
  /** Called with what is being done. */
  readonly progress?: (text: string) => void;
}

/** Runs work in one transaction. */
export type Begin = <T>(work: (session: Session) => Promise<T>) => Promise<T>;

/** Messages that are entered into the tables of heads and ids at a time. */
const STEP = 200_000;

/** How many messages may be left to enter while commits wait. */
const LEFT = 20_000;

/** How long commits and readers wait at most because another session uses the log, and how often that is tried. */
const LOCK_TIMEOUT = "1s";
const TRIES = 30;

const COMMIT = "annals.commit(bigint[], text[], text, text, text, text)";

const PARTS = `select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bound,
    pg_total_relation_size(c.oid) as bytes, t.spcname as tablespace
  from pg_inherits i join pg_class c on c.oid = i.inhrelid left join pg_tablespace t on t.oid = c.reltablespace
  where i.inhparent = to_regclass('annals.messages')`;

/** Views and foreign keys that would go on with the first part only. */
const DEPENDENTS = `select distinct v.oid::regclass::text as name
    from pg_depend d join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
    join pg_class v on v.oid = r.ev_class
    where d.refobjid = 'annals.messages'::regclass and v.oid <> 'annals.outbox'::regclass
  union select conrelid::regclass::text from pg_constraint
    where confrelid = 'annals.messages'::regclass and contype = 'f'`;

const CHECKPOINTS = `select "group", category, partitions, partition, position from annals.checkpoints`;

const PRIVILEGES = `select case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as role,
    a.privilege_type as privilege, a.is_grantable as grantable
  from pg_class c, aclexplode(c.relacl) a where c.oid = 'annals.messages_from_0'::regclass and a.grantee <> c.relowner`;

const OUTBOX = `create or replace view annals.outbox as
  select m.* from annals.messages m, annals.relay r where m.publish and m.position > r.published`;

/** Partitions the log of one schema by ranges of positions, while servers go on. */
export class Partitions {
  #place: Place;
  #begin: Begin;

  /**
   * @param place The schema.
   * @param begin Runs work in one transaction.
   */
  constructor(place: Place, begin: Begin) {
    this.#place = place;
    this.#begin = (work) =>
      begin(async (session) => {
        await session.unsafe("set local statement_timeout = 0");
        return await work(session);
      });
  }

  async #ask(session: Session, sql: string, values: readonly (string | number)[] = []): Promise<any[]> {
    return await session.unsafe(forSchema(sql, this.#place.schema), values, { prepare: false });
  }

  async #one(session: Session, sql: string, values: readonly (string | number)[] = []): Promise<any> {
    return (await this.#ask(session, sql, values))[0];
  }

  #refuse(text: string): never {
    const { schema, location } = this.#place;
    throw new StoreUnavailableError(`Schema "${schema}" of PostgreSQL at ${location}: ${text}`, "foreign", false);
  }

  /** The parts of the log, oldest first; none if it is one table. */
  parts(): Promise<LogPart[]> {
    return this.#begin((session) => this.#parts(session));
  }

  async #parts(session: Session): Promise<LogPart[]> {
    const found = await this.#ask(session, PARTS);
    return found.map(({ name, bound, bytes, tablespace }) => {
      const [, from, to] = /FROM \('?(\w+)'?\) TO \('?(\w+)'?\)/.exec(bound)!;
      return {
        name,
        from: from === "MINVALUE" ? 0 : Number(from),
        to: to === "MAXVALUE" ? null : Number(to),
        bytes: Number(bytes),
        tablespace,
      };
    }).sort((a, b) => a.from - b.from);
  }

  /** Whether the part that has no end is written to, or a part was not closed in order. */
  async nearEnd(last: number): Promise<boolean> {
    return await this.#begin(async (session) => {
      const tail = (await this.#parts(session)).at(-1);
      const [left] = await this.#ask(
        session,
        `select 1 from pg_constraint where conname = '${PART_END}' 
         and connamespace = (select relnamespace from pg_class where oid = 'annals.messages'::regclass)`,
      );
      return left !== undefined || (tail !== undefined && tail.from <= last);
    });
  }

  /**
   * Partitions the log, or adds parts to one that is. Can be run again at any time, also after it was interrupted.
   *
   * @param options How.
   * @returns The parts.
   * @throws {StoreUnavailableError} If something else depends on the table, or it is in use all the time.
   */
  async extend({ size = 10_000_000, ahead = 3, progress = () => {} }: PartitionOptions = {}): Promise<LogPart[]> {
    const [parts, last] = await this.#begin(async (session) => {
      const parts = await this.#parts(session);
      if (parts.length === 0) await this.#refuseDependents(session);
      return [parts, await this.#last(session)] as const;
    });
    const tail = parts.at(-1);
    if (tail && parts.filter(({ from, to }) => from > last && to !== null).length >= ahead) return parts;
    if (tail && tail.from > last) {
      progress(`Adding parts of ${size} positions from ${tail.from} on`);
      await this.#patiently((session) => this.#replaceTail(session, tail, size, ahead));
      return await this.parts();
    }
    if (!tail) await this.#enter(progress);
    const table = tail?.name ?? "messages";
    // While it is proven that the part has nothing beyond its end, nothing may come there: that has to be far enough.
    const end = (Math.ceil((last + 1) / size) + 1) * size;
    progress(`Proving that ${table} ends before position ${end}`);
    try {
      await this.#prove(table, tail?.from, end);
      progress(`Partitioning: positions from ${end} on go to new parts`);
      await this.#patiently(async (session) => {
        const name = tail ? await this.#close(session, tail, end) : await this.#convert(session, end);
        await this.#ask(session, `alter table annals.${name} drop constraint ${PART_END}`);
        await this.#add(session, end, size, ahead);
      });
    } catch (error) {
      await this.#patiently(async (session) => {
        await this.#ask(session, `alter table annals.${table} drop constraint if exists ${PART_END}`);
      });
      throw error;
    }
    return await this.parts();
  }

  /**
   * Detaches the oldest part: its messages are no longer part of the log, but stay in a table of their own.
   *
   * @param name The part.
   * @throws {StoreUnavailableError} If something still needs it; the message says what.
   */
  async detach(name: string): Promise<void> {
    await this.#patiently(async (session) => {
      await this.#lock(session);
      const [oldest] = await this.#parts(session);
      if (!oldest) this.#refuse("the log is not partitioned; see `annals store partition`");
      if (oldest.name !== name) this.#refuse(`only the oldest part can be detached, which is ${oldest.name}`);
      const { to } = oldest;
      if (to === null || (await this.#last(session)) < to - 1) this.#refuse(`${name} is still written to`);
      const { published } = await this.#one(session, "select published from annals.relay");
      if (published < to - 1) this.#refuse(`${name} has messages that the relay has not published yet`);
      await this.#refuseBehind(session, name, to);
      const deferred = await this.#one(session, `select "group" from annals.deferred where position < $1 limit 1`, [
        to,
      ]);
      if (deferred) this.#refuse(`${name} has messages that "${deferred.group}" has still to try again`);
      const alive = await this.#one(
        session,
        `select count(*) as count, min(x.stream) as example from
         (select stream, max(version) as version from annals.${name} group by stream) x
         join annals.stream_heads h on h.stream = x.stream and h.version > x.version`,
      );
      if (Number(alive.count) > 0) {
        this.#refuse(
          `${alive.count} streams of ${name} go on after it, like "${alive.example}": without it they could not be loaded; ` +
            `move it to a cheaper disk instead (alter table … set tablespace …)`,
        );
      }
      await this.#ask(session, `alter table annals.messages detach partition annals.${name}`);
    });
  }

  /** Refuses to go on if a group has not handled everything of a part. */
  async #refuseBehind(session: Session, part: string, to: number): Promise<void> {
    const rows = await session.unsafe(forSchema(CHECKPOINTS, this.#place.schema)).values();
    const byGroup = Map.groupBy(rows.map(toCheckpoint), ({ group }) => group);
    for (const [group, checkpoints] of byGroup) {
      // Those of the relay are watermarks.
      if (group === RELAY_GROUP) continue;
      for (const category of new Set(checkpoints.map(({ category }) => category))) {
        const reached = reachedBy(checkpoints, category);
        if (reached >= to - 1) continue;
        const left = `select 1 from annals.${part} m where m.category = $1 and m.position > $2 limit 1`;
        if (await this.#one(session, left, [category, reached])) {
          this.#refuse(`${part} has messages that "${group}" has not handled yet`);
        }
      }
    }
  }

  async #last(session: Session): Promise<number> {
    return Number(
      (await this.#one(session, "select coalesce(max(m.position), 0) as last from annals.messages m")).last,
    );
  }

  async #refuseDependents(session: Session): Promise<void> {
    const found = await this.#ask(session, DEPENDENTS);
    if (found.length === 0) return;
    const names = found.map(({ name }) => name).join(", ");
    this.#refuse(
      `${names} would see only the first part of the log; drop what depends on the table "messages", partition, and make it again`,
    );
  }

  /** Commits wait from here on, and readers from the first change of the table on. */
  async #lock(session: Session): Promise<void> {
    await session.unsafe(`set local lock_timeout = '${LOCK_TIMEOUT}'`);
    await lock(session, this.#place.schema);
    await this.#ask(session, "select pg_advisory_xact_lock(annals_append_lock)");
  }

  /** Runs work under the locks; again, if a report or something else holds one. */
  async #patiently(work: (session: Session) => Promise<void>): Promise<void> {
    const attempt = () =>
      this.#begin(async (session) => {
        await this.#lock(session);
        await work(session);
      });
    await retry(attempt, {
      clock: REAL_CLOCK,
      when: (error, tries) => error instanceof StoreUnavailableError && error.reason === "locked" && tries < TRIES,
    });
  }

  /** Enters the versions of streams and the ids of messages, in steps, while commits go on. */
  async #enter(progress: (text: string) => void): Promise<void> {
    for (let left = Infinity; left > LEFT;) {
      left = await this.#begin(async (session) => {
        await lock(session, this.#place.schema);
        return await this.#enterStep(session, STEP);
      });
      progress(`Entering streams and ids: ${left} messages left`);
    }
  }

  /** Returns how many messages are left. */
  async #enterStep(session: Session, step: number): Promise<number> {
    const { upto } = await this.#one(session, "select heads_upto as upto from annals.identity for update");
    const last = await this.#last(session);
    const next = Math.min(last, Number(upto) + step);
    const range = [Number(upto), next];
    await this.#ask(
      session,
      `insert into annals.message_ids select m.id from annals.messages m where m.position > $1 and m.position <= $2`,
      range,
    );
    await this.#ask(
      session,
      `insert into annals.stream_heads
       select m.stream, max(m.version) from annals.messages m where m.position > $1 and m.position <= $2 group by m.stream
       on conflict (stream) do update set version = excluded.version`,
      range,
    );
    await this.#ask(session, "update annals.identity set heads_upto = $1", [next]);
    return last - next;
  }

  async #prove(table: string, from: number | undefined, end: number): Promise<void> {
    const check = `${from === undefined ? "" : `position >= ${from} and `}position < ${end}`;
    await this.#patiently(async (session) => {
      await this.#ask(session, `alter table annals.${table} drop constraint if exists ${PART_END}`);
      await this.#ask(session, `alter table annals.${table} add constraint ${PART_END} check (${check}) not valid`);
    });
    // Reads the whole table, and keeps nobody waiting.
    await this.#begin((session) => this.#ask(session, `alter table annals.${table} validate constraint ${PART_END}`));
  }

  /** Makes the table the first part of a log of the same name; returns its new name. */
  async #convert(session: Session, end: number): Promise<string> {
    if ((await this.#parts(session)).length > 0) this.#refuse("the log was partitioned by another process meanwhile");
    await this.#ask(session, "lock table annals.messages in access exclusive mode");
    await this.#refuseDependents(session);
    while (await this.#enterStep(session, STEP) > 0);
    const first = "messages_from_0";
    const { owner } = await this.#one(
      session,
      "select relowner::regrole::text as owner from pg_class where oid = 'annals.messages'::regclass",
    );
    const steps = [
      `alter table annals.messages rename to ${first}`,
      `alter index annals.messages_pkey rename to ${first}_pkey`,
      `alter index annals.messages_category rename to ${first}_category`,
      `alter index annals.messages_stream rename to ${first}_stream`,
      // The table of ids knows those of all parts.
      "drop index annals.messages_id",
      `create table annals.messages (like annals.${first} including defaults including storage) partition by range (position)`,
      `alter table annals.messages owner to ${owner}`,
      "alter table annals.messages add primary key (position)",
      "create index messages_category on annals.messages (category, position)",
      `alter table annals.messages attach partition annals.${first} for values from (minvalue) to (${end})`,
      OUTBOX,
      "update annals.identity set partitioned = true",
      // A part that was empty when it was analyzed passes for empty: the last position would be looked for row by row. And
      // plans for all parts take longer to make than to run.
      `alter function ${COMMIT} set enable_seqscan = off`,
      `alter function ${COMMIT} set plan_cache_mode = force_generic_plan`,
    ];
    for (const sql of steps) await this.#ask(session, sql);
    for (const { role, privilege, grantable } of await this.#ask(session, PRIVILEGES)) {
      const option = grantable ? "with grant option" : "";
      await this.#ask(session, `grant ${privilege} on annals.messages to ${role} ${option}`);
    }
    return first;
  }

  /** Gives the last part an end; returns its name. */
  async #close(session: Session, { name, from }: LogPart, end: number): Promise<string> {
    await this.#ask(session, `alter table annals.messages detach partition annals.${name}`);
    await this.#ask(
      session,
      `alter table annals.messages attach partition annals.${name} for values from (${from}) to (${end})`,
    );
    return name;
  }

  /** Puts several parts in the place of the last one, which has no messages yet. */
  async #replaceTail(session: Session, { name, from }: LogPart, size: number, ahead: number): Promise<void> {
    if (await this.#last(session) >= from) this.#refuse(`${name} has messages now; run it again`);
    const ready = (await this.#parts(session)).filter((part) => part.from < from && part.to !== null);
    const last = await this.#last(session);
    await this.#ask(session, `drop table annals.${name}`);
    await this.#add(session, from, size, ahead - ready.filter((part) => part.from > last).length);
  }

  /** Adds parts from a position on, and a last one without an end. */
  async #add(session: Session, from: number, size: number, count: number): Promise<void> {
    for (let i = 0; i <= count; i++) {
      const start = from + i * size;
      const name = `messages_from_${start}`;
      const end = i < count ? String(start + size) : "maxvalue";
      await this.#ask(
        session,
        `create table annals.${name} partition of annals.messages for values from (${start}) to (${end})`,
      );
      await this.#ask(session, `create unique index ${name}_stream on annals.${name} (stream, version)`);
    }
  }
}

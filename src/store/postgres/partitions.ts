import { REAL_CLOCK } from "../../lib/clock.ts";
import { retry } from "../../lib/retry.ts";
import { hasPassed } from "../../groups/progress.ts";
import { StoreUnavailableError } from "../errors.ts";
import type { EventStore } from "../port.ts";
import { PART_END } from "./errors.ts";
import {
  DEPENDENTS,
  MAY_CHANGE,
  MOVED,
  OWNER,
  PARTS,
  PRIVILEGES,
  SEAL,
  STREAMS,
  TAGGED_BEFORE,
  UNHANDLED,
} from "./partition_sql.ts";
import { arrayLiteral } from "./commit.ts";
import { lock, type Place } from "./migrate.ts";
import { LAST_POSITION } from "./queries.ts";
import { forSchema, OUTBOX_VIEW, PARTITIONED_SETTINGS, partitionLock } from "./schema.ts";
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
  /** The number of parts to have ready beyond the one that is written to, at most 100. @default {3} */
  readonly ahead?: number;
  /**
   * How far the end of the part that is written to must be, in positions: until it is closed, commits may not reach it.
   * @default {1000000}
   */
  readonly margin?: number;
  /** Called with what is being done. */
  readonly progress?: (text: string) => void;
}

/** How to detach a part of a log. */
export interface DetachOptions {
  /** The groups of the code, with the categories that they read. @default {those that have read something} */
  readonly readers?: ReadonlyMap<string, readonly string[]>;
  /** Groups of the past, and what groups of the code read in the past: they read nothing more of it. @default {none} */
  readonly forgetGroups?: readonly string[];
  /** Whether aggregates may lose all their events: whoever loads one then finds none. @default {false} */
  readonly forgetStreams?: boolean;
}

/** Runs work in one transaction. */
export type Begin = <T>(work: (session: Session) => Promise<T>) => Promise<T>;

/** Messages that are entered into the tables of heads and ids at a time. */
const STEP = 200_000;

/** How many messages may be left to enter while commits wait. */
const LEFT = 20_000;

/** Each read and commit locks all parts: so many can be had without changing PostgreSQL's settings. */
const MOST_AHEAD = 100;

/** How long commits and readers wait at most because another session uses the log, and how often that is tried. */
const LOCK_TIMEOUT = "1s";
const TRIES = 30;

/** How often it is tried to take back what would stop commits. */
const TRIES_TO_UNDO = 1_000;

/** Partitions the log of one schema by ranges of positions, while servers go on. */
export class Partitions {
  #place: Place;
  #begin: Begin;
  #store: EventStore;

  /**
   * @param place The schema.
   * @param begin Runs work in one transaction; another one may begin meanwhile.
   * @param store The store of that schema.
   */
  constructor(place: Place, begin: Begin, store: EventStore) {
    this.#place = place;
    this.#store = store;
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
      const [, from, to] = /FROM \('?(\w+)'?\) TO \('?(\w+)'?\)/.exec(bound) ??
        this.#refuse(`the part ${name} was not made by Annals (${bound}); detach it with SQL`);
      return {
        name,
        from: from === "MINVALUE" ? 0 : Number(from),
        to: to === "MAXVALUE" ? null : Number(to),
        bytes: Number(bytes),
        tablespace,
      };
    }).sort((a, b) => a.from - b.from);
  }

  /**
   * Partitions the log, or adds parts to one that is. Can be run again at any time, also after it was interrupted.
   *
   * @param options How.
   * @returns The parts.
   * @throws {StoreUnavailableError} If something else depends on the table, or it is in use all the time.
   */
  async extend(options: PartitionOptions = {}): Promise<LogPart[]> {
    const { size = 10_000_000, ahead = 3, margin = 1_000_000, progress = () => {} } = options;
    const isWhole = (value: number, most: number) => Number.isSafeInteger(value) && value >= 1 && value <= most;
    if (!isWhole(size, 1e15)) this.#refuse(`${size} is not a size of parts; give a whole number from 1 to 1e15`);
    if (!isWhole(ahead, MOST_AHEAD)) {
      this.#refuse(`${ahead} is not a number of parts to have ready; give a whole number from 1 to ${MOST_AHEAD}`);
    }
    return await this.#alone(() => this.#extend(size, ahead, Math.max(margin, size), progress));
  }

  /** Runs work unless another process is partitioning this log. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    return await this.#begin(async (session) => {
      // It only holds the lock.
      await session.unsafe("set local idle_in_transaction_session_timeout = 0");
      const lock = `select pg_try_advisory_xact_lock(${partitionLock(this.#place.schema)}) as free`;
      if (!(await this.#one(session, lock)).free) {
        this.#refuse("the log is being partitioned by another process; wait for it");
      }
      return await work();
    });
  }

  async #extend(size: number, ahead: number, margin: number, progress: (text: string) => void): Promise<LogPart[]> {
    const [parts, last] = await this.#begin(async (session) => {
      const parts = await this.#parts(session);
      await this.#refuseStranger(session);
      if (parts.length === 0) await this.#refuseDependents(session);
      return [parts, await this.#last(session)] as const;
    });
    const tail = parts.at(-1);
    if (tail && tail.from > last) {
      const ready = parts.filter(({ from, to }) => from > last && to !== null).length;
      if (ready >= ahead) return parts;
      progress(`Adding parts of ${size} positions from ${tail.from} on`);
      await this.#patiently((session) => this.#replaceTail(session, tail, size, ahead - ready));
      return await this.parts();
    }
    if (!tail) await this.#enter(progress);
    const table = tail?.name ?? "messages";
    // While it is proven that the part has nothing beyond its end, nothing may come there: that has to be far enough.
    const end = Math.ceil((await this.#begin((session) => this.#last(session)) + 1 + margin) / size) * size;
    progress(
      `Proving that ${table} ends before position ${end}; if this is interrupted, run it again before the log is there`,
    );
    try {
      await this.#prove(table, tail?.from, end);
      // Commits wait for what came meanwhile.
      if (!tail) await this.#enter(progress);
      progress(`Partitioning: positions from ${end} on go to new parts`);
      await this.#patiently(async (session) => {
        const name = tail ? await this.#close(session, tail, end) : await this.#convert(session, end);
        await this.#ask(session, `alter table annals.${name} drop constraint ${PART_END}`);
        await this.#add(session, end, size, ahead);
      });
    } catch (error) {
      progress(`That failed; taking back what would stop commits at position ${end}`);
      await this.#patiently(async (session) => {
        await this.#ask(session, `alter table annals.${table} drop constraint if exists ${PART_END}`);
      }, TRIES_TO_UNDO);
      throw error;
    }
    return await this.parts();
  }

  /**
   * Detaches the oldest part: its messages are no longer part of the log, but stay in a table of their own.
   *
   * @param name The part.
   * @param options What else to know, or to allow.
   * @throws {StoreUnavailableError} If something still needs it; the message says what.
   */
  async detach(name: string, options: DetachOptions = {}): Promise<void> {
    const { looked, to, gone } = await this.#look(name, options);
    const lockTable = (session: Session) => this.#ask(session, "lock table annals.messages in access exclusive mode");
    // While a report holds the table, there is no use in beginning.
    await this.#patiently(async (session) => void await lockTable(session));
    await this.#patiently(async (session) => {
      // A replay moves a row from one to the other.
      await this.#ask(session, "lock table annals.deferred, annals.dead_letters in share row exclusive mode");
      await this.#refuseUnhandled(session, name, to, gone);
      const [moved] = await this.#ask(session, MOVED(name), [looked]);
      if (moved) this.#refuseAlive(name, 1, moved.stream);
      // Commits wait for this, readers only for what follows.
      await this.#ask(session, SEAL(name));
      await lockTable(session);
      await this.#ask(session, `alter table annals.messages detach partition annals.${name}`);
    });
    // Nobody finds them any more.
    await this.#begin((session) => this.#ask(session, "delete from annals.tags where position < $1", [to]));
  }

  /** Looks whether anything needs a part, as far as that keeps nobody waiting; returns up to where. */
  async #look(
    name: string,
    { readers, forgetGroups = [], forgetStreams = false }: DetachOptions,
  ): Promise<{ looked: number; to: number; gone: readonly string[] }> {
    const found = await this.#begin(async (session) => {
      await this.#refuseStranger(session);
      const [oldest] = await this.#parts(session);
      if (!oldest) this.#refuse("the log is not partitioned; see `annals store partition`");
      if (oldest.name !== name) this.#refuse(`only the oldest part can be detached, which is ${oldest.name}`);
      const { to } = oldest;
      const looked = await this.#last(session);
      // Positions go on after the last message there is.
      if (to === null || looked < to) this.#refuse(`${name} is still written to`);
      const { published } = await this.#one(session, "select published from annals.relay");
      if (published < to - 1) this.#refuse(`${name} has messages that the relay has not published yet`);
      return { looked, to };
    });
    const { here, elsewhere } = await this.#readers(readers);
    for (const group of forgetGroups) {
      if (!elsewhere.has(group) && !here.has(group)) this.#refuse(`no group "${group}" has read anything`);
    }
    // What has passed a position has passed it for good.
    for (const [group, categories] of here) {
      if (await hasPassed(this.#store, group, categories, found.to - 1)) continue;
      this.#refuse(`${name} has messages that "${group}" has not handled yet`);
    }
    for (const [group, categories] of elsewhere) {
      if (forgetGroups.includes(group) || await hasPassed(this.#store, group, categories, found.to - 1)) continue;
      this.#refuse(
        here.has(group)
          ? `${name} has messages that "${group}" has not handled yet in ${
            categories.join(", ")
          }, which this code does not read: unless other servers do, --forget-group it`
          : `${name} has messages that "${group}" has not handled yet; it is not in this code: if it is gone for good, --forget-group it`,
      );
    }
    const gone = forgetGroups.filter((group) => !here.has(group));
    await this.#begin(async (session) => {
      await this.#refuseUnhandled(session, name, found.to, gone);
      const tagged = await this.#one(session, TAGGED_BEFORE, [found.to]);
      if (tagged && !forgetStreams) {
        this.#refuse(
          `events of ${name} have tags, like "${tagged.tag}": without them boundaries may decide wrongly; ` +
            `move it to a cheaper disk instead (alter table … set tablespace …), or forget them with --forget-streams`,
        );
      }
      const { alive, example, streams, some } = await this.#one(session, STREAMS(name));
      if (Number(alive) > 0) this.#refuseAlive(name, alive, example);
      if (Number(streams) > 0 && !forgetStreams) {
        this.#refuse(
          `${streams} aggregates have all their events in ${name}, like "${some}": without it whoever loads one finds none, ` +
            `and may decide wrongly; move it to a cheaper disk instead (alter table … set tablespace …), ` +
            `or forget them with --forget-streams`,
        );
      }
    });
    return { ...found, gone };
  }

  async #refuseStranger(session: Session): Promise<void> {
    const { owner, may } = await this.#one(session, MAY_CHANGE);
    if (!may) this.#refuse(`only the owner of the table "messages" can change its parts; run this as ${owner}`);
  }

  #refuseAlive(part: string, count: number | string, example: string): never {
    this.#refuse(
      `${count} streams of ${part} go on after it, like "${example}": without it they could not be loaded; ` +
        `move it to a cheaper disk instead (alter table … set tablespace …)`,
    );
  }

  /** Refuses to go on if something in a part is still to be tried again, or might be replayed. */
  async #refuseUnhandled(session: Session, part: string, to: number, gone: readonly string[]): Promise<void> {
    // In one statement, which sees one moment.
    const [found] = await this.#ask(session, UNHANDLED, [to, arrayLiteral(gone)]);
    if (!found) return;
    this.#refuse(
      found.dead
        ? `${part} has dead letters of "${found.group}"; replay or purge them first (annals dlq)`
        : `${part} has messages that "${found.group}" has still to try again`,
    );
  }

  /** Who reads what: by the code that is given, and by what else was read. */
  async #readers(given: DetachOptions["readers"]): Promise<Record<"here" | "elsewhere", Map<string, string[]>>> {
    const here = new Map([...given ?? []].map(([group, categories]) => [group, [...categories]]));
    const elsewhere = new Map<string, string[]>();
    for (const { group, category } of await this.#store.checkpoints()) {
      // Internal ones are marks of other kinds.
      if (group.startsWith("$") || here.get(group)?.includes(category)) continue;
      elsewhere.set(group, [...elsewhere.get(group) ?? [], category]);
    }
    return { here, elsewhere };
  }

  async #last(session: Session): Promise<number> {
    const [[last]] = await session.unsafe(forSchema(LAST_POSITION, this.#place.schema)).values();
    return last;
  }

  async #refuseDependents(session: Session): Promise<void> {
    const found = await this.#ask(session, DEPENDENTS);
    if (found.length === 0) return;
    const names = found.map(({ name }) => name).join(", ");
    this.#refuse(
      `${names}: would be lost, or go on with the first part of the log only; drop what depends on the table "messages", partition, and make it again`,
    );
  }

  /** Commits wait from here on, and readers from the first change of the table on. */
  async #lock(session: Session): Promise<void> {
    await session.unsafe(`set local lock_timeout = '${LOCK_TIMEOUT}'`);
    await lock(session, this.#place.schema);
    await this.#ask(session, "select pg_advisory_xact_lock(annals_append_lock)");
  }

  /** Runs work under the locks; again, if a report or something else holds one. */
  async #patiently(work: (session: Session) => Promise<void>, most = TRIES): Promise<void> {
    const attempt = () =>
      this.#begin(async (session) => {
        await this.#lock(session);
        await work(session);
      });
    await retry(attempt, {
      clock: REAL_CLOCK,
      // A deadlock with a handler's statement that reads the log passes like a lock.
      when: (error, tries) =>
        error instanceof StoreUnavailableError && /^(locked|busy)$/.test(error.reason) && tries < most,
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
    const { owner } = await this.#one(session, OWNER);
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
      `create or replace ${OUTBOX_VIEW}`,
      "update annals.identity set partitioned = true",
      // Named like the index that it takes the place of: servers of the version before know that.
      "alter index annals.message_ids_pkey rename to messages_id",
      ...PARTITIONED_SETTINGS,
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
  async #replaceTail(session: Session, { name, from }: LogPart, size: number, count: number): Promise<void> {
    if (await this.#last(session) >= from) this.#refuse(`${name} has messages now; run it again`);
    await this.#ask(session, `drop table annals.${name}`);
    await this.#add(session, from, size, count);
  }

  /** Adds parts from a position on, and a last one without an end. */
  async #add(session: Session, from: number, size: number, count: number): Promise<void> {
    const { owner } = await this.#one(session, OWNER);
    if (!Number.isSafeInteger(from + count * size)) this.#refuse(`parts of ${size} positions are too large`);
    for (let i = 0; i <= count; i++) {
      const start = from + i * size;
      const name = `messages_from_${start}`;
      const end = i < count ? String(start + size) : "maxvalue";
      await this.#ask(
        session,
        `create table annals.${name} partition of annals.messages for values from (${start}) to (${end})`,
      );
      await this.#ask(session, `create unique index ${name}_stream on annals.${name} (stream, version)`);
      await this.#ask(session, `alter table annals.${name} owner to ${owner}`);
    }
  }
}

import postgres from "postgres";
import { recoveryOf } from "../../lib/annals_error.ts";
import { type Fate, GroupCommit } from "../../lib/group_commit.ts";
import { CONFLICT_BACKOFF, pauseBefore } from "../../lib/retry.ts";
import { Mutex } from "../../lib/mutex.ts";
import { Semaphore } from "../../lib/semaphore.ts";
import { Notifier } from "../../lib/notifier.ts";
import { withoutSecrets } from "../../lib/redact_url.ts";
import { sleep } from "../../lib/sleep.ts";
import { within } from "../../lib/within.ts";
import { DuplicateMessageError, RowConflictError, StoreUnavailableError } from "../errors.ts";
import type { Commit, CommitResult, EventStore, RowIndex, Swap, SwapRefusal } from "../port.ts";
import { arrayLiteral, CALL, encodeCommits, fatesOf, type Parameter, partsOf } from "./commit.ts";
import { codeOf, explain, isAboutData, isKeyTaken, isRowConflict, PART_END } from "./errors.ts";
import { Announcer } from "./announcer.ts";
import { Connections, type Driver } from "./connections.ts";
import { Listener } from "./listener.ts";
import { migrate, type Place, publishViews, verify } from "./migrate.ts";
import { type DetachOptions, type LogPart, type PartitionOptions, Partitions } from "./partitions.ts";
import { NEAR_END } from "./partition_sql.ts";
import { channelOf, forSchema } from "./schema.ts";
import { Statements } from "./statements.ts";
import { PostgresTables, sessionOf } from "./tables.ts";
import { type Session, transaction } from "./transaction.ts";
import { rowsOf } from "../generations.ts";
import { indexesOf, indexName } from "../index_name.ts";
import type { ProjectionShape } from "../views.ts";
import { type Ask, asking, clearIn, INDEXES, renameIn, swapIn } from "./projections.ts";
import { createIndex } from "./row_query.ts";

export type { Parameter } from "./commit.ts";
export type { DetachOptions, LogPart, PartitionOptions } from "./partitions.ts";
export type { PostgresTables } from "./tables.ts";
export type { ProjectionShape } from "../views.ts";

/** Settings of {@linkcode PostgresEventStore}. */
export interface PostgresOptions {
  /**
   * `postgres://user:password@host:port/database`. Statements are prepared unless a pooler is in between; use
   * `?prepare=true` for one that supports prepared statements (PgBouncer 1.21 and newer).
   */
  readonly url: string;
  /** The schema of all tables. @default {"annals"} */
  readonly schema?: string;
  /** A URL that is not pooled by transaction, for `LISTEN`. @default {the same as `url`} */
  readonly listenUrl?: string;
  /** Whether to listen for writes of others; `false` if the caller uses `wake()`. @default {true} */
  readonly listen?: boolean;
  /**
   * The role that runs the handlers' SQL statements; the connection's role must be a member of it. @default {the
   * connection's}
   */
  readonly sqlRole?: string;
  /** The id of this member; its listening session shows others that it is alive. @default {none} */
  readonly owner?: string;
  /** The number of connections besides the listening one. @default {4} */
  readonly connections?: number;
  /** How long PostgreSQL may take to respond before its connections are dropped, in milliseconds. @default {30000} */
  readonly timeout?: number;
  /** Returns the time, in milliseconds since 1970. @default {the clock of the database} */
  readonly now?: () => number;
}

/** Fallback polling interval in addition to notifications, in milliseconds. */
const POLL_INTERVAL = 1_000;

/** What a transaction is taken back with that waits in a circle, and how often it is begun again. */
const DEADLOCK = "40P01";
const MOST_DEADLOCKS = 10;

/** The same without a listening connection. */
const UNHEARD_INTERVAL = 100;

/** The longest delay between connection attempts, in seconds. */
const LONGEST_BACKOFF = 0.5;

/** How long PostgreSQL may take to respond, in milliseconds. */
const TIMEOUT = 30_000;

/** The factor by which handlers' SQL statements may take longer. */
const STATEMENT_PATIENCE = 10;

/** How long to wait for the listener's own test notification, in milliseconds. */
const PROBE_PATIENCE = 1_000;

/** The number of connections besides the listening one. */
const CONNECTIONS = 4;

/** The connection timeout, in seconds. */
const CONNECT_TIMEOUT = 5;

/** How many commits with statements of handlers run at a time: the other connections are for everything else. */
const STATEMENTS = 2;

const COMMIT = `select status::text, detail::text, culprit::text, bases::text, to_json(repeated)::text
  from ${CALL}`;
/** Of transactions that write; see {@linkcode PostgresEventStore.#probe}. */
const ISOLATION = "isolation level read committed";
/** The lease that indexes of rows are made under, its length, and how often it is asked for, in milliseconds. */
const INDEXES_LEASE = "$indexes";
const INDEXES_TTL = 30_000;
const INDEX_PAUSE = 200;

/** How long closing waits for a notification, in milliseconds: others also find out by looking. */
const ANNOUNCE_PATIENCE = 500;

/** A queue of notifications that nobody empties must not fail: whoever waits also looks by itself. */
const ANNOUNCE = "select pg_notify($1, $2) where pg_notification_queue_usage() < 0.5";
const VERSION = "select current_setting('server_version'), current_setting('server_version_num')";
/** The oldest version of PostgreSQL that has what is used, as `server_version_num`. */
const OLDEST_VERSION = 140_000;
const DURABILITY = `select name from pg_settings
  where name in ('fsync', 'synchronous_commit', 'full_page_writes') and setting = 'off' order by name`;

function numbers(text: string): number[] {
  return text.length <= 2 ? [] : text.slice(1, -1).split(",").map(Number);
}

function hasMessages({ appends }: Commit): boolean {
  return appends?.some(({ messages }) => messages.length > 0) ?? false;
}

function mayBeWritten(fate: Fate<CommitResult>): boolean {
  return "ok" in fate || recoveryOf(fate.error) === "unsure";
}

/** Thrown to roll back the transaction of a refused commit. */
class Refused extends Error {
  constructor(readonly answer: any[][]) {
    super("refused");
  }
}

/** Identifies the messages that a commit is of: the same when it is tried again. */
function scopeOf({ fence, checkpoint, resume = [], defer = [] }: Commit): string {
  const positions = [...resume, ...defer].map(({ position }) => position);
  return JSON.stringify([fence?.lease, checkpoint?.category, checkpoint?.position, positions]);
}

/**
 * A store in a PostgreSQL database (14 or newer), shared by any number of processes and machines.
 *
 * A commit is a single function call: one round trip for all streams, rows and the checkpoint. Concurrent commits of a
 * process share a call (group commit) but succeed or fail individually.
 *
 * @example A log in a database
 * ```ts ignore
 * import { PostgresEventStore } from "@annals/annals/store/postgres";
 *
 * const store = new PostgresEventStore({ url: "postgres://localhost/bank" });
 * await store.migrate();
 * console.log(await store.lastPosition()); // 0
 * await store.close();
 * ```
 */
export class PostgresEventStore extends PostgresTables implements EventStore {
  /** Always `postgres`. */
  readonly kind = "postgres";
  /** The URL, without its password. */
  readonly location: string;
  #place: Place;
  #options: PostgresOptions;
  #connections: Connections;
  /** Those for statements of handlers: one that does not answer must not take others' connections with it. */
  #handlers: Connections;
  /** Whether statements are prepared: as the URL says, or as found out. */
  #prepare: boolean | undefined;
  /** See {@linkcode PostgresEventStore.#probe}. */
  #probed: Promise<void> | undefined;
  #isIsolated = false;
  /** Whether there is no pooler in between. */
  #isDirect = false;
  #overridesIsolation = false;
  #commits: GroupCommit<Commit, CommitResult>;
  #statements: Semaphore;
  #partitions: Partitions;
  #indexing = new Mutex();
  #watched: Statements = new Statements(() => this.#tryToWrite());
  #texts = new Map<string, string>();
  #signal = new Notifier();
  #messages = new Notifier();
  #listener: Listener | undefined;
  /** Tells of what was written besides messages; see {@linkcode MIGRATIONS}. */
  #announcer: Announcer;
  /** Identifies notifications sent by this store. */
  #origin = crypto.randomUUID().slice(0, 13);
  #closed = false;

  /**
   * Creates a store that connects on first use.
   *
   * @param options The location and settings.
   */
  constructor(options: PostgresOptions) {
    super();
    this.#options = options;
    this.location = withoutSecrets(options.url);
    this.#place = { schema: options.schema ?? "annals", location: this.location };
    const asked = /[?&]prepare=(\w+)/.exec(options.url)?.[1];
    if (asked !== undefined) this.#prepare = asked !== "false";
    const most = options.connections ?? CONNECTIONS;
    this.#statements = new Semaphore(Math.min(STATEMENTS, most));
    const connectionsOf = (most: number) =>
      new Connections({
        connect: () => this.#connect(options.url, most),
        most,
        timeout: options.timeout ?? TIMEOUT,
        location: this.location,
      });
    this.#connections = connectionsOf(most);
    this.#handlers = most === 1 ? this.#connections : connectionsOf(STATEMENTS);
    if (options.listen !== false) this.#listener = this.#listen();
    this.#commits = new GroupCommit((batch) => this.#run(batch));
    this.#partitions = new Partitions(this.#place, (work) => this.#begin(work), this);
    this.#announcer = new Announcer(() => this.ask(ANNOUNCE, [channelOf(this.#place.schema), `${this.#origin} `]));
  }

  #listen(): Listener {
    return new Listener({
      channel: channelOf(this.#place.schema),
      connect: () => {
        const { listenUrl, url, owner } = this.#options;
        return this.#connect(listenUrl ?? url, 1, owner && sessionOf(owner));
      },
      notify: (payload) => this.ask("select pg_notify($1, $2)", [channelOf(this.#place.schema), payload]),
      told: (payload) => {
        if (payload === null) return this.wake();
        const [origin, what] = payload.split(" ");
        // Waiters already know of this store's own writes.
        if (origin !== "" && origin === this.#origin) return;
        if (what === "messages") this.wake();
        else this.#signal.notify();
      },
    });
  }

  #connect(url: string, max: number, session?: string): Driver {
    const { searchParams } = new URL(url);
    return postgres(url.replace(/([?&])prepare=\w+&?/, "$1").replace(/[?&]$/, ""), {
      max,
      connect_timeout: Number(searchParams.get("connect_timeout") ?? CONNECT_TIMEOUT),
      // The driver would wait up to 20 s, delaying every query in the meantime.
      backoff: (tries: number) => Math.min(LONGEST_BACKOFF, 0.02 * 2 ** tries),
      connection: {
        application_name: session ?? searchParams.get("application_name") ?? "annals",
        ...(this.#overridesIsolation && { default_transaction_isolation: "read committed" }),
      },
      fetch_types: false,
      // While a connection is being replaced, queries would be sent behind others on the rest.
      max_lifetime: null,
      // Also of what the driver says itself: a `commit` that it believes to be prepared, in a session that does not know it,
      // ends the transaction as a rollback, without an error.
      prepare: this.#prepare ?? true,
      onnotice: () => {},
      types: { int8: { to: 20, from: [20], parse: Number, serialize: String } },
    });
  }

  #text(sql: string): string {
    let text = this.#texts.get(sql);
    if (text === undefined) this.#texts.set(sql, text = forSchema(sql, this.#place.schema));
    return text;
  }

  /** Runs a statement; `annals.` in it stands for the schema. */
  protected async ask(sql: string, values: readonly Parameter[], writing = false): Promise<any[][]> {
    await this.#know();
    const prepare = this.#prepare!;
    // Only COMMIT as a statement of its own would be answered after it; the answer of an implicit one is sent, with
    // the end of the query, when the transaction is through (pqcomm.c flushes in ReadyForQuery).
    const text = this.#text(sql);
    if (!writing || !this.#isIsolated) {
      const rows = await this.#connections.use((driver) => driver.unsafe(text, values as any[], { prepare }).values(), {
        writing,
      });
      // Where a query failed after it had sent rows, the driver counts on in the next one, which begins with holes then.
      return rows.length === 0 || 0 in rows ? rows : rows.filter(() => true);
    }
    const work = async (session: Session) => await session.unsafe(text, values, { prepare }).values();
    return await this.#connections.use((driver) => transaction(driver, ISOLATION, work), { writing });
  }

  /** Nothing runs before it is known who answers. */
  #know(): Promise<void> {
    return this.#probed ??= this.#probe().catch((error) => {
      this.#probed = undefined;
      throw error;
    });
  }

  /**
   * Finds out who answers, and how its transactions are isolated.
   *
   * A pooler may give every transaction another session, where statements that were prepared in one are not known: with
   * that the driver would try for ever. A pooler reports a process id of its own.
   *
   * Nor is anything sent through it behind a query that is not answered yet. The driver asks for the types of parameters
   * first, without an end of the query: PgBouncer, which has seen the end of the one before, takes the session away, and
   * the answer never comes (its issue 759); Supavisor does not pass on what follows the second.
   *
   * Functions wait for locks and have to see what was committed meanwhile: with an isolation stricter than `read committed`
   * they would go on with the snapshot from before, and pass a fence that has moved.
   */
  async #probe(): Promise<void> {
    const rows = await this.#connections.use((sql) =>
      sql.unsafe<{ pid: number; isolation: string }[]>(
        "select pg_backend_pid() as pid, current_setting('default_transaction_isolation') as isolation",
      ), { writing: false });
    const [{ pid, isolation }] = rows;
    const isDirect = this.#isDirect = rows.state.pid === pid;
    const isStrict = isolation !== "read committed";
    if (!isDirect) this.#allConnections.forEach((connections) => connections.takeTurns());
    // A pooler does not pass on settings of a session: each transaction says it itself.
    this.#isIsolated = isStrict && !isDirect;
    this.#overridesIsolation = isStrict && isDirect;
    const prepares = this.#prepare ?? true;
    this.#prepare ??= isDirect;
    if (prepares === this.#prepare && !this.#overridesIsolation) return;
    this.#allConnections.forEach((connections) => connections.replace());
  }

  get #allConnections(): Connections[] {
    return [...new Set([this.#connections, this.#handlers])];
  }

  /** The time in milliseconds since 1970; `null` for that of the database. */
  protected now(): number | null {
    return this.#options.now?.() ?? null;
  }

  /** Runs work in one transaction without a statement timeout, for migrations. */
  async #begin<T>(work: (session: Session) => Promise<T>): Promise<T> {
    await this.#know();
    const options = { writing: false, patience: Infinity };
    return await this.#connections.use((driver, begun) => transaction(driver, ISOLATION, work, { begun }), options);
  }

  /**
   * Creates or updates the tables, one process at a time.
   *
   * @returns The names of the applied migrations.
   * @throws {StoreUnavailableError} If the schema is newer than this version, or the role lacks the rights.
   */
  migrate(): Promise<string[]> {
    return this.#begin((session) => migrate(session, this.#place));
  }

  /**
   * Checks that the tables exist.
   *
   * @throws {StoreUnavailableError} If they do not exist; the message says what to do.
   */
  verify(): Promise<void> {
    return this.#begin((session) => verify(session, this.#place));
  }

  /**
   * Claims the schema for a domain: two domains in one schema would confuse their groups.
   *
   * @param domain The domain.
   * @throws {StoreUnavailableError} If another domain has claimed it.
   */
  async claim(domain: string): Promise<void> {
    await this.ask("update annals.identity set domain = $1 where domain is null", [domain], true);
    const [[owner]] = await this.ask("select domain from annals.identity", []);
    if (owner === domain) return;
    const { schema, location } = this.#place;
    throw new StoreUnavailableError(
      `Schema "${schema}" of PostgreSQL at ${location} holds domain "${owner}", not "${domain}"; give this one its own: [event_store] schema = "annals_${domain}"`,
      "foreign",
      false,
    );
  }

  /**
   * Creates a view for each projection, with a column for each field of its schema, for reports and BI tools.
   *
   * @param shapes The projections.
   * @returns Warnings about views that could not be updated.
   */
  publishViews(shapes: readonly ProjectionShape[]): Promise<string[]> {
    return this.#begin((session) => publishViews(session, this.#place.schema, shapes));
  }

  /**
   * Runs statements in one transaction, with `annals.` for the schema; again if it is taken back because others, who commit
   * meanwhile, hold what it needs and wait for what it holds.
   */
  async #within<T>(work: (ask: Ask) => Promise<T>): Promise<T> {
    for (let tries = 1;; tries++) {
      let isDeadlock = false;
      try {
        return await this.#begin(async (session) => {
          try {
            return await work(asking(session, (sql) => this.#text(sql)));
          } catch (error) {
            isDeadlock = codeOf(error) === DEADLOCK;
            throw error;
          }
        });
      } catch (error) {
        if (!isDeadlock || tries >= MOST_DEADLOCKS) throw error;
        await sleep(pauseBefore(tries, CONFLICT_BACKOFF, Math.random()));
      }
    }
  }

  async swapGenerations(swap: Swap): Promise<SwapRefusal | null> {
    const refusal = await this.#within((ask) => swapIn(ask, swap));
    if (refusal === null) this.#announcer.announce();
    return refusal;
  }

  async clearGeneration(projection: string, generation: string, limit: number): Promise<number> {
    const deleted = await this.#within((ask) => clearIn(ask, projection, generation, limit));
    if (deleted === 0) await this.keepIndexes([rowsOf(projection, generation)], []);
    return deleted;
  }

  renameGroup(from: string, to: string): Promise<"renamed" | "held" | "absent"> {
    return this.#within((ask) => renameIn(ask, from, to, this.now()));
  }

  async keepIndexes(projections: readonly string[], declared: readonly RowIndex[]): Promise<void> {
    await this.#know();
    const { schema } = this.#place;
    const names = new Set(declared.map(indexName));
    const isKept = (found: any[][]) =>
      found.length === names.size && found.every(([name, isWhole]) => isWhole && names.has(name));
    const prefixes = [schema, arrayLiteral(projections.map(indexesOf))];
    if (isKept(await this.ask(INDEXES, prefixes))) return;
    // Making an index waits for all other transactions, so two of them would wait for each other.
    await this.#indexing.run(() => this.#underLease(() => this.#makeIndexes(prefixes, declared)));
  }

  /** Runs work that only one process may do at a time; behind a pooler, a lock of a session would stay there. */
  async #underLease(work: () => Promise<void>): Promise<void> {
    const owner = this.#options.owner ?? this.#origin;
    const request = { name: INDEXES_LEASE, group: INDEXES_LEASE, partitions: 1, owner, ttl: INDEXES_TTL };
    let granted = await this.acquireLease(request);
    while (!granted) {
      await sleep(INDEX_PAUSE);
      granted = await this.acquireLease(request);
    }
    const fence = { lease: INDEXES_LEASE, token: granted.token };
    const renewing = setInterval(() => void this.renewLeases([fence], INDEXES_TTL).catch(() => {}), INDEXES_TTL / 3);
    try {
      await work();
    } finally {
      clearInterval(renewing);
      await this.releaseLease(fence, true).catch(() => {});
    }
  }

  /** Makes and drops indexes, on a connection of its own: that may take long, and is no part of a transaction. */
  async #makeIndexes(prefixes: readonly Parameter[], declared: readonly RowIndex[]): Promise<void> {
    const { listenUrl, url } = this.#options;
    const driver = this.#connect(listenUrl ?? url, 1);
    try {
      // A setting of a session would stay with a pooler.
      if (listenUrl !== undefined || this.#isDirect) await driver.unsafe("set statement_timeout = 0");
      const found = await driver.unsafe(this.#text(INDEXES), prefixes as any[], { prepare: false }).values() as any[][];
      const names = new Set(declared.map(indexName));
      const whole = new Set(found.filter(([, isWhole]) => isWhole).map(([name]) => name as string));
      // One that was interrupted is of no use.
      const useless = found.map(([name]) => name as string).filter((name) => !names.has(name) || !whole.has(name));
      for (const name of useless) {
        await driver.unsafe(this.#text(`drop index concurrently if exists annals."${name}"`));
      }
      for (const index of declared) {
        if (!whole.has(indexName(index))) await driver.unsafe(this.#text(createIndex(index)));
      }
    } catch (error) {
      throw explain(error, this.location, false);
    } finally {
      await driver.end({ timeout: 0 });
    }
  }

  /**
   * Partitions the log by ranges of positions, or adds parts to one that is partitioned, while servers go on. Readers and
   * writers use it as before.
   *
   * @param options The size of the parts.
   * @returns The parts, oldest first.
   * @throws {StoreUnavailableError} If something else depends on the table, or other sessions use it all the time.
   */
  async partition(options?: PartitionOptions): Promise<LogPart[]> {
    return await this.#changeParts().extend(options);
  }

  /** The parts of the log, oldest first; none if it is not partitioned. */
  parts(): Promise<LogPart[]> {
    return this.#partitions.parts();
  }

  /**
   * Detaches the oldest part of a partitioned log: its messages stay in a table of their own.
   *
   * @param name The part.
   * @param options What else to know, or to allow.
   * @throws {StoreUnavailableError} If something still needs it; the message says what.
   */
  async detach(name: string, options: DetachOptions = {}): Promise<void> {
    await this.#changeParts().detach(name, options);
  }

  /** While parts are changed in one transaction, something is asked in another. */
  #changeParts(): Partitions {
    if (this.#options.connections !== 1) return this.#partitions;
    throw new StoreUnavailableError(
      "The parts of a log cannot be changed with a single connection; set connections to 2 or more",
      "busy",
      false,
    );
  }

  /**
   * Checks the configuration of the database.
   *
   * @returns Warnings about settings that weaken guarantees.
   */
  async inspect(): Promise<string[]> {
    const settings = await this.ask(DURABILITY, []);
    const warnings = settings.map(([name]) =>
      `PostgreSQL at ${this.location} has ${name} = off: acknowledged writes may be lost after ${
        name === "synchronous_commit" ? "a crash" : "a power failure"
      }`
    );
    const [[version, number]] = await this.ask(VERSION, []);
    if (Number(number) < OLDEST_VERSION) {
      warnings.push(`PostgreSQL at ${this.location} is ${version}; Annals needs 14 or newer`);
    }
    const [[isNearEnd]] = await this.ask(NEAR_END, [PART_END]);
    if (isNearEnd) {
      warnings.push(
        `The log in PostgreSQL at ${this.location} has reached its last part, or partitioning it was interrupted; ` +
          `run \`annals store partition\``,
      );
    }
    const [[isSuperuser]] = await this.ask("select rolsuper from pg_roles where rolname = current_user", []);
    if (isSuperuser) {
      warnings.push(
        `PostgreSQL at ${this.location}: this role is a superuser, which can run programs on its machine; ` +
          `use a dedicated role: create role annals login; grant create on database … to annals`,
      );
    }
    if (this.#listener && !await this.#listener.proves(PROBE_PATIENCE)) {
      warnings.push(
        `Notifications of PostgreSQL at ${this.location} do not come through (is there a pooler in transaction mode?); ` +
          `polling every ${UNHEARD_INTERVAL} ms instead; ` +
          `set [event_store] listen_url to a URL that bypasses the pooler`,
      );
    }
    return warnings;
  }

  async #run(batch: Commit[]): Promise<Fate<CommitResult>[]> {
    const fates: Fate<CommitResult>[] = [];
    for (const part of partsOf(batch)) {
      const these = await this.#runPart(part);
      // Each may have run in a call of its own, and only those with messages tell of themselves.
      if (these.some((fate, i) => !hasMessages(part[i]) && mayBeWritten(fate))) this.#announcer.announce();
      fates.push(...these);
    }
    // Also if the outcome is unknown: the notification of a commit that succeeded anyway is ignored.
    if (fates.some((fate) => "ok" in fate ? fate.ok.lastPosition > 0 : recoveryOf(fate.error) === "unsure")) {
      this.wake();
    } else this.#signal.notify();
    return fates;
  }

  /** Runs a handler's SQL statements and its commit in one transaction. */
  async #transact(commit: Commit): Promise<any[][]> {
    const { sqlRole } = this.#options;
    // Where they share the only connection, whoever waits for it gives it up after the ordinary time.
    const patience = this.#handlers === this.#connections ? 0.5 : STATEMENT_PATIENCE;
    const timeout = Math.round(patience * (this.#options.timeout ?? TIMEOUT));
    try {
      await this.#know();
      return await this.#watched.run<any[][]>(
        scopeOf(commit),
        commit.statements!,
        (work) =>
          this.#handlers.use((driver, begun) => transaction(driver, ISOLATION, work, { begun, timeout }), {
            writing: true,
            // It answers that the time is up.
            patience: patience + 1,
          }),
        {
          before: async (sql) => sqlRole !== undefined && await sql.unsafe(`set local role "${sqlRole}"`),
          after: async (sql) => {
            if (sqlRole !== undefined) await sql.unsafe("reset role");
            const values = encodeCommits([commit], this.#origin, this.followed, this.now());
            const answer = await sql.unsafe(this.#text(COMMIT), values).values();
            if (answer[0][0] !== "{0}") throw new Refused(answer);
            return answer;
          },
        },
      );
    } catch (error) {
      if (error instanceof Refused) return error.answer;
      throw error;
    }
  }

  /** Writes something in a transaction that is taken back. */
  async #tryToWrite(): Promise<void> {
    const done = new Error("Taken back");
    const work = async (session: Session): Promise<never> => {
      await session.unsafe(this.#text("insert into annals.members values ($1, '{}', 0)"), [crypto.randomUUID()]);
      throw done;
    };
    await this.#handlers.use((driver) => transaction(driver, ISOLATION, work), { writing: false }).catch((error) => {
      if (error !== done) throw error;
    });
  }

  async #runPart(commits: Commit[]): Promise<Fate<CommitResult>[]> {
    if (commits.length > 1 && commits.some((commit) => commit.statements?.length)) return await this.#runEach(commits);
    try {
      const [[status, detail, culprit, bases, repeated]] = commits[0].statements?.length
        ? await this.#transact(commits[0])
        : await this.ask(COMMIT, encodeCommits(commits, this.#origin, this.followed, this.now()), true);
      return fatesOf(commits, {
        status: numbers(status),
        detail: numbers(detail),
        culprit: numbers(culprit),
        bases: numbers(bases),
        repeated: repeated && JSON.parse(repeated),
      });
    } catch (error) {
      // Another process has just used the key of a commit without messages: this one is a repetition.
      if (isKeyTaken(error) && commits.length === 1) return await this.#runPart(commits);
      if (isRowConflict(error) && commits.length === 1) return [{ error: new RowConflictError() }];
      const aboutOne = isAboutData(error) || error instanceof DuplicateMessageError || isRowConflict(error);
      if (!aboutOne || commits.length === 1) return commits.map(() => ({ error }));
      // One of them failed.
      return await this.#runEach(commits);
    }
  }

  async #runEach(commits: readonly Commit[]): Promise<Fate<CommitResult>[]> {
    const fates: Fate<CommitResult>[] = [];
    for (const commit of commits) fates.push(...await this.#runPart([commit]));
    return fates;
  }

  commit(commit: Commit): Promise<CommitResult> {
    if (!commit.statements?.length) return this.#commits.submit(commit);
    // A handler's statement may wait for a lock or take its time: it is not to hold up the commits of others.
    return this.#statements.run(async () => {
      const [fate] = await this.#run([commit]);
      if ("error" in fate) throw fate.error;
      return fate.ok;
    });
  }

  async changed(timeout: number, signal?: AbortSignal, what?: "anything" | "messages"): Promise<void> {
    if (this.#closed) return;
    this.#listener?.start();
    const isDeaf = this.#listener !== undefined && !this.#listener.hears;
    await (what === "messages" ? this.#messages : this.#signal).wait(
      Math.min(timeout, isDeaf ? UNHEARD_INTERVAL : POLL_INTERVAL),
      signal,
    );
  }

  /** Wakes waiters in `changed()`: another connection has written. */
  wake(): void {
    this.#signal.notify();
    this.#messages.notify();
  }

  async close(): Promise<void> {
    await this.#commits.idle();
    await within(ANNOUNCE_PATIENCE, this.#announcer.idle());
    this.#closed = true;
    this.wake();
    await Promise.all([...this.#allConnections.map((one) => one.close()), this.#listener?.close()]);
  }
}

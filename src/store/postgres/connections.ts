import type postgres from "postgres";
import { Semaphore } from "../../lib/semaphore.ts";
import { StoreUnavailableError } from "../errors.ts";
import { codeOf, explain, isBroken } from "./errors.ts";
import { answered } from "./transaction.ts";

/** The driver with its pool of connections. */
export type Driver = postgres.Sql<{ int8: number }>;

/** SQLSTATE of a transaction that may not write. */
const READ_ONLY = "25006";

/** How often the connections are replaced while the database is read-only, in milliseconds. */
const RENEWAL_INTERVAL = 5_000;

/** How long closing waits for answers, in seconds. */
const CLOSING = 5;

/** How the connections are used. */
export interface Use {
  /** Whether something may have been written when it fails. */
  readonly writing: boolean;
  /** How many times longer than usual an answer may take, once the work has begun. @default {1} */
  readonly patience?: number;
}

/** What runs on connections; calls `begun` when the database has answered for the first time. */
export type Work<T> = (driver: Driver, begun: () => void) => PromiseLike<T>;

/** Dependencies of {@linkcode Connections}. */
export interface ConnectionsOptions {
  /** Opens a pool. */
  readonly connect: () => Driver;
  /** The number of connections of a pool. */
  readonly most: number;
  /** How long an answer may take, in milliseconds. */
  readonly timeout: number;
  /** The location, without secrets. */
  readonly location: string;
}

interface Pool {
  readonly driver: Driver;
  /** The number of uses that are not over. */
  uses: number;
}

/**
 * The connections to one database.
 *
 * When one breaks, all are replaced. The driver goes on with a broken one: what it was asked in the turn in which the
 * connection broke it keeps, neither sent nor rejected, and cannot connect again for as long as connecting may take.
 */
export class Connections {
  #options: ConnectionsOptions;
  #pool: Pool;
  /** Replaced pools that are still in use. */
  #former = new Set<Pool>();
  /** Behind a pooler: a connection for everything that is under way. */
  #lanes: Semaphore | undefined;
  #closed = false;
  #replacedAt = 0;

  /** Creates them; they connect on first use. */
  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#pool = { driver: options.connect(), uses: 0 };
  }

  /** From here on, nothing is sent behind a query that is not answered yet. */
  takeTurns(): void {
    this.#lanes = new Semaphore(this.#options.most);
  }

  /** Replaces the connections; what is under way on the former ones goes on there. */
  replace(): void {
    this.#replace(this.#pool);
  }

  #replace(pool: Pool): void {
    if (this.#pool !== pool || this.#closed) return;
    this.#replacedAt = performance.now();
    this.#pool = { driver: this.#options.connect(), uses: 0 };
    this.#former.add(pool);
    this.#endIdle(pool);
  }

  #endIdle(pool: Pool): void {
    if (pool.uses > 0 || !this.#former.delete(pool)) return;
    void pool.driver.end({ timeout: 0 });
  }

  /** Ends connections that do not answer, with everything that is under way on them. */
  #drop(pool: Pool): void {
    this.#replace(pool);
    this.#former.delete(pool);
    void pool.driver.end({ timeout: 0 });
  }

  /**
   * Runs work on the connections.
   *
   * @param work The work.
   * @param use How it uses them.
   * @returns Its result.
   * @throws {StoreUnavailableError} If PostgreSQL cannot be reached or does not answer; says what to do.
   */
  async use<T>(work: Work<T>, use: Use): Promise<T> {
    if (!this.#lanes) return await this.#attempt(work, use);
    const { location, timeout } = this.#options;
    const waiting = new AbortController();
    // Waits for a connection no longer than for an answer.
    const timer = setTimeout(() => {
      const message = `PostgreSQL at ${location} did not answer for ${timeout / 1000} s on any connection`;
      waiting.abort(new StoreUnavailableError(message, "unreachable", true));
    }, timeout);
    try {
      return await this.#lanes.run(() => {
        clearTimeout(timer);
        return this.#attempt(work, use);
      }, waiting.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #attempt<T>(work: Work<T>, { writing, patience = 1 }: Use): Promise<T> {
    const { location, timeout } = this.#options;
    if (this.#closed) throw new StoreUnavailableError(`PostgreSQL at ${location} was closed`, "closed", false);
    const pool = this.#pool;
    pool.uses++;
    // A crashed host does not close connections: the kernel would keep retransmitting for 15 minutes.
    const wait = (milliseconds: number) => setTimeout(() => this.#drop(pool), milliseconds);
    let watch: ReturnType<typeof setTimeout> | undefined = wait(timeout);
    let isOver = false;
    const begun = () => {
      if (patience === 1 || isOver) return;
      clearTimeout(watch);
      watch = patience === Infinity ? undefined : wait(patience * timeout);
    };
    try {
      return answered(await work(pool.driver, begun));
    } catch (error) {
      if (isBroken(error)) this.#replace(pool);
      // A session keeps the defaults of when it began.
      if (codeOf(error) === READ_ONLY && performance.now() - this.#replacedAt > RENEWAL_INTERVAL) this.#replace(pool);
      throw explain(error, location, writing);
    } finally {
      isOver = true;
      clearTimeout(watch);
      pool.uses--;
      this.#endIdle(pool);
    }
  }

  /** Closes them, after a moment for what is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#pool, ...this.#former].map(({ driver }) => driver.end({ timeout: CLOSING })));
  }
}

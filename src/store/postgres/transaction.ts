import type postgres from "postgres";
import { LOST_BEFORE } from "./errors.ts";

/** Runs statements in one transaction. */
export interface Session {
  /** Runs a statement; its rows, by name. */
  unsafe(
    sql: string,
    values?: readonly any[],
    options?: { readonly simple?: boolean; readonly prepare?: boolean },
  ): Rows;
  /** Runs work whose failure undoes nothing but the work. */
  savepoint(work: (session: Session) => Promise<void>): Promise<void>;
}

/** The rows of a statement: by name, or each as a list of values. */
export interface Rows extends PromiseLike<any[]> {
  /** The rows as lists. */
  values(): PromiseLike<any[][]>;
}

/** What the driver says of a connection: in which of its queues it is. */
interface Connection {
  readonly queue: unknown;
}

/** Thrown when a connection was lost before a statement or a commit was sent: nothing was written. */
class ConnectionLost extends Error {
  readonly code = LOST_BEFORE;
}

/**
 * Refuses an answer that the database did not give. A query that the driver takes between the error of a socket and its
 * close is never sent, and stays the current one of the connection: the first message after it has connected again ends
 * it, with no rows. A real answer says which command it is of.
 *
 * @param rows What the driver returned.
 * @returns The same.
 * @throws {Error} With the code of a broken connection.
 */
export function answered<T>(rows: T): T {
  if ((rows as { readonly command?: string | null } | undefined)?.command !== null) return rows;
  throw new ConnectionLost("The connection was lost before the statement was sent");
}

function checked(query: Rows): Rows {
  return {
    then: (done, failed) => query.then(answered).then(done, failed),
    values: () => query.values().then(answered),
  };
}

/**
 * A process that is frozen or cut off between two statements would hold its locks until PostgreSQL gives up its
 * connection, hours later. The savepoint fails outside a transaction: a `begin` may not have been sent, like any other
 * statement (see {@linkcode answered}), and what follows would be committed one by one.
 */
const LIMIT = "set local idle_in_transaction_session_timeout = 5000; savepoint begun; release savepoint begun";

/** SQLSTATE of what needs a transaction and is in none. */
const NO_TRANSACTION = "25P01";

/** Options of {@linkcode transaction}. */
export interface TransactionOptions {
  /** Called when the transaction has begun; a driver whose connection has just broken may never get there. */
  readonly begun?: () => void;
  /** How long a statement may take, in milliseconds: PostgreSQL ends it, and with it its locks. @default {as configured} */
  readonly timeout?: number;
}

/** Lowers the limit of statements. One that an operator has set lower stays. */
function lower(timeout: number): string {
  return `select set_config('statement_timeout', '${timeout}', true) from pg_settings
    where name = 'statement_timeout' and (setting = '0' or setting::bigint > ${timeout})`;
}

/**
 * Runs work in one transaction on a connection of its own.
 *
 * When a connection breaks, the driver sends the rollback, or whatever comes next, through it all the same: it then throws
 * where nobody can catch it, and ends the process. So a connection is asked before each statement whether it still is
 * where it was when the transaction began (it is moved in the turn in which it breaks), and work whose connection is lost
 * never ends for the driver, which has rejected the transaction already.
 *
 * @param driver The connections.
 * @param how How to begin, like `isolation level read committed`.
 * @param work The statements; the transaction is taken back if it throws.
 * @param options Who hears that it has begun, and how long a statement may take.
 * @returns What the work returned, after the commit.
 */
export async function transaction<T>(
  driver: Pick<postgres.Sql, "begin">,
  how: string,
  work: (session: Session) => Promise<T>,
  { begun = () => {}, timeout }: TransactionOptions = {},
): Promise<T> {
  let connection: Connection | undefined;
  let home: unknown;
  const isLost = () => connection !== undefined && connection.queue !== home;
  // Not part of the driver's types, but of how it begins transactions itself: tells which connection it is.
  const onexecute = (found: Connection) => {
    connection = found;
    home = found.queue;
    return true;
  };
  const sessionOf = (sql: postgres.TransactionSql): Session => ({
    unsafe: (text, values = [], options = {}) => {
      if (isLost()) throw new ConnectionLost("The connection was lost in a transaction");
      return checked(sql.unsafe(text, values as any[], options as object) as unknown as Rows);
    },
    savepoint: async (work) => void await sql.savepoint((inner) => guarded(() => work(sessionOf(inner)))),
  });
  const guarded = async <R>(work: () => Promise<R>): Promise<R> => {
    try {
      return await work();
    } catch (error) {
      if (!isLost()) throw error;
      return await new Promise(() => {});
    }
  };
  return await driver.begin(how, (sql) =>
    guarded(async () => {
      try {
        const limits = timeout === undefined ? LIMIT : `${LIMIT}; ${lower(timeout)}`;
        answered(await sql.unsafe(limits, [], { onexecute, simple: true } as object));
      } catch (error) {
        if ((error as { code?: unknown }).code !== NO_TRANSACTION) throw error;
        throw new ConnectionLost("The connection was lost before the transaction began");
      }
      begun();
      return await work(sessionOf(sql));
    })) as T;
}

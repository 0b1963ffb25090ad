import type postgres from "postgres";

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

/** Thrown when the connection of a transaction was lost; the database takes the transaction back. */
class ConnectionLost extends Error {
  readonly code = "CONNECTION_CLOSED";
}

/**
 * A process that is frozen or cut off between two statements would hold its locks until PostgreSQL gives up its
 * connection, hours later.
 */
const LIMIT = "set local idle_in_transaction_session_timeout = 5000";

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
 * @returns What the work returned, after the commit.
 */
export async function transaction<T>(
  driver: Pick<postgres.Sql, "begin">,
  how: string,
  work: (session: Session) => Promise<T>,
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
      return sql.unsafe(text, values as any[], options as object) as unknown as Rows;
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
  return await driver.begin(how, async (sql) => {
    // Goes with the first statement, whose answer tells of it.
    sql.unsafe(LIMIT, [], { onexecute } as object).execute();
    return await guarded(() => work(sessionOf(sql)));
  }) as T;
}

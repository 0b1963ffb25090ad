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
  savepoint(work: () => Promise<void>): Promise<void>;
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
 * Runs work in one transaction on a connection of its own.
 *
 * The driver's own `begin()` sends a rollback, or whatever comes next, through a connection that has broken meanwhile:
 * it then throws where nobody can catch it, and ends the process. So a connection is asked before each statement whether
 * it still is where it was when the transaction began; it is moved in the same turn in which it breaks.
 *
 * @param driver The connections.
 * @param begin How to begin, like `begin isolation level read committed`.
 * @param work The statements; the transaction is taken back if it throws.
 * @returns What the work returned, after the commit.
 */
export async function transaction<T>(
  driver: Pick<postgres.Sql, "reserve">,
  begin: string,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const reserved = await driver.reserve();
  let connection: Connection | undefined;
  let home: unknown;
  const isLost = () => connection !== undefined && connection.queue !== home;
  const send = (sql: string, values: readonly any[] = [], options: object = {}): Rows => {
    if (isLost()) throw new ConnectionLost("The connection was lost in a transaction");
    return reserved.unsafe(sql, values as any[], options) as unknown as Rows;
  };
  let savepoints = 0;
  const session: Session = {
    unsafe: (sql, values, options) => send(sql, values, options),
    savepoint: async (work) => {
      const name = `annals_${savepoints++}`;
      await send(`savepoint ${name}`);
      try {
        await work();
      } catch (error) {
        await send(`rollback to ${name}`);
        throw error;
      }
    },
  };
  try {
    // Not part of the driver's types, but of how it begins transactions itself: tells which connection it is.
    const onexecute = (found: Connection) => {
      connection = found;
      home = found.queue;
      return true;
    };
    await send(begin, [], { onexecute });
    const result = await work(session);
    await send("commit");
    return result;
  } catch (error) {
    // What could not be taken back is taken back by the end of the session.
    if (!isLost()) await Promise.resolve(send("rollback")).catch(() => {});
    throw error;
  } finally {
    // A lost connection is the driver's again.
    if (!isLost()) reserved.release();
  }
}

import { StatementError } from "../errors.ts";
import type { Statement } from "../port.ts";
import { statementFault } from "../single_statement.ts";
import { codeOf, mayBefallAny } from "./errors.ts";
import type { Session } from "./transaction.ts";

/** So many times in a row what may happen to any statement happened to one while the database answered others. */
const MOST = 3;

/** How long after a failure the next attempt may begin to be in a row with it, in milliseconds. */
const REMEMBERED = 60_000;

/** A deadlock takes back one transaction for the sake of others, and one of them gets on each time. */
const DEADLOCK = "40P01";

/** The most statements that are watched, and how much of each with its values. */
const WATCHED = 1_000;
const LONGEST_KEY = 10_000;

/** Runs the SQL statements of handlers, and tells whose fault it is when one fails. */
export class Statements {
  #answers: () => Promise<unknown>;
  /**
   * By message and statement: how often in a row, and when last, it failed with what may happen to any. Not by its values,
   * which may be others each time.
   */
  #failures = new Map<string, { readonly count: number; readonly at: number }>();
  #elapsed: () => number;

  /**
   * @param answers Writes something else to the database, in the same way; rejects if that fails.
   * @param elapsed Returns the monotonic time, in milliseconds.
   */
  constructor(answers: () => Promise<unknown>, elapsed: () => number = () => performance.now()) {
    this.#answers = answers;
    this.#elapsed = elapsed;
  }

  /**
   * Runs statements and a commit in one transaction.
   *
   * @param scope Of which message they are.
   * @param statements The statements.
   * @param transact Begins the transaction, runs the work in it, and commits.
   * @param work What to run before and after the statements.
   * @returns What `transact` returns.
   * @throws {StatementError} If a statement failed, and others would not have.
   */
  async run<T>(
    scope: string,
    statements: readonly Statement[],
    transact: (work: (session: Session) => Promise<T>) => Promise<T>,
    work: { readonly before: (session: Session) => Promise<unknown>; readonly after: (session: Session) => Promise<T> },
  ): Promise<T> {
    const begunAt = this.#elapsed();
    let current: { readonly text: string; readonly key: string } | undefined;
    try {
      const keys: string[] = [];
      const result = await transact(async (session) => {
        await work.before(session);
        for (const { parts, values } of statements) {
          const text = parts.reduce((text, part, i) => i === 0 ? part : `${text}$${i}${part}`, "");
          const fault = statementFault(text);
          if (fault !== null) throw new StatementError(text, fault);
          const key = `${scope}\n${text}`.slice(0, LONGEST_KEY);
          current = { text, key };
          // Use the extended protocol, which accepts a single statement only.
          await Promise.resolve(session.unsafe(text, values, { simple: false })).catch((error) => {
            throw mayBefallAny(error) ? error : new StatementError(text, (error as Error).message);
          });
          keys.push(key);
        }
        // A constraint that waits for the end is its fault as well.
        await Promise.resolve(session.unsafe("set constraints all immediate")).catch((error) => {
          throw mayBefallAny(error) || current === undefined
            ? error
            : new StatementError(current.text, (error as Error).message);
        });
        current = undefined;
        return await work.after(session);
      });
      // Of the same text, one may succeed and the next fail.
      for (const key of keys) this.#failures.delete(key);
      return result;
    } catch (error) {
      // One that ends its session, or takes longer than a pooler permits, would be tried for ever.
      const isOthers = current === undefined || error instanceof StatementError || codeOf(error) === DEADLOCK;
      if (isOthers || !await this.#isToBlame(current!.key, begunAt)) throw error;
      throw new StatementError(current!.text, (error as Error).message);
    }
  }

  async #isToBlame(key: string, begunAt: number): Promise<boolean> {
    const before = this.#failures.get(key);
    const count = before && begunAt - before.at < REMEMBERED ? before.count + 1 : 1;
    if (this.#failures.size >= WATCHED) this.#failures.clear();
    this.#failures.set(key, { count, at: this.#elapsed() });
    return count >= MOST && await this.#answers().then(() => true, () => false);
  }
}

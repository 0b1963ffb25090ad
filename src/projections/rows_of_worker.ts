import type { GroupWorker, HandlerSession } from "../handling/runner.ts";

/**
 * Lets a worker write the rows of another generation than the one that its code knows.
 *
 * @param worker The worker.
 * @param rowsFor Returns what rows are called instead.
 */
export function writing(worker: GroupWorker, rowsFor: (rows: string) => string): GroupWorker {
  const sessions = new WeakMap<HandlerSession, HandlerSession>();
  return {
    load: () => worker.load(),
    replace: (session) => worker.replace(sessions.get(session) ?? session),
    open: () => {
      const session = worker.open();
      const other: HandlerSession = {
        run: async (items, signal) => {
          const result = await session.run(items, signal);
          if (result === "apart") return result;
          const rows = result.effects.rows.map((row) => ({ ...row, projection: rowsFor(row.projection) }));
          return { ...result, effects: { ...result.effects, rows } };
        },
        settle: (written) => session.settle(written),
        forget: () => session.forget(),
        abandon: (reason) => session.abandon(reason),
        close: () => session.close(),
      };
      sessions.set(other, session);
      return other;
    },
  };
}

import type { GroupWorker } from "../handling/runner.ts";
import { overriding } from "../lib/overriding.ts";

/**
 * Lets a worker write the rows of another generation than the one that its code knows.
 *
 * @param worker The worker.
 * @param rowsFor Returns what rows are called instead.
 */
export function writing(worker: GroupWorker, rowsFor: (rows: string) => string): GroupWorker {
  return overriding(worker, {
    open: () => {
      const session = worker.open();
      return overriding(session, {
        run: async (items, signal) => {
          const result = await session.run(items, signal);
          if (result === "apart") return result;
          const rows = result.effects.rows.map((row) => ({ ...row, projection: rowsFor(row.projection) }));
          return { ...result, effects: { ...result.effects, rows } };
        },
      });
    },
  });
}

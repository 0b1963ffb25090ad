import type { BatchRunner, GroupWorker } from "../handling/runner.ts";
import type { EventStore } from "../store/port.ts";
import { overriding } from "../lib/overriding.ts";

/** How many rows are remembered, before the runner has to read all of them again. */
const MOST_KNOWN = 200_000;

/**
 * Remembers which rows a runner has seen, as of which position: several workers of a projector may change the same row, and
 * what one makes of a row is written only if that is still the row that it has seen.
 */
export class SharedRows {
  #known = new Map<string, number>();

  /** Reads rows for the runner, and remembers them. */
  reading(readRows: EventStore["readRows"]): EventStore["readRows"] {
    return async (projection, keys) => {
      const found = await readRows(projection, keys);
      const positions = new Map(found.map(({ key, position }) => [key, position]));
      for (const key of keys) this.#known.set(key, positions.get(key) ?? 0);
      return found;
    };
  }

  /**
   * Lets a runner expect the rows that it has seen.
   *
   * @param runner The runner, which reads rows through `reading` only.
   */
  expecting<R extends BatchRunner>(runner: R): R {
    let written: readonly (readonly [key: string, position: number])[] = [];
    const others: BatchRunner = {
      run: async (items, signal) => {
        if (this.#known.size > MOST_KNOWN) others.forget();
        const result = await runner.run(items, signal);
        if (result === "apart") return result;
        const rows = result.effects.rows.map((row) => ({ ...row, expected: this.#known.get(row.key) ?? 0 }));
        written = rows.map(({ key, row, position }) => [key, row === null ? 0 : position]);
        return { ...result, effects: { ...result.effects, rows } };
      },
      settle: (isWritten) => {
        // The runner forgets what it knew as well.
        if (!isWritten) this.#known.clear();
        else for (const [key, position] of written) this.#known.set(key, position);
        written = [];
        runner.settle(isWritten);
      },
      forget: () => {
        this.#known.clear();
        runner.forget();
      },
    };
    return overriding<R>(runner, others as Partial<R>);
  }
}

/** The same for a worker, whose sessions each begin with no row seen. */
export class SharedWorker {
  #rows = new SharedRows();

  /** Reads rows for the session that is open. */
  reading(readRows: EventStore["readRows"]): EventStore["readRows"] {
    return (projection, keys) => this.#rows.reading(readRows)(projection, keys);
  }

  /** Lets its sessions expect the rows that they have seen. */
  worker(worker: GroupWorker): GroupWorker {
    return overriding(worker, {
      open: () => {
        this.#rows = new SharedRows();
        return this.#rows.expecting(worker.open());
      },
    });
  }
}

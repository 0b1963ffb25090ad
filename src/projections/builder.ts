import type { HandlerSession } from "../handling/runner.ts";
import type { Clock } from "../lib/clock.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { inParts, type MergedPage, readMerged } from "../store/large.ts";
import type { Checkpoint, EventStore, Fence, ProjectionRow } from "../store/port.ts";
import { reachedBy } from "../store/reached.ts";

/** How many messages are read and handled at a time. */
const PAGE = 2_000;

/** When rows are written, at the latest: after so many, so many characters, or so many milliseconds. */
const MOST_ROWS = 20_000;
const MOST_CHARACTERS = 16_000_000;
const LONGEST_HOLD = 5_000;

/** Thrown when a row cannot be built: nothing is skipped. */
export class BuildError extends Error {
  /** Always `BuildError`. */
  override readonly name = "BuildError";
}

/** Thrown when a build was begun by code that reads other categories: it has to begin anew. */
export class OtherCategoriesError extends BuildError {}

/** What a {@linkcode Builder} needs. */
export interface BuilderOptions {
  /** The store. */
  readonly store: EventStore;
  /** The group that feeds the rows afterwards. */
  readonly group: string;
  /** The categories it reads. */
  readonly categories: readonly string[];
  /** The message types that it handles. */
  readonly handles: ReadonlySet<string>;
  /** The lease that it builds under. */
  readonly fence: Fence;
  /** The share of the time that it may work, from 0 to 1: asked before each page. */
  readonly share: () => number;
  /** The source of time. */
  readonly clock: Clock;
  /** Opens a session of the handler, which reads rows from here. */
  readonly open: (readRows: EventStore["readRows"]) => HandlerSession;
  /** Called with the position that it has reached. @default {nobody} */
  readonly reached?: (position: number) => void;
}

/**
 * Builds the rows of a generation from the log: folds them in memory, and writes them many at a time, each time with the
 * checkpoint of what is in them.
 */
export class Builder {
  #options: BuilderOptions;
  /** Rows that are not written yet. */
  #rows = new Map<string, ProjectionRow>();
  #characters = 0;
  #heldSince = 0;
  #written = 0;

  /** @param options What it needs. */
  constructor(options: BuilderOptions) {
    this.#options = options;
  }

  /**
   * Builds until everything is in the rows that was stored when it looked last.
   *
   * @param signal Asks it to stop; what was written stays.
   * @returns Whether it is done.
   * @throws {BuildError} If a row cannot be built: says which message is at fault.
   */
  async run(signal: AbortSignal): Promise<boolean> {
    const { store, group, categories, handles, clock, share, reached = () => {} } = this.#options;
    const session = this.#options.open((projection, keys) => this.#read(projection, keys));
    try {
      const checkpoints = await store.checkpoints(group);
      const begun = new Set(checkpoints.map(({ category }) => category));
      if (
        begun.size > 0 && (begun.size !== categories.length || !categories.every((category) => begun.has(category)))
      ) {
        throw new OtherCategoriesError(`It was begun by code that reads ${[...begun].join(", ")}; it begins anew`);
      }
      let position = Math.min(...categories.map((category) => reachedBy(checkpoints, category)));
      if (position === 0) await this.#checkBeginning();
      this.#written = position;
      this.#heldSince = clock.elapsed();
      let next = this.#page(position);
      next.catch(() => {});
      while (!signal.aborted) {
        const { records, upTo } = await next;
        const isLast = records.length === 0;
        // Meanwhile the next ones are read.
        if (!isLast) {
          next = this.#page(upTo);
          next.catch(() => {});
        }
        const startedAt = clock.elapsed();
        for (const part of inParts(records.filter(({ type }) => handles.has(type)))) {
          await this.#handle(session, part, signal);
          if (signal.aborted) return false;
        }
        position = upTo;
        const isDue = this.#rows.size >= MOST_ROWS || this.#characters >= MOST_CHARACTERS ||
          clock.elapsed() - this.#heldSince >= LONGEST_HOLD;
        if (isLast || isDue) await this.#write(position);
        reached(position);
        if (isLast) return true;
        const worked = clock.elapsed() - startedAt;
        const rest = worked * (1 / share() - 1);
        if (rest >= 1) await clock.sleep(rest, signal);
      }
      return false;
    } finally {
      session.close();
    }
  }

  /** A log whose oldest part was detached has not all that rows are made of. */
  async #checkBeginning(): Promise<void> {
    const [first] = await this.#options.store.readLog({ limit: 1, largest: 0 });
    if (first === undefined || first.position === 1) return;
    throw new BuildError(
      `The log begins at position ${first.position}: its oldest parts were detached, and rows are made of all events`,
    );
  }

  /** Reads the next messages. */
  async #page(after: number): Promise<MergedPage> {
    const { store, categories } = this.#options;
    const last = await store.lastPosition();
    return await readMerged(store, categories, { after, upTo: Math.max(after, last), limit: PAGE });
  }

  async #read(projection: string, keys: readonly string[]): Promise<ProjectionRow[]> {
    const held = keys.flatMap((key) => this.#rows.get(key) ?? []);
    const others = keys.filter((key) => !this.#rows.has(key));
    const found = others.length === 0 ? [] : await this.#options.store.readRows(projection, others);
    return [...held.filter(({ row }) => row !== null), ...found];
  }

  async #handle(session: HandlerSession, records: readonly MessageRecord[], signal: AbortSignal): Promise<void> {
    const result = await session.run(records.map((record) => ({ record, attempt: 1 })), signal);
    if (signal.aborted) return;
    if (result === "apart") {
      const half = Math.ceil(records.length / 2);
      if (records.length === 1) throw new BuildError(`Message ${records[0].position} cannot be handled`);
      await this.#handle(session, records.slice(0, half), signal);
      return await this.#handle(session, records.slice(half), signal);
    }
    for (const [i, { error }] of result.failures) {
      const { type, position, stream } = records[i];
      throw new BuildError(`"${type}" at position ${position} (${stream}): ${error}`);
    }
    const isCut = result.handled.length < records.length;
    for (const row of result.effects.rows) {
      this.#characters += (row.row?.length ?? 0) - (this.#rows.get(row.key)?.row?.length ?? 0);
      this.#rows.set(row.key, row);
    }
    session.settle(true);
    if (!isCut) return;
    // It has made so much that the rest was left for another batch.
    const handled = new Set(result.handled);
    await this.#handle(session, records.filter((_, i) => !handled.has(i)), signal);
  }

  async #write(position: number): Promise<void> {
    const { store, group, categories, fence, clock } = this.#options;
    const checkpoints = categories.map((category): Checkpoint => ({
      group,
      category,
      partitions: 1,
      partition: 0,
      position,
    }));
    if (position > this.#written || this.#rows.size > 0) {
      await store.commit({ fence, checkpoints, rows: [...this.#rows.values()] });
    }
    this.#rows.clear();
    this.#characters = 0;
    this.#written = position;
    this.#heldSince = clock.elapsed();
  }
}

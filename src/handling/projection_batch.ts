import type { Projector } from "../domain/handlers.ts";
import { checkKey } from "../domain/projection.ts";
import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { checkLength } from "../messages/json.ts";
import { validate } from "../messages/schema.ts";
import { rowsOf } from "../store/generations.ts";
import { type Delivery, type Effects, type HandlerBatch, NO_EFFECTS, type Reading } from "./batch.ts";

/** Messages whose rows have more characters than that are handled one by one: of each, there is what is read and what is made. */
const MOST_READ = 32_000_000;

/**
 * Projects a batch of events: each row is read once, unless it is known from an earlier batch, folded in memory, and written once. It is kept as text, so that
 * every message gets a copy of its own, and a row that is too long fails the message that made it, not the batch.
 */
export class ProjectionBatch implements HandlerBatch {
  #projector: Projector;
  #reading: Pick<Reading, "readRows" | "rowCache" | "guard" | "longest">;
  #rows = new Map<string, string | null>();
  #changed = new Map<string, number>();
  #characters = 0;

  /**
   * Creates an empty batch.
   *
   * @param projector The projector.
   * @param reading What to read rows from.
   */
  constructor(projector: Projector, reading: Pick<Reading, "readRows" | "rowCache" | "guard" | "longest">) {
    this.#projector = projector;
    this.#reading = reading;
  }

  async prepare(messages: readonly Message[]): Promise<void> {
    const { readRows, rowCache, guard = (work) => work() } = this.#reading;
    const keys = [...new Set(guard(() => messages.map((message) => this.#keyOf(message))))]
      .filter((key) => !this.#rows.has(key));
    const unread: string[] = [];
    for (const key of keys) {
      const cached = rowCache?.get(key);
      if (cached === undefined) unread.push(key);
      this.#rows.set(key, cached ?? null);
    }
    if (unread.length === 0) return;
    let characters = 0;
    for (const { key, row } of await readRows(this.#rowsName, unread)) {
      this.#rows.set(key, row);
      characters += row?.length ?? 0;
    }
    if (characters > MOST_READ && messages.length > 1) {
      throw new RangeError("These rows are too large to be changed together");
    }
  }

  /** Its own rows, whichever readers see. */
  get #rowsName(): string {
    const { name, version } = this.#projector.projection;
    return rowsOf(name, version);
  }

  #keyOf(message: Message): string {
    const { name, projection, keyOf } = this.#projector;
    const key = keyOf(message);
    checkKey(projection.name, key, `keyOf of "${name}"`);
    return key;
  }

  handle({ message }: Delivery): void {
    const { on, projection } = this.#projector;
    const key = this.#keyOf(message);
    const before = this.#rows.get(key) ?? null;
    const row = on[message.type](before === null ? null : JSON.parse(before), message);
    if (row === undefined) {
      throw new DomainDefinitionError(
        `"${this.#projector.name}" returned undefined for "${message.type}"; return the row, or null to delete it (missing return?)`,
      );
    }
    const next = row === null ? null : validate(projection.name, projection.schema, row);
    const own = (next as Record<string, unknown> | null)?.[projection.key];
    if (next !== null && String(own) !== key) {
      throw new DomainDefinitionError(
        `"${this.#projector.name}" made a row of projection "${projection.name}" whose "${projection.key}" is ${
          JSON.stringify(own)
        } from the row of "${key}"; return the row of the event's key, or say by keyOf which one that is`,
      );
    }
    const text = next === null ? null : JSON.stringify(next);
    if (text !== null) checkLength(projection.name, text, this.#reading.longest);
    this.#characters += (text?.length ?? 0) - (this.#changed.has(key) ? before?.length ?? 0 : 0);
    // In this order: a time limit that is over in between leaves the row as it was.
    this.#changed.set(key, message.position);
    this.#rows.set(key, text);
  }

  get characters(): number {
    return this.#characters;
  }

  effects(): Effects {
    const rows = [...this.#changed].map(([key, position]) => ({
      projection: this.#rowsName,
      key,
      row: this.#rows.get(key) ?? null,
      position,
    }));
    return { ...NO_EFFECTS, rows };
  }

  settle(written: boolean): void {
    const { rowCache } = this.#reading;
    // Whether they are stored may be unknown.
    if (!written) return rowCache?.clear();
    for (const [key, row] of this.#rows) rowCache?.set(key, row);
  }
}

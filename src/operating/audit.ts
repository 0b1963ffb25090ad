import { storable } from "../messages/text.ts";
import { textOf } from "../messages/thrown.ts";
import { type NewMessage, operatorCategory, streamName } from "../messages/envelope.ts";
import { newId } from "../messages/ids.ts";
import type { EventStore } from "../store/port.ts";

/** The types of the messages that records are kept as. */
const ACTED = "OperatorActed";
const FAILED = "OperatorActionFailed";

/** The longest error that is kept, in characters. */
const LONGEST_ERROR = 2_000;

/** How many records are read at a time: each may name ten thousand dead letters. */
const PAGE = 20;

/** What the records are kept in, and of which domain. */
export interface Audited {
  /** The store. */
  readonly store: Pick<EventStore, "commit" | "readLog">;
  /** The domain. */
  readonly domain: { readonly name: string };
}

/** Something that an operator did, or tried to do. */
export interface AuditRecord {
  /** Where the record is in the log. */
  readonly position: number;
  /** When, in milliseconds since 1970. */
  readonly at: number;
  /** Who: a user of the dashboard, `token`, `local`, or `cli:USER@HOST`. */
  readonly who: string;
  /** What, like `dlq replay`. */
  readonly action: string;
  /** What it was done to. */
  readonly details: Readonly<Record<string, unknown>>;
  /** Why it could not be done; `null` if nothing says so. */
  readonly error: string | null;
}

/**
 * Does something that changes state for an operator. It is recorded first, in a stream of the log that no group reads, so
 * that nothing is done without a record; and again if it fails.
 *
 * @param at The store and the domain.
 * @param who Who asks for it.
 * @param action What, like `dlq replay`.
 * @param details What it is done to: JSON without secrets.
 * @param work Does it.
 * @returns What `work` returns.
 */
export async function audited<T>(
  { store, domain }: Audited,
  who: string,
  action: string,
  details: Readonly<Record<string, unknown>>,
  work: () => Promise<T>,
): Promise<T> {
  const category = operatorCategory(domain.name);
  const id = newId();
  const record = (message: Pick<NewMessage, "id" | "type" | "causationId">, data: object) =>
    store.commit({
      appends: [{
        category,
        stream: streamName(category, "audit"),
        expected: "any",
        publish: false,
        messages: [{
          ...message,
          schemaVersion: 1,
          time: Date.now(),
          correlationId: id,
          data: JSON.stringify(data),
          metadata: null,
        }],
      }],
    });
  await record({ id, type: ACTED, causationId: null }, { who, action, details });
  try {
    return await work();
  } catch (error) {
    const data = { who, action, error: storable(textOf(error), LONGEST_ERROR) };
    // What was to be done may have failed because the store is away.
    await record({ id: newId(), type: FAILED, causationId: id }, data).catch(() => {});
    throw error;
  }
}

/** The details of a record, with long lists cut off: what was left out is counted. */
function shownDetails(details: Readonly<Record<string, unknown>>, most: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(details).map(([name, value]) =>
      Array.isArray(value) && value.length > most
        ? [name, [...value.slice(0, most), `… and ${value.length - most} more`]]
        : [name, value]
    ),
  );
}

/**
 * Returns what operators did, the newest first.
 *
 * @param at The store and the domain.
 * @param options How many at most (default 100), before which position, and how much to return of lists of what it was done to.
 */
export async function auditRecords(
  { store, domain }: Audited,
  { limit = 100, before, listed = Infinity }: {
    readonly limit?: number;
    readonly before?: number;
    readonly listed?: number;
  } = {},
): Promise<AuditRecord[]> {
  const category = operatorCategory(domain.name);
  const found: AuditRecord[] = [];
  const errors = new Map<string, string>();
  for (let upTo = before === undefined ? undefined : before - 1; found.length < limit;) {
    const page = await store.readLog({ category, backward: true, limit: PAGE, ...(upTo !== undefined && { upTo }) });
    for (const { type, id, causationId, correlationId, position, time, data } of page) {
      const { who, action, details = {}, error: failure } = JSON.parse(data);
      if (type === FAILED) errors.set(causationId ?? correlationId, failure);
      else {
        const error = errors.get(id) ?? null;
        found.push({ position, at: time, who, action, details: shownDetails(details, listed), error });
      }
    }
    if (found.length >= limit) break;
    if (page.length < PAGE) break;
    upTo = page[page.length - 1].position - 1;
  }
  return found.slice(0, limit);
}

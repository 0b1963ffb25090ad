import type { Domain } from "../domain/model.ts";
import { checkProjection, type Projection } from "../domain/projection.ts";
import { decode } from "../messages/codec.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { readMerged } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";

/** How many messages are read at a time. */
const PAGE = 1_000;

/**
 * Folds a row again, as it was at a time or position. All events of the projector's categories are read for it.
 *
 * @param store The store.
 * @param domain The domain.
 * @param projection The projection.
 * @param key The row's key.
 * @param asOf A time, or a position of the log.
 * @returns The row; `null` if there was none.
 * @throws {DomainDefinitionError} If it is neither.
 */
export async function rowAsOf(
  store: EventStore,
  domain: Domain,
  projection: Projection,
  key: string,
  asOf: Date | number,
): Promise<unknown> {
  const isTime = asOf instanceof Date && Number.isFinite(asOf.getTime());
  if (!isTime && !(Number.isSafeInteger(asOf) && asOf as number >= 0)) {
    throw new DomainDefinitionError(
      `Cannot read a row as of ${String(asOf)}: it is neither a valid Date nor a position`,
    );
  }
  checkProjection(projection);
  const keeper = domain.keeperOf(projection.name);
  const rowKeyOf = keeper?.kind.rowKeyOf;
  if (!keeper || !rowKeyOf) {
    const why = keeper ? "it cannot be folded" : `domain "${domain.name}" has no projector that keeps it`;
    throw new DomainDefinitionError(`Cannot read a row of projection "${projection.name}" as it was: ${why}`);
  }
  const handles = new Set(keeper.kind.handles(keeper).map(({ type }) => type));
  const last = isTime ? await store.lastPosition() : Math.min(asOf as number, await store.lastPosition());
  let row: string | null = null;
  const batch = keeper.kind.begin(domain, keeper, {
    readStream: () => Promise.resolve([]),
    readRows: () => Promise.resolve([]),
  });
  const never = new AbortController().signal;
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  for await (const record of inOrder(store, domain.categoriesOf(keeper), last)) {
    // Clocks of servers differ a little, so that later messages may be older.
    if (!handles.has(record.type) || (isTime && record.time > asOf.getTime())) continue;
    const message = decode(record, domain.types);
    if (rowKeyOf(keeper, message) !== key) continue;
    await batch.prepare([message]);
    await batch.handle({ message, attempt: 1, signal: never, givenUp: never, log });
  }
  for (const one of batch.effects().rows) if (one.key === key) row = one.row;
  return row === null ? null : JSON.parse(row);
}

/** The messages of some categories, in the order of the log. */
async function* inOrder(store: EventStore, categories: readonly string[], upTo: number) {
  for (let after = 0; after < upTo;) {
    const page = await readMerged(store, categories, { after, upTo, limit: PAGE });
    yield* page.records;
    after = page.upTo;
  }
}

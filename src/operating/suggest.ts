import { closest, distance } from "fastest-levenshtein";
import type { Operator } from "./operator.ts";

/** How many of the last messages are looked through for a name that somebody may have meant. */
const RECENT = 2_000;

/** How many characters of a name may be wrong: of ids, which all look alike, few. */
const FEW = 3;

type Read = Pick<Operator, "store" | "domain">;

/**
 * Finds the name that somebody may have meant.
 *
 * @param name What they wrote: perhaps misspelt, or cut off.
 * @param known The names that there are.
 * @returns The nearest one; `null` if none is near.
 */
export function nearest(name: string, known: Iterable<string>): string | null {
  const names = [...new Set(known)];
  if (names.length === 0 || name === "") return null;
  const whole = names.filter((one) => one.startsWith(name));
  if (whole.length === 1 && name.length >= FEW) return whole[0];
  const found = closest(name, names);
  return distance(name, found) <= Math.min(FEW, Math.ceil(name.length / 4)) ? found : null;
}

/** The categories that a stream may be of, each with what follows: an id may have hyphens, as a category may. */
function splits(stream: string): { readonly category: string; readonly id: string }[] {
  return [...stream.matchAll(/-/g)].map(({ index }) => ({
    category: stream.slice(0, index),
    id: stream.slice(index + 1),
  }));
}

/**
 * Finds the stream that somebody may have meant, among those with recent messages.
 *
 * @param at The domain.
 * @param stream A stream that does not exist.
 * @returns A stream that exists, or the start of one, like `bank::account-`; `null` if none is near.
 */
export async function nearestStream({ store, domain }: Read, stream: string): Promise<string | null> {
  const categories = Object.keys(domain.categories);
  const split = splits(stream).reverse();
  const exact = split.find(({ category }) => categories.includes(category));
  if (exact) {
    const { category } = exact;
    const recent = await store.readLog({ category, backward: true, limit: RECENT, largest: 0 });
    return nearest(stream, recent.map((record) => record.stream));
  }
  for (const { category, id } of split) {
    const meant = nearest(category, categories);
    if (meant === null) continue;
    const name = `${meant}-${id}`;
    return (await store.readStream(name, { limit: 1 })).length > 0 ? name : `${meant}-`;
  }
  return null;
}

/**
 * Finds the correlation that somebody may have meant, among those of recent messages.
 *
 * @param at The domain.
 * @param correlationId One that does not exist.
 * @returns What to try instead; `null` if nothing is near.
 */
export async function nearestCorrelation({ store }: Read, correlationId: string): Promise<string | null> {
  const recent = await store.readLog({ backward: true, limit: RECENT, largest: 0 });
  const message = recent.find(({ id }) => id === correlationId);
  return message?.correlationId ?? nearest(correlationId, recent.map((record) => record.correlationId));
}

import { mark } from "../store/mark.ts";
import type { Checkpoint, EventStore } from "../store/port.ts";

/** The group whose checkpoints name, in place of a category, event types all of whose events have their tags. */
const TAGGED_GROUP = "$tagged";

/** The same for those whose events are being given theirs: those up to there have them. */
const TAGGING_GROUP = "$tagging";

/** An event type whose events have tags. */
export interface TaggedType {
  /** Its name. */
  readonly type: string;
  /** The category of its events. */
  readonly category: string;
}

/** The mark that the events of a type up to a position have their tags. */
export function taggedUpTo(type: string, position: number): Checkpoint {
  return mark(TAGGING_GROUP, type, position);
}

/** The mark that all events of a type have their tags. */
export function allTagged(type: string, position: number): Checkpoint {
  return mark(TAGGED_GROUP, type, position);
}

/** Takes back that events of a type have their tags: all of them are to be given theirs again. */
export async function forgetTagged(store: EventStore, type: string): Promise<void> {
  await store.commit({ checkpoint: mark(TAGGED_GROUP, type, -1) });
  await store.commit({ checkpoint: taggedUpTo(type, 0) });
}

/**
 * Notes which event types were all tagged, and have no tags in this code: it writes events without.
 *
 * @param store The store.
 * @param types The event types of the code, and those of them that have tags.
 */
export async function noteUntagged(
  store: EventStore,
  types: { readonly known: ReadonlySet<string>; readonly tagged: ReadonlySet<string> },
): Promise<void> {
  for (const { category: type, position } of await store.checkpoints(TAGGED_GROUP)) {
    if (position >= 0 && types.known.has(type) && !types.tagged.has(type)) await forgetTagged(store, type);
  }
}

/** Up to where the events of a type have been given their tags; 0 if nobody has begun. */
export async function taggingReached(store: EventStore, type: string): Promise<number> {
  const found = (await store.checkpoints(TAGGING_GROUP)).find(({ category }) => category === type);
  return found?.position ?? 0;
}

/**
 * Finds the event types with events from before they had tags. Types without events are noted: they have none such.
 *
 * @param store The store.
 * @param types The event types that have tags.
 * @returns Those types, each with the position of an event.
 */
export async function untaggedTypes<T extends TaggedType>(
  store: EventStore,
  types: readonly T[],
): Promise<(T & { readonly position: number })[]> {
  if (types.length === 0) return [];
  const marks = (await store.checkpoints(TAGGED_GROUP)).filter(({ position }) => position >= 0);
  const known = new Set(marks.map(({ category }) => category));
  const found: (T & { readonly position: number })[] = [];
  for (const one of types.filter(({ type }) => !known.has(type))) {
    const { type, category } = one;
    const last = await store.lastPosition();
    const [first] = await store.readLog({ category, type, limit: 1, largest: 0 });
    if (first) found.push({ ...one, position: first.position });
    else await store.commit({ checkpoint: allTagged(type, last) });
  }
  return found;
}

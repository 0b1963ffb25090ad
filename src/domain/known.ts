import type { KnownTypes } from "../messages/known_types.ts";
import type { Domain } from "./model.ts";

/** What the code of a domain knows that messages may have to wait for: the versions of types, and what handlers react to. */
export function knownBy({ types, handlers }: Pick<Domain, "types" | "handlers">): KnownTypes {
  const reactions = [...handlers.values()].flatMap((handler) => handler.kind.knows?.(handler) ?? []);
  return new Map([
    ...[...types].map(([name, { version }]) => [name, version] as const),
    ...reactions.map((name) => [name, 1] as const),
  ]);
}

/** The event types of a domain that have tags, where their events are, and whether a boundary looks for them. */
export function taggedBy(
  { types, boundaries, categoryOfEvent }: Domain,
): { readonly type: string; readonly category: string; readonly isSought: boolean }[] {
  const sought = new Set([...boundaries.values()].flatMap(({ events }) => events.map(({ type }) => type)));
  return [...types.values()].flatMap(({ type, tags }) => {
    const category = tags && categoryOfEvent(type);
    return category === undefined ? [] : [{ type, category, isSought: sought.has(type) }];
  });
}

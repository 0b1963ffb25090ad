import { keptBy } from "../projections/place.ts";
import { boundaryCategory, partCategory } from "../messages/envelope.ts";
import type { MessageType } from "../messages/message_type.ts";
import { rowsOf } from "../store/generations.ts";
import { knownBy, taggedBy } from "../domain/known.ts";
import type { Domain } from "../domain/model.ts";
import type { DomainDescription, HandlerDescription } from "./protocol.ts";

/**
 * Imports a domain's module.
 *
 * @param module A URL.
 * @returns Its default export.
 * @throws {Error} If the module does not export a domain.
 */
export async function importDomain(module: string): Promise<Domain> {
  const found = (await import(module)).default;
  if (found?.kind !== "domain") {
    throw new Error(
      `Module "${module}" has no domain as its default export; write: export default domain("name", { … })`,
    );
  }
  return found;
}

/** The projections that the domain's handlers keep, each version of its own. */
function projectionsOf(domain: Domain): DomainDescription["projections"] {
  return keptBy(domain).map(({ handler, projection: { name, version, key, fields, indexes } }) => ({
    name,
    version,
    group: handler.name,
    key,
    fields,
    indexes: indexes.map((index) => [...index]),
  }));
}

/** The categories of events, and those of all commands; none if it refers to nothing. */
function referredBy(domain: Domain, events: readonly MessageType[] | null): string[] {
  if (events === null) return [];
  const categories = new Set(events.flatMap(({ type }) => domain.categoryOfEvent(type) ?? []));
  const deciders = [...domain.handlers.values()].filter((handler) => handler.kind.decidesFor(handler) !== null);
  return [...categories, ...deciders.flatMap((handler) => [...domain.categoriesOf(handler)])];
}

/**
 * Describes a domain as plain data for the engine.
 *
 * @param domain The domain.
 * @returns The description.
 */
export function describe(domain: Domain): DomainDescription {
  const categories: Record<string, string[]> = {};
  // Also of those that have no events.
  for (const aggregate of domain.aggregates.values()) categories[domain.categoryOf(aggregate)] = [];
  for (const { type } of domain.types.values()) {
    const category = domain.categoryOfEvent(type);
    if (category !== undefined) (categories[category] ??= []).push(type);
  }
  const unversioned = [boundaryCategory(domain.name), ...domain.facts].filter((category) => category in categories);
  const tagged = taggedBy(domain);
  const handlers = [...domain.handlers.values()].map((handler): HandlerDescription => {
    const { name, kind, permissions, retries } = handler;
    const read = domain.categoriesOf(handler);
    const handles = kind.handles(handler).map(({ type }) => type);
    if (kind.decidesFor(handler)) {
      for (const category of read) categories[category] = [...categories[category] ?? [], ...handles];
    }
    return {
      name,
      kind: kind.name,
      categories: read,
      handles,
      writes: kind.writes,
      keeps: kind.keeps(handler).map(({ name, version }) => rowsOf(name, version)),
      permissions: JSON.parse(JSON.stringify(permissions)),
      ...(retries === undefined ? {} : { retries }),
      appends: (kind.appends?.(handler) ?? []).map(({ owner, part, isVersioned }) => ({
        category: partCategory(domain.name, owner, part),
        isVersioned,
      })),
      refersTo: referredBy(domain, kind.refersTo?.(handler) ?? null),
      ...(handler.formerly !== undefined && { formerly: handler.formerly }),
      startsAt: handler.startsAt ?? "start",
      halts: kind.haltsOnDeath ?? false,
      ...(kind.receives && { receives: { type: kind.receives(handler), category: read[0] } }),
    };
  });
  for (const [category, names] of domain.parts) categories[category] = [...names];
  const parts = [...domain.parts.keys()];
  const projections = projectionsOf(domain);
  const types = Object.fromEntries(knownBy(domain));
  return { name: domain.name, handlers, categories, parts, unversioned, tagged, types, projections };
}

import type { Domain } from "../domain/domain.ts";
import type { DomainDescription } from "./protocol.ts";

/**
 * Imports a domain's module.
 *
 * @param module A URL.
 * @returns Its default export.
 * @throws {Error} When it exports no domain.
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

/**
 * Tells what the supervisor has to know of a domain, as plain data.
 *
 * @param domain The domain.
 * @returns Its handlers and categories.
 */
export function describe(domain: Domain): DomainDescription {
  const categories = new Set<string>();
  for (const aggregate of domain.aggregates.values()) categories.add(domain.categoryOf(aggregate));
  const handlers = [...domain.handlers.values()].map((handler) => {
    const { name, kind, permissions, retries } = handler;
    const read = domain.categoriesOf(handler);
    for (const category of read) categories.add(category);
    return {
      name,
      kind,
      categories: read,
      permissions: JSON.parse(JSON.stringify(permissions)),
      ...(retries === undefined ? {} : { retries }),
    };
  });
  return { name: domain.name, handlers, categories: [...categories], types: [...domain.types.keys()] };
}

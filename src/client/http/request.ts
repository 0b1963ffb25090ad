import type { QueryOptions } from "../../domain/queries.ts";
import { DomainDefinitionError } from "../../messages/errors.ts";

/**
 * Refuses what is no token.
 *
 * @param token What was passed for one.
 * @throws {DomainDefinitionError} If it is none.
 */
export function checkToken(token: unknown): void {
  if (typeof token === "string" && /^[\w-]{1,2000}$/.test(token)) return;
  throw new DomainDefinitionError(
    `Cannot use ${
      JSON.stringify(token)?.slice(0, 100) ?? String(token)
    } as a token; pass the "token" that process() returned`,
  );
}

/**
 * Refuses text that no header can have.
 *
 * @param name What it is, for the error.
 * @param text The text.
 * @throws {DomainDefinitionError} If it has other characters.
 */
export function headerText(name: string, text: string): string {
  if (/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text)) return text;
  throw new DomainDefinitionError(
    `Cannot use this ${name} over HTTP: it may have ASCII characters only, and neither begin nor end with a space`,
  );
}

/** What a projection is asked for: a row by its key, or those that a query selects. */
interface Asked extends Omit<QueryOptions<any>, "orderBy"> {
  readonly key?: string;
  readonly orderBy?: readonly (readonly [string, "asc" | "desc"])[];
  readonly count?: boolean;
}

function orderText(orderBy: NonNullable<Asked["orderBy"]>): string {
  return orderBy.map(([field, direction]) => {
    if (!/^-|,/.test(field)) return direction === "desc" ? `-${field}` : field;
    throw new DomainDefinitionError(
      `Cannot order by ${JSON.stringify(field)} over HTTP: its name has a comma or begins with -`,
    );
  }).join(",");
}

/** Spells what is asked, as what follows the name of a projection in a URL. */
export function queryText({ key, where, orderBy, limit, cursor, scan, count }: Asked): string {
  if (key !== undefined) return `/${encodeURIComponent(key)}`;
  const query = new URLSearchParams();
  if (where !== undefined) query.set("where", JSON.stringify(where));
  if (orderBy !== undefined && orderBy.length > 0) query.set("order", orderText(orderBy));
  if (limit !== undefined) query.set("limit", String(limit));
  if (cursor) query.set("cursor", cursor);
  if (scan) query.set("scan", "true");
  if (count) query.set("count", "true");
  return query.size === 0 ? "" : `?${query}`;
}

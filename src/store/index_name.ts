import { createHash } from "node:crypto";
import { storedAs } from "./generations.ts";
import type { RowIndex } from "./row_query.ts";

/** What the names of indexes of rows begin with. */
const INDEX_PREFIX = "rows_";

/** Begins the names of all indexes of one generation's rows. */
export function indexesOf(projection: string): string {
  return `${INDEX_PREFIX}${createHash("sha256").update(storedAs(projection)).digest("hex").slice(0, 12)}_`;
}

/** Names an index by what it is of; one of other fields or types is another. */
export function indexName({ projection, fields }: RowIndex): string {
  const text = JSON.stringify(fields.map(({ name, type, isKey }) => [name, type, isKey]));
  return `${indexesOf(projection)}${createHash("sha256").update(text).digest("hex").slice(0, 12)}`;
}

import { storedAs } from "../generations.ts";
import type { FieldValue, RowDialect, RowField, RowIndex, RowQuery } from "../row_query.ts";
import { rowQuerySql } from "../row_query.ts";
import { indexName } from "../index_name.ts";
import { arrayLiteral, type Parameter } from "./commit.ts";
import type { Query } from "./queries.ts";

/** SQL text of a text; with standard strings, a backslash is itself. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

const JSON_TYPES = { string: "string", number: "number", boolean: "boolean" } as const;

/** How PostgreSQL spells values of each type; an index is used where a query spells them the same. */
function sortKey({ name, type, isKey }: RowField): string {
  if (isKey) return "key";
  const [json, text] = [`"row"->${literal(name)}`, `"row"->>${literal(name)}`];
  const typed = (value: string, smallest: string) =>
    `case when json_typeof(${json}) = '${JSON_TYPES[type]}' then ${value} else ${smallest} end`;
  switch (type) {
    case "string":
      return `((${typed(text, "''")}) collate "C")`;
    case "number":
      return `(${typed(`(${text})::double precision`, "'-infinity'::double precision")})`;
    case "boolean":
      return `(${typed(`(${text})::boolean::int`, "-1")})`;
  }
}

const SQL_TYPES = { string: "text", number: "double precision", boolean: "int" } as const;
const SMALLEST = { string: "''", number: "'-infinity'::double precision", boolean: "-1" } as const;

function dialectOf(values: Parameter[]): RowDialect {
  const plain = (value: FieldValue): string | number => typeof value === "boolean" ? Number(value) : value;
  return {
    sortKey,
    isThere: ({ name, type, isKey }) =>
      isKey ? "true" : `coalesce(json_typeof("row"->${literal(name)}), '') = '${JSON_TYPES[type]}'`,
    parameter: (value, { type }) => `$${values.push(plain(value))}::${SQL_TYPES[type]}`,
    among: (many, { type }) => `= any($${values.push(arrayLiteral(many.map(plain)))}::${SQL_TYPES[type]}[])`,
    smallest: ({ type }) => SMALLEST[type],
    seeksRows: true,
    key: "key",
    keyParameter: (key) => `$${values.push(key)}::text`,
  };
}

/** The generation that readers see of a projection; null if it has none. */
const ACTIVE = "(select g.rows from annals.generations g where g.projection = $1 and g.is_active)";

/**
 * Spells a query of rows, which also tells what the rows are that readers see.
 *
 * @param projection The projection.
 * @param rows What the rows are stored under; part of the text, so that an index of these rows is used.
 * @param query The query.
 */
export function rowsQuery(projection: string, rows: string, query: RowQuery): Query {
  const values: Parameter[] = [projection];
  const { conditions, order } = rowQuerySql(query, dialectOf(values));
  const where = [`projection = ${literal(rows)}`, ...conditions].join(" and ");
  const sql = `select ${ACTIVE}, r.* from (select 1) one left join lateral (
    select projection, key, "row"::text, position from annals.projections where ${where}
    order by ${order} limit $${values.push(query.limit)}) r on true`;
  return { sql, values };
}

/** Spells the count of rows, in the same way. */
export function countQuery(projection: string, rows: string, where: RowQuery["where"]): Query {
  const values: Parameter[] = [projection];
  const { conditions } = rowQuerySql({ where, orderBy: [] }, dialectOf(values));
  const all = [`projection = ${literal(rows)}`, ...conditions].join(" and ");
  return { sql: `select ${ACTIVE}, (select count(*) from annals.projections where ${all})`, values };
}

/** Spells the creation of an index, which does not keep writers waiting. */
export function createIndex(index: RowIndex): string {
  return `create index concurrently if not exists "${indexName(index)}" on annals.projections (${
    index.fields.map(sortKey).join(", ")
  }, key) where projection = ${literal(storedAs(index.projection))}`;
}

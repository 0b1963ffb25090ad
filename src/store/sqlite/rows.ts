import { storedAs } from "../generations.ts";
import { indexName } from "../index_name.ts";
import type { FieldValue, RowDialect, RowField, RowIndex, RowQuery } from "../row_query.ts";
import { rowQuerySql } from "../row_query.ts";
import { type ProjectionShape, viewColumns, viewName } from "../views.ts";

/** SQL text of a text. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function pathTo(field: string): string {
  return literal(`$."${field}"`);
}

/** How SQLite spells values of each type; an index is used where a query spells them the same. */
const SORT_KEYS: Record<RowField["type"], (path: string) => string> = {
  string: (path) => `case json_type(row, ${path}) when 'text' then json_extract(row, ${path}) else '' end`,
  number: (path) =>
    `case when json_type(row, ${path}) in ('integer', 'real') then cast(json_extract(row, ${path}) as real) else -9e999 end`,
  boolean: (path) => `case json_type(row, ${path}) when 'true' then 1 when 'false' then 0 else -1 end`,
};
const THERE: Record<RowField["type"], string> = {
  string: "('text')",
  number: "('integer', 'real')",
  boolean: "('true', 'false')",
};
const SMALLEST: Record<RowField["type"], string> = { string: "''", number: "-9e999", boolean: "-1" };

/** Returns the dialect of SQLite, which collects parameters. */
function dialectOf(values: (string | number)[]): RowDialect {
  const parameter = (value: FieldValue): string => {
    values.push(typeof value === "boolean" ? Number(value) : value);
    return "?";
  };
  return {
    sortKey: ({ name, type, isKey }) => isKey ? "key" : SORT_KEYS[type](pathTo(name)),
    isThere: ({ name, type, isKey }) =>
      isKey ? "true" : `coalesce(json_type(row, ${pathTo(name)}), '') in ${THERE[type]}`,
    parameter,
    among: (many, { type }) => {
      values.push(JSON.stringify(many.map((value) => typeof value === "boolean" ? Number(value) : value)));
      // JSON spells large numbers as whole ones, which SQLite compares with rows digit by digit.
      const value = type === "number" ? "cast(value as real)" : "value";
      return `in (select ${value} from json_each(?))`;
    },
    seeksRows: false,
    smallest: ({ type }) => SMALLEST[type],
    key: "key",
    keyParameter: parameter,
  };
}

/** SQL with its parameters. */
interface Sql {
  readonly sql: string;
  readonly values: readonly (string | number)[];
}

/**
 * Spells a query of rows.
 *
 * @param rows What the rows are stored under; part of the text, so that an index of these rows is used.
 * @param query The query.
 * @param isForced Whether to use the index that the query names: without statistics, SQLite prefers the primary key.
 */
export function rowsSql(rows: string, query: RowQuery, isForced = query.index !== undefined): Sql {
  const values: (string | number)[] = [];
  const { conditions, order } = rowQuerySql(query, dialectOf(values));
  const where = [`projection = ${literal(rows)}`, ...conditions].join(" and ");
  values.push(query.limit);
  const index = isForced ? ` indexed by ${indexName({ projection: rows, fields: query.index! })}` : "";
  return {
    sql: `select projection, key, row, position from projections${index} where ${where} order by ${order} limit ?`,
    values,
  };
}

/** Spells the count of rows. */
export function countSql(rows: string, where: RowQuery["where"]): Sql {
  const values: (string | number)[] = [];
  const { conditions } = rowQuerySql({ where, orderBy: [] }, dialectOf(values));
  return {
    sql: `select count(*) as count from projections where ${
      [`projection = ${literal(rows)}`, ...conditions].join(" and ")
    }`,
    values,
  };
}

/** Spells the creation of an index. */
export function indexSql(index: RowIndex): string {
  const { sortKey } = dialectOf([]);
  const rows = literal(storedAs(index.projection));
  return `create index if not exists ${indexName(index)} on projections (${
    index.fields.map(sortKey).join(", ")
  }, key) where projection = ${rows}`;
}

/** How a view shows values of each type; others, and those of damaged rows, are null. */
const COLUMNS: Readonly<Record<string, (path: string) => string>> = {
  string: (path) => `case when json_type(r.row, ${path}) = 'text' then json_extract(r.row, ${path}) end`,
  integer: (path) => `case when json_type(r.row, ${path}) = 'integer' then json_extract(r.row, ${path}) end`,
  number: (path) => `case when json_type(r.row, ${path}) in ('integer', 'real') then json_extract(r.row, ${path}) end`,
  boolean: (path) => `case json_type(r.row, ${path}) when 'true' then 1 when 'false' then 0 end`,
};

/** Spells the view of a projection: what readers see of it, a column for each field. */
export function viewSql(shape: ProjectionShape): string {
  const columns = viewColumns(shape).map(({ column, field, type }) => {
    const path = pathTo(field);
    return `${COLUMNS[type]?.(path) ?? `json_extract(r.row, ${path})`} as "${column}"`;
  });
  const name = literal(shape.name);
  return `create view ${viewName(shape.name)} as select ${
    ["r.key", "r.position", ...columns, ...(columns.length === 0 ? ["r.row"] : [])].join(", ")
  } from (select key, position, case when json_valid(row) then row else '{}' end as row from projections
  where projection = coalesce((select rows from generations where projection = ${name} and is_active), ${name})) r`;
}

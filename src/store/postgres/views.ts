import { type ProjectionShape, viewColumns } from "../views.ts";

/**
 * Columns by JSON type. A row of an earlier schema may have something else, and JSON has integers that are too large for
 * a bigint: such a value is null, instead of failing whoever reads the view.
 */
const COLUMNS: Readonly<Record<string, (json: string, text: string) => string>> = {
  string: (json, text) => `case when json_typeof(${json}) = 'string' then ${text} end`,
  integer: (json, text) =>
    `case when json_typeof(${json}) = 'number' and abs((${text})::numeric) < 9223372036854775807 then (${text})::numeric::bigint end`,
  number: (json, text) => `case when json_typeof(${json}) = 'number' then (${text})::double precision end`,
  boolean: (json, text) => `case when json_typeof(${json}) = 'boolean' then (${text})::boolean end`,
};

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A row with the escape of U+0000, which PostgreSQL cannot read, written past all checks: it has no fields. */
const READABLE = `case when strpos(p."row"::text, '\\u0000') > 0 and p."row"::text ~ '(?<!\\\\)(\\\\\\\\)*\\\\u0000'
    then '{}'::json else p."row" end`;

/**
 * Returns the query of a projection's view: the key, the position, and a column per field of the rows that readers see.
 *
 * @param shape The shape of its rows.
 * @returns SQL; `annals.` stands for the configured schema.
 */
export function viewQuery(shape: ProjectionShape): string {
  const columns = viewColumns(shape).map(({ column, field, type }) => {
    const json = `r."row"->${literal(field)}`;
    return `${COLUMNS[type]?.(json, `r."row"->>${literal(field)}`) ?? json} as "${column}"`;
  });
  // New fields come last: PostgreSQL can add them to a view that others are built on.
  const all = ["p.key", "p.position", ...columns, ...(columns.length === 0 ? [`p."row"`] : [])];
  const name = literal(shape.name);
  return `select ${all.join(", ")} from annals.projections p, lateral (select ${READABLE} as "row" offset 0) r
    where p.projection = coalesce((select g.rows from annals.generations g where g.projection = ${name} and g.is_active), ${name})`;
}

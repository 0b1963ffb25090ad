/** The shape of a projection's rows, as far as its schema declares it. */
export interface ProjectionShape {
  /** The projection's name. */
  readonly name: string;
  /** Its fields with their JSON types; empty if the schema does not declare them. */
  readonly fields: readonly { readonly name: string; readonly type: string }[];
}

/**
 * Columns by JSON type. A row of an earlier schema may have something else, and JSON has integers that are too large for
 * a bigint: such a value is null, instead of failing whoever reads the view.
 */
const COLUMNS: Readonly<Record<string, (json: string, text: string) => string>> = {
  string: (_json, text) => text,
  integer: (json, text) =>
    `case when json_typeof(${json}) = 'number' and abs((${text})::numeric) < 9223372036854775807 then (${text})::numeric::bigint end`,
  number: (json, text) => `case when json_typeof(${json}) = 'number' then (${text})::double precision end`,
  boolean: (json, text) => `case when json_typeof(${json}) = 'boolean' then (${text})::boolean end`,
};

function snake(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").replaceAll(/\W+/g, "_").toLowerCase();
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Returns the name of a projection's view: `AccountSummary` is `projection_account_summary`. */
export function viewName(projection: string): string {
  return `projection_${snake(projection)}`.slice(0, 63);
}

/**
 * Returns the query of a projection's view: the key, the position, and a column per field.
 *
 * @param shape The shape of its rows.
 * @returns SQL; `annals.` stands for the configured schema.
 */
export function viewQuery({ name, fields }: ProjectionShape): string {
  const taken = new Set(["key", "position", "row"]);
  const columns = fields.map((field) => {
    let column = snake(field.name);
    while (taken.has(column)) column += "_";
    taken.add(column);
    const json = `p."row"->${literal(field.name)}`;
    const typed = COLUMNS[field.type];
    return `${typed?.(json, `p."row"->>${literal(field.name)}`) ?? json} as "${column}"`;
  });
  // New fields come last: PostgreSQL can add them to a view that others are built on.
  const all = ["p.key", "p.position", ...columns, ...(columns.length === 0 ? [`p."row"`] : [])];
  return `select ${all.join(", ")} from annals.projections p where p.projection = ${literal(name)}`;
}

/** What a projection's rows look like, as far as its schema tells. */
export interface ProjectionShape {
  /** The projection's name. */
  readonly name: string;
  /** Its fields with their JSON types; empty when the schema does not tell. */
  readonly fields: readonly { readonly name: string; readonly type: string }[];
}

/** JSON types as columns. */
const COLUMNS: Readonly<Record<string, string>> = {
  string: "text",
  integer: "bigint",
  number: "double precision",
  boolean: "boolean",
};

function snake(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").replaceAll(/\W+/g, "_").toLowerCase();
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** The view of a projection: `AccountSummary` is `projection_account_summary`. */
export function viewName(projection: string): string {
  return `projection_${snake(projection)}`.slice(0, 63);
}

/**
 * The query behind a projection's view: its key, a column for each field, and the position it is up to date with.
 *
 * @param shape What its rows look like.
 * @returns SQL; `annals.` stands for the configured schema.
 */
export function viewQuery({ name, fields }: ProjectionShape): string {
  const taken = new Set(["key", "position", "row"]);
  const columns = fields.map((field) => {
    let column = snake(field.name);
    while (taken.has(column)) column += "_";
    taken.add(column);
    const type = COLUMNS[field.type];
    const value = type ? `(p."row"->>${literal(field.name)})::${type}` : `p."row"->${literal(field.name)}`;
    return `${value} as "${column}"`;
  });
  const all = ["p.key", ...columns, ...(columns.length === 0 ? [`p."row"`] : []), "p.position"];
  return `select ${all.join(", ")} from annals.projections p where p.projection = ${literal(name)}`;
}

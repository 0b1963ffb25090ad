/** The shape of a projection's rows, as far as its schema declares it. */
export interface ProjectionShape {
  /** The projection's name. */
  readonly name: string;
  /** Its fields with their JSON types; empty if the schema does not declare them. */
  readonly fields: readonly { readonly name: string; readonly type: string }[];
}

/** Column types by JSON type. */
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

/** Returns the name of a projection's view: `AccountSummary` is `projection_account_summary`. */
export function viewName(projection: string): string {
  return `projection_${snake(projection)}`.slice(0, 63);
}

/**
 * Returns the query of a projection's view: the key, a column per field, and the position.
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
    const type = COLUMNS[field.type];
    const value = type ? `(p."row"->>${literal(field.name)})::${type}` : `p."row"->${literal(field.name)}`;
    return `${value} as "${column}"`;
  });
  const all = ["p.key", ...columns, ...(columns.length === 0 ? [`p."row"`] : []), "p.position"];
  return `select ${all.join(", ")} from annals.projections p where p.projection = ${literal(name)}`;
}

/** The shape of a projection's rows, as far as its schema declares it. */
export interface ProjectionShape {
  /** The projection's name. */
  readonly name: string;
  /** Its fields with their JSON types; empty if the schema does not declare them. */
  readonly fields: readonly { readonly name: string; readonly type: string }[];
}

/** A column of a view. */
export interface ViewColumn {
  /** Its name. */
  readonly column: string;
  /** The field of the row. */
  readonly field: string;
  /** The field's JSON type. */
  readonly type: string;
}

/** PostgreSQL's names have at most 63 bytes; some are left for a number. */
const LONGEST_COLUMN = 56;

/** PostgreSQL's views have at most so many columns, about. */
const MOST_COLUMNS = 1_000;

function snake(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").replaceAll(/\W+/g, "_").toLowerCase();
}

/** Returns the name of a projection's view: `AccountSummary` is `projection_account_summary`. */
export function viewName(projection: string): string {
  return `projection_${snake(projection)}`.slice(0, 63);
}

/**
 * Names the views of projections.
 *
 * @param shapes The projections.
 * @returns Each with the name of its view, and what could not be named.
 */
export function namedViews(shapes: readonly ProjectionShape[]): {
  readonly views: readonly { readonly name: string; readonly shape: ProjectionShape }[];
  readonly warnings: string[];
} {
  const published = new Map<string, ProjectionShape>();
  const warnings: string[] = [];
  for (const shape of shapes) {
    const name = viewName(shape.name);
    const other = published.get(name);
    if (other === undefined) published.set(name, shape);
    else {
      warnings.push(
        `Projection "${shape.name}" has no view: its name would be that of "${other.name}" (${name}); rename one`,
      );
    }
  }
  return { views: [...published].map(([name, shape]) => ({ name, shape })), warnings };
}

/** Returns the columns of a projection's view besides its key and position, one for each field. */
export function viewColumns({ fields }: ProjectionShape): ViewColumn[] {
  const taken = new Set(["key", "position", "row"]);
  const shown = fields.filter(({ name }) => name !== "" && !/["\\\0]/.test(name)).slice(0, MOST_COLUMNS);
  return shown.map(({ name: field, type }) => {
    const name = snake(field).slice(0, LONGEST_COLUMN);
    let column = name;
    for (let n = 2; taken.has(column); n++) column = n === 2 ? `${name}_` : `${name}_${n}`;
    taken.add(column);
    return { column, field, type };
  });
}

/** A value that fields of rows are compared with. */
export type FieldValue = string | number | boolean;

/** A field of rows, as it is compared. */
export interface RowField {
  /** Its name. */
  readonly name: string;
  /** How its values are compared; others count as null, which comes before all. */
  readonly type: "string" | "number" | "boolean";
  /** Whether it is what rows are known by. */
  readonly isKey: boolean;
}

/** What a field of a row has to be like. */
export type RowCondition =
  | {
    readonly field: RowField;
    /** `ne` is true of null, all others are not. */
    readonly is: "eq" | "ne" | "gt" | "gte" | "lt" | "lte";
    readonly value: FieldValue;
  }
  | { readonly field: RowField; readonly is: "in"; readonly values: readonly FieldValue[] }
  | { readonly field: RowField; readonly is: "null" | "not null" };

/** By which field rows are ordered. */
export interface RowOrder {
  /** The field. */
  readonly field: RowField;
  /** Whether the largest comes first. */
  readonly descending: boolean;
}

/** Where a page of rows begins: behind a row with these values. */
export interface RowBound {
  /** The values of the fields that rows are ordered by. */
  readonly values: readonly (FieldValue | null)[];
  /** The row's key. */
  readonly key: string;
}

/** Which rows of a projection, in which order; `key` decides between equals, downwards if the last field is. */
export interface RowQuery {
  /** The projection, or one of its generations. */
  readonly projection: string;
  /** All of these hold. */
  readonly where: readonly RowCondition[];
  /** In this order. */
  readonly orderBy: readonly RowOrder[];
  /** Only rows behind this one. @default {from the first} */
  readonly after?: RowBound;
  /** At most so many. */
  readonly limit: number;
  /** The fields of the index that answers it; stores that choose badly are told. @default {the store chooses} */
  readonly index?: readonly RowField[];
}

/** An index of the rows of one generation. */
export interface RowIndex {
  /** The generation's rows, as by `rowsOf`. */
  readonly projection: string;
  /** The fields, the most significant first. */
  readonly fields: readonly RowField[];
}

/** How one database spells what rows are compared by. */
export interface RowDialect {
  /** What a field is compared and ordered by: null has the smallest value, so that no comparison is of null. */
  readonly sortKey: (field: RowField) => string;
  /** Whether a field has a value of its type. */
  readonly isThere: (field: RowField) => string;
  /** A parameter of the type of a field. */
  readonly parameter: (value: FieldValue, field: RowField) => string;
  /** A list of parameters. */
  readonly among: (values: readonly FieldValue[], field: RowField) => string;
  /** The smallest value of a field, for null. */
  readonly smallest: (field: RowField) => string;
  /** Whether an index can begin behind several values at once; otherwise behind the first one. */
  readonly seeksRows: boolean;
  /** The column of the key, and a parameter for it. */
  readonly key: string;
  readonly keyParameter: (key: string) => string;
}

const OPERATORS = { eq: "=", gt: ">", gte: ">=", lt: "<", lte: "<=" } as const;

function conditionSql(condition: RowCondition, dialect: RowDialect): string {
  const { field } = condition;
  const [left, there] = [dialect.sortKey(field), dialect.isThere(field)];
  switch (condition.is) {
    case "null":
      // As an index has it; the empty text is as small.
      return field.type === "string"
        ? `(${left} = ${dialect.smallest(field)} and not ${there})`
        : `${left} = ${dialect.smallest(field)}`;
    case "not null":
      return field.type === "string" ? there : `${left} > ${dialect.smallest(field)}`;
    case "ne":
      return `(not ${there} or ${left} <> ${dialect.parameter(condition.value, field)})`;
    case "in": {
      const among = `${left} ${dialect.among(condition.values, field)}`;
      return condition.values.includes("") ? `(${among} and ${there})` : among;
    }
    default: {
      const compared = `${left} ${OPERATORS[condition.is]} ${dialect.parameter(condition.value, field)}`;
      // Null is smaller than all, and as small as the empty text.
      const isSure = !condition.is.startsWith("lt") && condition.value !== "";
      if (isSure) return compared;
      return `(${compared} and ${field.type === "string" ? there : `${left} > ${dialect.smallest(field)}`})`;
    }
  }
}

/** Where an index can begin: at the first value. */
function beginning(
  side: { readonly left: string; readonly right: () => string; readonly descending: boolean },
): string {
  return `${side.left} ${side.descending ? "<=" : ">="} ${side.right()}`;
}

/** The rows behind another one: equal in some fields, and then behind it. */
function boundSql({ values, key }: RowBound, orderBy: readonly RowOrder[], dialect: RowDialect): string {
  const down = orderBy.at(-1)?.descending ?? false;
  const sides = [
    ...orderBy.map(({ field, descending }, i) => {
      const value = values[i];
      const right = () => value === null ? dialect.smallest(field) : dialect.parameter(value, field);
      return { left: dialect.sortKey(field), right, descending };
    }),
    { left: dialect.key, right: () => dialect.keyParameter(key), descending: down },
  ];
  if (sides.every(({ descending }) => descending === down)) {
    // As a whole, an index can begin there.
    const whole = () =>
      `(${sides.map(({ left }) => left).join(", ")}) ${down ? "<" : ">"} (${
        sides.map(({ right }) => right()).join(", ")
      })`;
    return dialect.seeksRows ? whole() : `${beginning(sides[0])} and ${whole()}`;
  }
  const begin = beginning(sides[0]);
  const cases = sides.map(({ left, right, descending }, i) =>
    [
      ...sides.slice(0, i).map((equal) => `${equal.left} = ${equal.right()}`),
      `${left} ${descending ? "<" : ">"} ${right()}`,
    ].join(" and ")
  );
  return `${begin} and (${cases.map((one) => `(${one})`).join(" or ")})`;
}

/**
 * Spells a query in SQL, without its projection and its limit.
 *
 * @param query The query.
 * @param dialect The database's dialect.
 */
export function rowQuerySql(
  { where, orderBy, after }: Pick<RowQuery, "where" | "orderBy" | "after">,
  dialect: RowDialect,
): { readonly conditions: string[]; readonly order: string } {
  const conditions = where.map((condition) => conditionSql(condition, dialect));
  if (after) conditions.push(boundSql(after, orderBy, dialect));
  const order = orderBy.map(({ field, descending }) => `${dialect.sortKey(field)}${descending ? " desc" : ""}`);
  order.push(`${dialect.key}${orderBy.at(-1)?.descending ? " desc" : ""}`);
  return { conditions, order: order.join(", ") };
}

/** Compares texts by code points, as databases do; JavaScript compares halves of characters. */
export function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    // Halves of characters beyond U+FFFF come after all others.
    const isHalf = (code: number) => code >= 0xd800 && code <= 0xdfff;
    return isHalf(x) !== isHalf(y) ? isHalf(x) ? 1 : -1 : x - y;
  }
  return a.length - b.length;
}

type Row = { readonly key: string; readonly value: Record<string, unknown> };

/** The value of a field of a row; `null` if it is of another type. */
export function fieldValue({ key, value }: Row, { name, type, isKey }: RowField): FieldValue | null {
  const found = isKey ? key : value?.[name];
  const typeOf: string = typeof found;
  return typeOf === type ? found as FieldValue : null;
}

function compare(a: FieldValue | null, b: FieldValue | null): number {
  // The empty text is as small as null: in databases, null has to be one of the values of an index.
  if (typeof (a ?? b) === "string") return compareTexts(a as string ?? "", b as string ?? "");
  const [x, y] = [a === null ? -Infinity : Number(a), b === null ? -Infinity : Number(b)];
  return x === y ? 0 : x < y ? -1 : 1;
}

function holds(row: Row, condition: RowCondition): boolean {
  const value = fieldValue(row, condition.field);
  switch (condition.is) {
    case "null":
      return value === null;
    case "not null":
      return value !== null;
    case "ne":
      return value !== condition.value;
    case "in":
      return value !== null && condition.values.includes(value);
  }
  if (value === null) return false;
  const difference = compare(value, condition.value);
  switch (condition.is) {
    case "eq":
      return difference === 0;
    case "gt":
      return difference > 0;
    case "gte":
      return difference >= 0;
    case "lt":
      return difference < 0;
    case "lte":
      return difference <= 0;
  }
}

/**
 * Answers a query from rows in memory.
 *
 * @param rows The rows of the projection.
 * @param query The query.
 * @returns The keys of those that it selects, in order.
 */
export function selectRows(
  rows: Iterable<Row>,
  { where, orderBy, after, limit }: Omit<RowQuery, "projection">,
): string[] {
  const down = orderBy.at(-1)?.descending ?? false;
  const orderOf = (row: Row) => ({ key: row.key, values: orderBy.map(({ field }) => fieldValue(row, field)) });
  const order = (a: RowBound, b: RowBound): number => {
    for (const [i, { descending }] of orderBy.entries()) {
      const difference = compare(a.values[i], b.values[i]);
      if (difference !== 0) return descending ? -difference : difference;
    }
    return down ? compareTexts(b.key, a.key) : compareTexts(a.key, b.key);
  };
  const found: RowBound[] = [];
  for (const row of rows) {
    if (!where.every((condition) => holds(row, condition))) continue;
    const place = orderOf(row);
    if (!after || order(place, after) > 0) found.push(place);
  }
  return found.sort(order).slice(0, limit).map(({ key }) => key);
}

import { fromBase64Url, toBase64Url } from "../lib/base64url.ts";
import { didYouMean } from "../lib/did_you_mean.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { isStorable } from "../messages/text.ts";
import { fieldValue } from "../store/row_query.ts";
import type { FieldValue, RowBound, RowCondition, RowField, RowOrder, RowQuery } from "../store/row_query.ts";
import type { Projection } from "./projection.ts";

/** The part of a type that can be compared. */
export type Scalar<V> = Extract<V, string | number | boolean>;

/** What a field's value is compared with: a value, `null`, or an object of conditions that all have to hold. */
export type FieldCondition<V> = [Scalar<V>] extends [never] ? never
  : Scalar<V> | (null extends V ? null : undefined extends V ? null : never) | {
    /** Equal. */
    readonly eq?: Scalar<V>;
    /** Another value, or null. */
    readonly ne?: Scalar<V>;
    /** Greater: texts by code points. */
    readonly gt?: Scalar<V>;
    /** Greater or equal. */
    readonly gte?: Scalar<V>;
    /** Less. */
    readonly lt?: Scalar<V>;
    /** Less or equal. */
    readonly lte?: Scalar<V>;
    /** One of these. */
    readonly in?: readonly Scalar<V>[];
    /** A text that begins with this one. */
    readonly prefix?: [Extract<V, string>] extends [never] ? never : string;
    /** Whether it is null or absent. */
    readonly null?: boolean;
  };

/** Conditions on fields of a row; all have to hold. */
export type Where<Row> = { readonly [Field in keyof Row]?: FieldCondition<Row[Field]> };

/** The fields that rows are ordered by, each `asc` or `desc`, the most significant first. */
export type OrderBy<Row> = readonly (readonly [field: keyof Row & string, direction: "asc" | "desc"])[];

/** Which rows of a projection, in which order. */
export interface QueryOptions<Row> {
  /** Conditions on their fields. @default {none} */
  readonly where?: Where<Row>;
  /** Their order; null comes before all values. @default {that of the index that is used, then by key} */
  readonly orderBy?: OrderBy<Row>;
  /** At most so many, up to 10,000. @default {100} */
  readonly limit?: number;
  /** The `cursor` of the page before. @default {the first page} */
  readonly cursor?: string | null;
  /** Whether all rows of the projection may be read, for lack of an index. @default {false} */
  readonly scan?: boolean;
}

/** A query, ready for a store, and how its next page is found. */
export interface PlannedQuery {
  /** The query. */
  readonly query: RowQuery;
  /** The cursor behind a row. */
  readonly cursorOf: (key: string, row: Record<string, unknown>) => string;
}

/** The largest page. */
const LARGEST_PAGE = 10_000;

const OPERATORS = ["eq", "ne", "gt", "gte", "lt", "lte", "in", "prefix", "null"] as const;
const RANGES: ReadonlySet<RowCondition["is"]> = new Set(["gt", "gte", "lt", "lte", "in"]);

/** What of a projection fields are looked up in. */
type Queried = Pick<Projection, "name" | "key" | "fields">;

/** What of a projection queries are about. */
export type Indexed = Pick<Projection, "name" | "key" | "fields" | "indexes">;

function refuse(projection: Queried, what: string): never {
  throw new DomainDefinitionError(`Cannot query projection "${projection.name}": ${what}`);
}

/** The smallest text that is greater than all that begin with a text; `null` if there is none. */
function afterPrefix(prefix: string): string | null {
  const points = [...prefix];
  while (points.length > 0) {
    const code = points.pop()!.codePointAt(0)!;
    if (code === 0x10ffff) continue;
    // Between these two are halves of characters.
    const next = code === 0xd7ff ? 0xe000 : code + 1;
    return points.join("") + String.fromCodePoint(next);
  }
  return null;
}

const TYPES: Record<string, RowField["type"]> = {
  string: "string",
  number: "number",
  integer: "number",
  boolean: "boolean",
};

/**
 * Says how a field of rows is compared.
 *
 * @param projection The projection.
 * @param name The field.
 * @param example A value that it is compared with, for schemas that do not say its type.
 * @throws {DomainDefinitionError} If it cannot be compared.
 */
export function rowField(projection: Queried, name: string, example?: unknown): RowField {
  const declared = projection.fields.find((field) => field.name === name);
  if (!declared && projection.fields.length > 0) {
    const names = projection.fields.map((field) => field.name);
    refuse(projection, `its rows have no field ${JSON.stringify(name)}${didYouMean(name, names)}`);
  }
  if (/["\\]/.test(name) || !isStorable(name)) {
    refuse(projection, `no field called ${JSON.stringify(name)} can be compared`);
  }
  // Keys are texts, whatever a schema does not say.
  const found = declared ? TYPES[declared.type] : name === projection.key ? "string" : TYPES[typeof example];
  if (found === undefined) {
    refuse(
      projection,
      declared
        ? `field "${name}" is neither text nor number nor boolean, so it cannot be compared`
        : `its schema does not say what type field "${name}" has; use one that does, like zod's`,
    );
  }
  // A key that is a number is stored as text, and compared as the number that is in the row.
  return { name, type: found, isKey: name === projection.key && found === "string" };
}

function checkValue(projection: Queried, { name, type }: RowField, value: unknown): FieldValue {
  const given: string = typeof value;
  if (given !== type) {
    refuse(projection, `field "${name}" is a ${type}, and is compared with ${shown(value)}`);
  }
  if (typeof value === "number" && !Number.isFinite(value)) refuse(projection, `field "${name}" cannot be ${value}`);
  if (typeof value === "string" && !isStorable(value)) {
    refuse(projection, `field "${name}" is compared with a text that cannot be stored`);
  }
  return value as FieldValue;
}

/** Whether something is an object of its own fields only: neither a Date nor a list. */
function isPlain(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Shows a value in an error, whatever it is. */
function shown(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

function conditionsOn(projection: Queried, name: string, given: unknown): RowCondition[] {
  if (given === undefined) {
    refuse(projection, `the condition on "${name}" is undefined; leave it out, or say null`);
  }
  if (given === null) return [{ field: rowField(projection, name), is: "null" }];
  if (typeof given !== "object") {
    const field = rowField(projection, name, given);
    return [{ field, is: "eq", value: checkValue(projection, field, given) }];
  }
  const conditions: RowCondition[] = [];
  if (!isPlain(given) || Object.keys(given as object).length === 0) {
    refuse(
      projection,
      `the condition on "${name}" is neither a value nor an object of conditions, like { ${name}: { gte: … } }`,
    );
  }
  for (const [operator, operand] of Object.entries(given as object)) {
    if (!(OPERATORS as readonly string[]).includes(operator)) {
      refuse(projection, `there is no condition "${operator}" on "${name}"${didYouMean(operator, [...OPERATORS])}`);
    }
    if (operand === undefined) refuse(projection, `"${operator}" of "${name}" is undefined; leave it out`);
    if (operator === "null") {
      if (typeof operand !== "boolean") refuse(projection, `"null" of "${name}" is true or false`);
      conditions.push({ field: rowField(projection, name), is: operand ? "null" : "not null" });
    } else if (operator === "in") {
      if (!Array.isArray(operand) || operand.length > 1_000 || Object.keys(operand).length !== operand.length) {
        refuse(projection, `"in" of "${name}" takes a list of at most 1,000 values`);
      }
      const field = rowField(projection, name, operand[0] ?? "");
      conditions.push({ field, is: "in", values: operand.map((value) => checkValue(projection, field, value)) });
    } else if (operator === "prefix") {
      const field = rowField(projection, name, operand);
      if (field.type !== "string") refuse(projection, `"prefix" of "${name}" needs a text`);
      const prefix = checkValue(projection, field, operand) as string;
      const end = afterPrefix(prefix);
      conditions.push(
        { field, is: "gte", value: prefix },
        ...(end === null ? [] : [{ field, is: "lt", value: end }] as const),
      );
    } else {
      const field = rowField(projection, name, operand);
      conditions.push({ field, is: operator as "eq", value: checkValue(projection, field, operand) });
    }
  }
  return conditions;
}

/** How well an index answers a query; `null` if not at all. */
function useOf(
  index: readonly string[],
  where: readonly RowCondition[],
  orderBy: readonly RowOrder[] | null,
): { readonly narrows: number; readonly rest: readonly string[] } | null {
  const equal = new Set(where.filter(({ is }) => is === "eq" || is === "null").map(({ field }) => field.name));
  let narrows = 0;
  while (narrows < index.length && equal.has(index[narrows])) narrows++;
  const rest = index.slice(narrows);
  const isRange = where.some(({ is, field }) => RANGES.has(is) && field.name === rest[0]);
  const sorted = (orderBy ?? []).filter(({ field }) => !equal.has(field.name));
  const isSorted = sorted.every(({ field, descending }, i) =>
    field.name === rest[i] && descending === sorted[0].descending
  );
  if (!isSorted) return null;
  if (narrows === 0 && !isRange && (where.length > 0 || sorted.length === 0)) return null;
  return { narrows: 2 * narrows + Number(isRange), rest };
}

function readCursor(projection: Queried, text: unknown, signature: string, fields: readonly RowField[]): RowBound {
  try {
    const [of, key, ...values] = JSON.parse(fromBase64Url(String(text))) as unknown[];
    const fits = of === signature && typeof key === "string" && values.length === fields.length &&
      values.every((value, i) => value === null || typeof value === fields[i].type);
    const texts = [key, ...values].filter((value) => typeof value === "string");
    if (fits && texts.every((text) => isStorable(text as string))) {
      return { key, values: values as (FieldValue | null)[] };
    }
  } catch {
    // It is refused.
  }
  return refuse(projection, "the cursor is not of this query; pass the one of the page before, with the same order");
}

/**
 * Plans a query.
 *
 * @param projection The projection.
 * @param options What is asked, from code that may not be typed.
 * @returns The query.
 * @throws {DomainDefinitionError} If it asks for what there is not, or no index answers it and `scan` is not set.
 */
export function planQuery(projection: Indexed, options: QueryOptions<any> = {}): PlannedQuery {
  if (!isPlain(options)) refuse(projection, "its options are no object");
  if (options.where !== undefined && !isPlain(options.where)) refuse(projection, "where is no object of conditions");
  if (options.orderBy !== undefined && !Array.isArray(options.orderBy)) {
    refuse(projection, 'orderBy is a list of fields, like [["balance", "desc"]]');
  }
  if (options.scan !== undefined && typeof options.scan !== "boolean") refuse(projection, "scan is true or false");
  const known = ["where", "orderBy", "limit", "cursor", "scan", "after", "timeout"];
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) refuse(projection, `there is no option "${name}"${didYouMean(name, known)}`);
  }
  const { limit = 100, cursor, scan = false } = options;
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > LARGEST_PAGE) {
    refuse(projection, `limit is a whole number from 1 to ${LARGEST_PAGE}, and is ${limit}`);
  }
  const where = Object.entries(options.where ?? {}).flatMap(([name, given]) => conditionsOn(projection, name, given));
  const asked = options.orderBy?.map((entry): RowOrder => {
    const [name, direction] = Array.isArray(entry) ? entry : [entry, "asc"];
    if (direction !== "asc" && direction !== "desc") {
      refuse(projection, `the order of "${name}" is "asc" or "desc", like orderBy: [["${name}", "asc"]]`);
    }
    return { field: rowField(projection, String(name)), descending: direction === "desc" };
  }) ?? null;
  // Rows are stored by their keys as texts: numbers are in another order.
  const isTextKey = (projection.fields.find(({ name }) => name === projection.key)?.type ?? "string") === "string";
  const ways: (readonly string[])[] = [...(isTextKey ? [[projection.key]] : []), ...projection.indexes];
  const uses = ways.flatMap((index) => {
    const use = useOf(index, where, asked);
    return use ? [{ ...use, index }] : [];
  });
  const best = uses.sort((a, b) => b.narrows - a.narrows)[0];
  if (best === undefined && !scan && (where.length > 0 || (asked ?? []).length > 0)) {
    const fields = [
      ...new Set([...where.map(({ field }) => field.name), ...asked?.map(({ field }) => field.name) ?? []]),
    ];
    const isDeclared = ways.some((way) => fields.length === way.length && fields.every((name) => way.includes(name)));
    const unanswerable = where.every(({ is }) => is === "ne");
    if (isDeclared || (unanswerable && where.length > 0)) {
      refuse(
        projection,
        `no index answers it (none answers "ne", nor "in" with another order), so all rows would be read; ask otherwise, or allow it with scan: true`,
      );
    }
    const list = fields.length === 1 ? `"${fields[0]}"` : `[${fields.map((name) => `"${name}"`).join(", ")}]`;
    refuse(
      projection,
      `no index answers it, so all rows would be read; declare indexes: [${list}] on the projection, or allow it with scan: true`,
    );
  }
  const fixed = new Set(where.filter(({ is }) => is === "eq" || is === "null").map(({ field }) => field.name));
  // Without an order, it is the one in which the index has them. What is the same in all rows orders nothing.
  const orderBy = asked?.filter(({ field }) => !fixed.has(field.name)) ??
    (best?.rest ?? []).filter((name) => name !== projection.key).map((name) => ({
      field: rowField(projection, name),
      descending: false,
    }));
  const fields = orderBy.map(({ field }) => field);
  const signature = [
    projection.name,
    ...orderBy.map(({ field, descending }) => `${descending ? "-" : ""}${field.name}`),
  ]
    .join(" ");
  const after = cursor === undefined || cursor === null ? undefined : readCursor(projection, cursor, signature, fields);
  return {
    query: {
      projection: projection.name,
      where,
      orderBy,
      limit,
      ...(after && { after }),
      ...(best && projection.indexes.includes(best.index) &&
        { index: best.index.map((name) => rowField(projection, name)) }),
    },
    cursorOf: (key, row) => {
      const values = fields.map((field) => fieldValue({ key, value: row }, field));
      return toBase64Url(JSON.stringify([signature, key, ...values]));
    },
  };
}

/** Plans a count: without conditions, all rows may be counted. */
export function planCount(
  projection: Indexed,
  options: Pick<QueryOptions<any>, "where" | "scan"> = {},
): Pick<RowQuery, "projection" | "where"> {
  const { query: { projection: name, where } } = planQuery(projection, options);
  return { projection: name, where };
}

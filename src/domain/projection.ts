import { DomainDefinitionError } from "../messages/errors.ts";
import { idFault } from "../messages/ids.ts";
import { checkName } from "../messages/names.ts";
import { checkSchema, type OutputOf, type Schema } from "../messages/schema.ts";
import { fieldsOf, type SchemaField } from "../messages/schema_fields.ts";
import { didYouMean } from "../lib/did_you_mean.ts";

/** An index of the rows of a projection: one field, or several, the most significant first. */
export type IndexOf<Row> = (keyof Row & string) | readonly (keyof Row & string)[];

/** Settings of {@linkcode projection}. */
export interface ProjectionOptions<S extends Schema, Key extends string> {
  /** The field of a row that identifies it. */
  readonly key: Key;
  /** The schema of a row. */
  readonly schema: S;
  /**
   * The version of its rows: raise it when they have to be made anew from all events. Meanwhile readers see the rows of
   * the version before.
   *
   * @default {1}
   */
  readonly version?: number;
  /** The fields that rows are found and ordered by, like `["balance", ["status", "balance"]]`. @default {none} */
  readonly indexes?: readonly IndexOf<NoInfer<OutputOf<S>>>[];
}

/** A table of rows that a projector keeps up to date. */
export interface Projection<Name extends string = string, Row = any, Key extends string = string> {
  /** The discriminator of domain parts. */
  readonly kind: "projection";
  /** Its name, unique in the domain. */
  readonly name: Name;
  /** The field of a row that identifies it. */
  readonly key: Key;
  /** The schema of a row. */
  readonly schema: Schema;
  /** The version of its rows. */
  readonly version: number;
  /** Its indexes: lists of fields. */
  readonly indexes: readonly (readonly string[])[];
  /** The fields that its schema declares, with their JSON types. */
  readonly fields: readonly SchemaField[];
  /** Carries the row's type; absent at run time. */
  readonly rowType?: Row;
}

/** The row of a projection. */
export type RowOf<P> = P extends Projection<string, infer Row> ? Row : never;

/**
 * Defines a projection.
 *
 * @param name Its name, unique in the domain.
 * @param options Its key and the schema of its rows.
 * @returns The projection.
 * @throws {DomainDefinitionError} If its name, key or schema cannot be used.
 *
 * @example A row per account
 * ```ts
 * import { projection, type } from "@annals/annals";
 *
 * const Balance = projection("Balance", { key: "accountId", schema: type<{ accountId: string; cents: number }>() });
 * console.log(Balance.key); // accountId
 * ```
 */
export function projection<
  const Name extends string,
  S extends Schema,
  const Key extends keyof OutputOf<S> & string,
>(name: Name, options: ProjectionOptions<S, Key>): Projection<Name, OutputOf<S>, Key> {
  const { key, schema, version = 1 } = options;
  checkName("projection", name, ".-");
  checkSchema(`projection "${name}"`, schema);
  if (typeof key !== "string" || key === "") {
    throw new DomainDefinitionError(`Cannot define projection "${name}": "key" is not the name of a field of its rows`);
  }
  if (!Number.isSafeInteger(version) || version < 1 || version > 1_000_000) {
    throw new DomainDefinitionError(
      `Cannot define projection "${name}": a version is a whole number from 1, and is ${version}`,
    );
  }
  const fields = fieldsOf(schema);
  const indexes = indexesOf(name, options.indexes ?? [], fields);
  return Object.freeze({ kind: "projection" as const, name, key, schema, version, indexes, fields });
}

/** The types of fields that can be compared. */
const COMPARABLE = ["string", "number", "integer", "boolean"];

function indexesOf(name: string, given: readonly unknown[], fields: readonly SchemaField[]): string[][] {
  const refuse = (what: string): never => {
    throw new DomainDefinitionError(`Cannot define projection "${name}": ${what}`);
  };
  if (!Array.isArray(given)) refuse('its indexes are a list, like ["balance", ["status", "balance"]]');
  return given.map((one) => {
    const index: unknown[] = Array.isArray(one) ? one : [one];
    if (index.length === 0 || index.length > 8 || new Set(index).size < index.length) {
      refuse("an index is of one to eight different fields");
    }
    return index.map((field) => {
      const declared = fields.find((known) => known.name === field);
      if (fields.length === 0) {
        refuse(
          `its schema does not say what types its fields have, so it can have no indexes; use one that does, like zod's`,
        );
      }
      if (!declared) {
        refuse(
          `its rows have no field ${JSON.stringify(field)} for an index${
            didYouMean(String(field), fields.map((known) => known.name))
          }`,
        );
      }
      if (!COMPARABLE.includes(declared!.type) || /["\\]/.test(declared!.name)) {
        refuse(`field "${declared!.name}" is neither text nor number nor boolean, so it can have no index`);
      }
      return declared!.name;
    });
  });
}

/**
 * Checks that a text can be the key of a row.
 *
 * @param projection The projection's name.
 * @param key The key.
 * @param who The origin of the key, for the error.
 * @param doing What it is needed for. @default {"write"}
 * @throws {DomainDefinitionError} If it cannot.
 */
export function checkKey(projection: string, key: unknown, who: string, doing: "write" | "read" = "write"): void {
  const fault = idFault(key);
  if (fault === null) return;
  throw new DomainDefinitionError(
    `Cannot ${doing} a row of projection "${projection}": the key from ${who} is wrong: ${fault}`,
  );
}

/**
 * Checks that something is a projection.
 *
 * @param projection What a handler has passed.
 * @throws {DomainDefinitionError} If it is none.
 */
export function checkProjection(projection: unknown): void {
  if ((projection as { kind?: unknown } | null | undefined)?.kind === "projection") return;
  const given = typeof projection === "string" ? JSON.stringify(projection) : String(projection);
  throw new DomainDefinitionError(`Cannot use ${given} as a projection; pass what projection() returned`);
}

import { DomainDefinitionError } from "../messages/errors.ts";
import { idFault } from "../messages/ids.ts";
import { checkName } from "../messages/names.ts";
import { checkSchema, type OutputOf, type Schema } from "../messages/schema.ts";

/** Settings of {@linkcode projection}. */
export interface ProjectionOptions<S extends Schema, Key extends string> {
  /** The field of a row that identifies it. */
  readonly key: Key;
  /** The schema of a row. */
  readonly schema: S;
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
  const { key, schema } = options;
  checkName("projection", name, ".-");
  checkSchema(`projection "${name}"`, schema);
  if (typeof key !== "string" || key === "") {
    throw new DomainDefinitionError(`Cannot define projection "${name}": "key" is not the name of a field of its rows`);
  }
  return Object.freeze({ kind: "projection" as const, name, key, schema });
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

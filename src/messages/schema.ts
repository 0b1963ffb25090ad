import { DomainDefinitionError, type Fault, PayloadError } from "./errors.ts";
import { extendPath, jsonFaults } from "./json.ts";

/** A fault found by a validator. */
export interface SchemaIssue {
  /** What is wrong. */
  readonly message: string;
  /** The path of keys to the fault. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** A validator's result: the parsed value, or the faults. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/**
 * Any validator that implements Standard Schema v1 (https://standardschema.dev): zod, valibot, arktype and others. The
 * interface is copied here, as the specification suggests, to avoid a dependency.
 */
export interface Schema<Input = any, Output = any> {
  /** The contract of Standard Schema. */
  readonly "~standard": {
    /** The version of the contract. */
    readonly version: 1;
    /** The name of the library that implements it. */
    readonly vendor: string;
    /** Validates a value. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Carries the types; absent at run time. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** The input type of a schema. */
export type InputOf<S extends Schema> = NonNullable<S["~standard"]["types"]>["input"];

/** The output type of a schema. */
export type OutputOf<S extends Schema> = NonNullable<S["~standard"]["types"]>["output"];

/**
 * Creates a schema from a TypeScript type, checked by the compiler but not at run time (JSON is still enforced).
 *
 * @returns A schema that accepts every JSON value as a `T`.
 *
 * @example A payload without a run-time check
 * ```ts
 * import { event, type } from "@annals/annals";
 *
 * const NoteTaken = event("NoteTaken", { schema: type<{ text: string }>() });
 * NoteTaken({ text: "milk" });
 * ```
 */
export function type<T>(): Schema<T, T> {
  return { "~standard": { version: 1, vendor: "annals", validate: (value) => ({ value: value as T }) } };
}

/**
 * Checks that something is a schema.
 *
 * @param owner What it belongs to, like `event "Deposited"`.
 * @param schema What was passed.
 * @throws {DomainDefinitionError} If it is none.
 */
export function checkSchema(owner: string, schema: unknown): void {
  if (typeof (schema as Partial<Schema> | null | undefined)?.["~standard"]?.validate === "function") return;
  throw new DomainDefinitionError(
    `Cannot define ${owner}: its schema is not a Standard Schema; use zod, valibot, arktype or type<T>()`,
  );
}

function pathOf(issue: SchemaIssue): string {
  let path = "";
  for (const step of issue.path ?? []) path = extendPath(path, typeof step === "object" ? step.key : step);
  return path;
}

/**
 * Validates a payload against its schema and ensures it is JSON.
 *
 * @param name The message type, for the error.
 * @param schema Its schema.
 * @param value The payload.
 * @returns The parsed payload.
 * @throws {PayloadError} If it does not match the schema or is not JSON; each fault carries its path.
 */
export function validate<S extends Schema>(name: string, schema: S, value: unknown): OutputOf<S> {
  const output = parsed(name, schema, value);
  const faults = jsonFaults(output);
  if (faults.length > 0) throw new PayloadError(name, faults);
  return output;
}

/**
 * Validates a value against a schema.
 *
 * @param name What it is, for the error.
 * @param schema The schema.
 * @param value The value.
 * @returns What the schema makes of it, which may be no JSON.
 * @throws {PayloadError} If it does not match the schema.
 */
export function parsed<S extends Schema>(name: string, schema: S, value: unknown): OutputOf<S> {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new PayloadError(name, [{
      path: "",
      message: "its schema validates asynchronously, or threw an error (zod does not say which); it has to do neither",
    }]);
  }
  if (result.issues) {
    throw new PayloadError(
      name,
      result.issues.map((issue): Fault => ({ path: pathOf(issue), message: issue.message })),
    );
  }
  return result.value as OutputOf<S>;
}

import { PayloadError } from "./errors.ts";
import { extendPath, type Fault, jsonFaults } from "./json.ts";

/** Something that a validator found wrong. */
export interface SchemaIssue {
  /** What is wrong. */
  readonly message: string;
  /** Where: the keys that lead there. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a validator answers: the value it made, or what is wrong. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/**
 * Any validator that implements Standard Schema v1 (https://standardschema.dev): zod, valibot, arktype and others.
 * The interface is written out here, as the specification invites to, so that the core has no dependency for it.
 */
export interface Schema<Input = any, Output = any> {
  /** The contract of Standard Schema. */
  readonly "~standard": {
    /** The version of the contract. */
    readonly version: 1;
    /** Who implements it. */
    readonly vendor: string;
    /** Checks a value. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Carries the types; never there at run time. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** What a schema accepts. */
export type InputOf<S extends Schema> = NonNullable<S["~standard"]["types"]>["input"];

/** What a schema gives. */
export type OutputOf<S extends Schema> = NonNullable<S["~standard"]["types"]>["output"];

/**
 * Makes a schema of a TypeScript type alone: checked by the compiler, not at run time (JSON is still enforced).
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

function pathOf(issue: SchemaIssue): string {
  let path = "";
  for (const step of issue.path ?? []) path = extendPath(path, typeof step === "object" ? step.key : step);
  return path;
}

/**
 * Checks a payload against its schema and against JSON.
 *
 * @param name The message type, for the error.
 * @param schema The schema to hold against it.
 * @param value The payload.
 * @returns What the schema made of the payload.
 * @throws {PayloadError} When the schema or JSON refuses it; each fault carries its path.
 */
export function validate<S extends Schema>(name: string, schema: S, value: unknown): OutputOf<S> {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new PayloadError(name, [{ path: "", message: "its schema is asynchronous; use one that answers at once" }]);
  }
  if (result.issues) {
    throw new PayloadError(
      name,
      result.issues.map((issue): Fault => ({ path: pathOf(issue), message: issue.message })),
    );
  }
  const faults = jsonFaults(result.value);
  if (faults.length > 0) throw new PayloadError(name, faults);
  return result.value as OutputOf<S>;
}

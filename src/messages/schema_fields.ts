import type { Schema } from "./schema.ts";

/** A field of an object, as far as its schema declares it. */
export interface SchemaField {
  /** Its name. */
  readonly name: string;
  /** Its JSON type, like `string`; `json` if it has several. */
  readonly type: string;
}

/**
 * Returns the fields that a schema declares, through Standard JSON Schema (https://standardschema.dev/json-schema).
 *
 * @param schema The schema.
 * @returns The fields; none if the schema does not say.
 */
export function fieldsOf(schema: Schema): SchemaField[] {
  const { properties = {} } = jsonSchemaOf(schema, "output");
  return Object.entries(properties as Record<string, Record<string, any>>).map(([name, field]) => ({
    name,
    type: typeOf(field),
  }));
}

/**
 * Returns what a schema takes or makes as JSON Schema, through Standard JSON Schema (https://standardschema.dev/json-schema).
 *
 * @param schema The schema.
 * @param side Whether what it takes, or what it makes of it.
 * @returns JSON Schema, draft 2020-12; an empty one, which allows everything, if the schema does not say.
 */
export function jsonSchemaOf(schema: Schema, side: "input" | "output"): Record<string, unknown> {
  type Convert = (options: object) => Record<string, unknown>;
  const standard = schema["~standard"] as { jsonSchema?: Readonly<Record<"input" | "output", Convert>> };
  try {
    return standard.jsonSchema?.[side]({ target: "draft-2020-12" }) ?? {};
  } catch {
    // The schema uses something that JSON Schema cannot express.
    return {};
  }
}

/** The type of a field, ignoring null; `json` if there are several. */
function typeOf(field: Record<string, any>): string {
  const given: unknown[] = field.anyOf?.map((one: Record<string, unknown>) => one.type) ?? [field.type].flat();
  const types = new Set(given.filter((type) => type !== "null"));
  if (field.enum?.every((value: unknown) => typeof value === "string")) return "string";
  const [type] = types;
  return types.size === 1 && typeof type === "string" ? type : "json";
}

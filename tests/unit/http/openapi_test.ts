import assert from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import { z } from "zod";
import { openApiOf } from "../../../src/http/api/openapi.ts";
import { jsonSchemaOf } from "../../../src/messages/schema_fields.ts";
import { type } from "../../../src/messages/schema.ts";

Deno.test("the description of a domain is OpenAPI, whatever its schemas are and its types are called", async () => {
  const tree: z.ZodType = z.object({
    name: z.string(),
    get children() {
      return z.array(tree);
    },
  });
  const shared = z.object({ id: z.uuid() }).meta({ id: "Größe/ü" });
  const schemas = {
    commands: {
      Plant: jsonSchemaOf(tree, "input"),
      Say: jsonSchemaOf(type<{ text: string }>(), "input"),
      "Sizes.Set": jsonSchemaOf(z.object({ one: shared, other: shared.nullable() }), "input"),
    },
    events: { Planted: jsonSchemaOf(z.union([tree, z.record(z.string(), z.bigint().transform(String))]), "output") },
    projections: { Trees: jsonSchemaOf(z.object({ id: z.string(), size: z.number().default(1) }), "output") },
  };
  const described = openApiOf("trees", schemas) as any;
  assert.deepEqual(await new Validator().validate(structuredClone(described)), { valid: true });
  assert.match(described.components.schemas["command-Say"].description, /cannot say/);
  const { description: _, ...wrong } = described.paths["/commands/Say"].post.responses[200];
  described.paths["/commands/Say"].post.responses[200] = wrong;
  assert.equal((await new Validator().validate(described)).valid, false, "what is wrong is seen");
});

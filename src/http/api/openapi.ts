import denoJson from "../../../deno.json" with { type: "json" };
import type { DomainSchemas, JsonSchema } from "../../isolation/protocol.ts";

/** Answers that say what is wrong. */
const PROBLEM = {
  description: "What is wrong, and what to do",
  content: {
    "application/problem+json": {
      schema: {
        type: "object",
        required: ["title", "status"],
        properties: {
          title: { type: "string" },
          status: { type: "integer" },
          faults: {
            type: "array",
            items: {
              type: "object",
              properties: { path: { type: "string" }, message: { type: "string" } },
            },
          },
        },
      },
    },
  },
};

const OUTCOME = {
  oneOf: [
    { type: "null" },
    {
      type: "object",
      required: ["status", "events"],
      properties: { status: { const: "accepted" }, events: { type: "array", items: { type: "string" } } },
    },
    {
      type: "object",
      required: ["status", "field", "rule", "message"],
      properties: {
        status: { const: "refused" },
        field: { type: "string" },
        rule: { type: "string" },
        message: { type: "string" },
      },
    },
    {
      type: "object",
      required: ["status", "message"],
      properties: { status: { const: "failed" }, message: { type: "string" } },
    },
  ],
};

const SENT = {
  type: "object",
  required: ["commandId", "aggregateId", "repeated", "token", "outcome"],
  properties: {
    commandId: { type: "string", format: "uuid" },
    aggregateId: { type: "string" },
    position: { type: "integer" },
    repeated: { type: "boolean" },
    token: { type: "string", description: "What a read is to be After, to see what came of the command" },
    outcome: OUTCOME,
  },
};

const json = (description: string, schema: JsonSchema) => ({
  description,
  content: { "application/json": { schema } },
});

const text = (name: string, place: "query" | "header", description: string) => ({
  name,
  in: place,
  description,
  schema: { type: "string" },
});

const PREFER = text("Prefer", "header", "How long to wait, like wait=2");
const AFTER = text("After", "header", "The token of a command: its events are in what is read");

/** A name as it may be that of a component; references escape some characters. */
function allowed(name: string): string {
  return name.replaceAll("~1", "/").replaceAll("~0", "~").replaceAll(/[^\w.-]/g, "_");
}

/** Schemas that others refer to. */
class Components {
  readonly schemas: Record<string, JsonSchema> = {};

  /** Adds a schema with its own definitions; returns a reference to it. */
  add(name: string, { $schema: _, $defs = {}, ...schema }: JsonSchema): JsonSchema {
    const place = (of: string) => `#/components/schemas/${of}`;
    // References within a schema are from the root of the document.
    const moved = (part: unknown): unknown => {
      if (Array.isArray(part)) return part.map(moved);
      if (typeof part !== "object" || part === null) return part;
      return Object.fromEntries(
        Object.entries(part).map(([key, value]) => {
          if (key !== "$ref" || typeof value !== "string") return [key, moved(value)];
          return [
            key,
            value === "#"
              ? place(name)
              : value.replace(/^#\/\$defs\/(.*)$/, (_all, own) => `${place(name)}.${allowed(own)}`),
          ];
        }),
      );
    };
    for (const [own, definition] of Object.entries($defs as Record<string, JsonSchema>)) {
      this.schemas[`${name}.${allowed(own)}`] = moved(definition) as JsonSchema;
    }
    // A library that has no Standard JSON Schema, or a type without a check.
    const isSilent = Object.keys(schema).length === 0;
    this.schemas[name] = isSilent
      ? { description: "Any JSON here: its schema cannot say what it takes; what it refuses is answered with 422" }
      : moved(schema) as JsonSchema;
    return { $ref: place(name) };
  }
}

/**
 * Describes the API of a domain (OpenAPI 3.1).
 *
 * @param domain The domain's name.
 * @param schemas What its code says about commands, events and rows.
 * @returns The document.
 */
export function openApiOf(domain: string, { commands, events, projections }: DomainSchemas): object {
  const paths: Record<string, object> = {};
  const components = new Components();
  for (const [name, schema] of Object.entries(events)) components.add(`event-${name}`, schema);
  for (const [name, schema] of Object.entries(commands)) {
    paths[`/commands/${name}`] = {
      post: {
        operationId: `send-${name}`,
        tags: ["commands"],
        parameters: [PREFER, text("Idempotency-Key", "header", "Sent again with the same key, it is not sent twice")],
        requestBody: {
          required: true,
          content: { "application/json": { schema: components.add(`command-${name}`, schema) } },
        },
        responses: {
          200: json("It is accepted, and its events are stored", SENT),
          202: json("It is stored, and not decided yet", SENT),
          409: PROBLEM,
          422: PROBLEM,
          default: PROBLEM,
        },
      },
    };
  }
  paths["/outcomes/{id}"] = {
    get: {
      operationId: "outcome",
      tags: ["commands"],
      parameters: [{ name: "id", in: "path", required: true, schema: { type: "string", format: "uuid" } }, PREFER],
      responses: {
        200: json("What became of a command; null: it is not decided yet", {
          type: "object",
          properties: { commandId: { type: "string" }, outcome: OUTCOME },
        }),
        default: PROBLEM,
      },
    },
  };
  for (const [name, schema] of Object.entries(projections)) {
    const row = components.add(`row-${name}`, schema);
    paths[`/projections/${name}`] = {
      get: {
        operationId: `query-${name}`,
        tags: ["projections"],
        description: "Conditions on fields are FIELD=value, FIELD.gt=value and so on, or where as JSON",
        parameters: [
          text("where", "query", 'Conditions as JSON, like {"balance":{"gt":10}}'),
          text("order", "query", "Fields, the first one first; - before a name: descending"),
          { name: "limit", in: "query", schema: { type: "integer", minimum: 1, maximum: 10_000, default: 100 } },
          text("cursor", "query", "That of the page before"),
          { name: "scan", in: "query", schema: { type: "boolean" } },
          { name: "count", in: "query", schema: { type: "boolean" } },
          AFTER,
          PREFER,
        ],
        responses: {
          200: json("A page of rows; or their number, if count is true", {
            type: "object",
            properties: {
              rows: { type: "array", items: row },
              cursor: { type: ["string", "null"] },
              count: { type: "integer" },
            },
          }),
          default: PROBLEM,
        },
      },
    };
    paths[`/projections/${name}/{key}`] = {
      get: {
        operationId: `read-${name}`,
        tags: ["projections"],
        parameters: [{ name: "key", in: "path", required: true, schema: { type: "string" } }, AFTER, PREFER],
        responses: { 200: json("The row", row), 404: PROBLEM, default: PROBLEM },
      },
    };
  }
  paths["/events"] = {
    get: {
      operationId: "events",
      tags: ["events"],
      parameters: [
        text("after", "query", "start, now, or the id of the last event that was heard"),
        text("types", "query", "Names of events, separated by commas"),
        text("Last-Event-ID", "header", "The same as after"),
      ],
      responses: {
        200: {
          description: `Server-sent events: ${Object.keys(events).join(", ")}`,
          content: { "text/event-stream": { schema: { type: "string" } } },
        },
        default: PROBLEM,
      },
    },
  };
  return {
    openapi: "3.1.0",
    info: { title: domain, version: denoJson.version, description: `Commands, projections and events of "${domain}"` },
    servers: [{ url: "/" }],
    security: [{ token: [] }],
    paths,
    components: {
      schemas: components.schemas,
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
  };
}

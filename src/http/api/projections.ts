import { type Context, Hono } from "hono";
import { ProjectionBehindError } from "../../client/catching_up.ts";
import type { Waits } from "../../client/waits.ts";
import { planCount, planQuery } from "../../domain/queries.ts";
import type { ProjectionDescription } from "../../isolation/protocol.ts";
import { didYouMean } from "../../lib/did_you_mean.ts";
import { DomainDefinitionError } from "../../messages/errors.ts";
import { isNewest } from "../../projections/place.ts";
import { MOST_CHARACTERS } from "../../store/large.ts";
import type { EventStore } from "../../store/port.ts";
import type { Guarded } from "../guard.ts";
import { problem } from "../problem.ts";
import { waitOf } from "./prefer.ts";

/** How long a read waits for what it is to show, in seconds, unless it says. */
const PATIENCE = 5;

/** How many rows are read at first, as long as nobody knows how long those of a projection are. */
const FIRST = 10;

/** What a request can say besides conditions on fields. */
const OWN = ["where", "order", "limit", "cursor", "scan", "count"];

/** Dependencies of {@linkcode projectionRoutes}. */
export interface ProjectionRoutesOptions {
  /** The store. */
  readonly store: EventStore;
  /** The projections of the domain. */
  readonly projections: readonly ProjectionDescription[];
  /** Waits until a projection shows something. */
  readonly waits: Waits;
}

/** A value of a field, as its type says. */
function valueOf(type: string | undefined, text: string): unknown {
  const isNumber = type === "number" || type === "integer";
  if (isNumber && text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

/** The conditions of a request: `where` as JSON, and `FIELD=value` or `FIELD.gt=value`. */
function whereOf({ fields }: ProjectionDescription, query: URLSearchParams): Record<string, unknown> {
  const where = new Map<string, unknown>();
  const given = onceOf(query, "where");
  if (given !== null) {
    let parsed: unknown;
    try {
      parsed = JSON.parse(given);
    } catch {
      throw new DomainDefinitionError("where is not JSON");
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
      throw new DomainDefinitionError('where is no object of conditions, like {"balance":{"gt":10}}');
    }
    for (const [name, condition] of Object.entries(parsed)) where.set(name, condition);
  }
  for (const name of new Set(query.keys())) {
    if (OWN.includes(name)) continue;
    const texts = query.getAll(name);
    const isField = fields.some((field) => field.name === name);
    const dot = isField ? -1 : name.lastIndexOf(".");
    const field = dot < 0 ? name : name.slice(0, dot);
    const operator = dot < 0 ? null : name.slice(dot + 1);
    const type = fields.find((one) => one.name === field)?.type;
    const before = where.get(field);
    if (operator === null && (texts.length > 1 || before !== undefined)) {
      throw new DomainDefinitionError(`"${field}" is given twice; use ${field}.in for several values`);
    }
    if (operator !== "in" && texts.length > 1) throw new DomainDefinitionError(`"${name}" is given twice`);
    const operand = operator === "in"
      ? texts.flatMap((text) => text.split(",")).map((text) => valueOf(type, text))
      : valueOf(operator === "null" ? "boolean" : operator === "prefix" ? "string" : type, texts[0]);
    if (operator === null) where.set(field, operand);
    else where.set(field, { ...(typeof before === "object" ? before : {}), [operator]: operand });
  }
  return Object.fromEntries(where);
}

/** What a request says once, or not at all. */
function onceOf(query: URLSearchParams, name: string): string | null {
  const [given = null, ...more] = query.getAll(name);
  if (more.length > 0) throw new DomainDefinitionError(`${name} is given twice`);
  return given;
}

/** Whether a request asks for something. */
function flagOf(query: URLSearchParams, name: string): boolean {
  const given = onceOf(query, name);
  if (given !== null && given !== "true" && given !== "false") {
    throw new DomainDefinitionError(`${name} is true or false, not "${given.slice(0, 40)}"`);
  }
  return given === "true";
}

/** A whole number that a request gives. */
function wholeOf(query: URLSearchParams, name: string): number | null {
  const given = onceOf(query, name);
  if (given === null) return null;
  if (!/^\d{1,9}$/.test(given)) {
    throw new DomainDefinitionError(`${name} is a whole number, not "${given.slice(0, 40)}"`);
  }
  return Number(given);
}

/** The order of a request, like `-balance,owner`. */
function orderOf(order: string | null): [string, "asc" | "desc"][] | undefined {
  return order?.split(",").map((name) => name.startsWith("-") ? [name.slice(1), "desc"] : [name, "asc"]);
}

/** `GET /projections/NAME` and `GET /projections/NAME/KEY`. */
export function projectionRoutes({ store, projections, waits }: ProjectionRoutesOptions): Hono<Guarded> {
  const app = new Hono<Guarded>();
  const shown = new Map(projections.filter((one) => isNewest(one, projections)).map((one) => [one.name, one]));

  /** How long the rows of each projection were when they were read last, in characters. */
  const sizes = new Map<string, number>();

  /** Answers with what a projection shows, once it shows what the request wants to see. */
  const read = async (
    context: Context<Guarded>,
    work: (projection: ProjectionDescription) => Promise<Response>,
  ): Promise<Response> => {
    const name = context.req.param("name")!;
    const projection = shown.get(name);
    if (!projection) {
      return problem(context, 404, `There is no projection "${name}"${didYouMean(name, [...shown.keys()])}`);
    }
    try {
      const after = context.req.header("after");
      const timeout = (waitOf(context.req.header("prefer")) ?? PATIENCE) * 1000;
      if (after !== undefined) await waits.after(projection, { after, timeout });
      return await work(projection);
    } catch (error) {
      if (error instanceof ProjectionBehindError) {
        context.header("retry-after", "1");
        return problem(context, 503, error.message, { behind: error.behind });
      }
      if (error instanceof DomainDefinitionError) {
        // The message is for TypeScript.
        return problem(context, 400, error.message.replace("scan: true", "scan=true"));
      }
      throw error;
    }
  };

  app.get("/projections/:name", (context) =>
    read(context, async (projection) => {
      const query = new URL(context.req.url).searchParams;
      const where = whereOf(projection, query);
      const scan = flagOf(query, "scan");
      if (flagOf(query, "count")) {
        return context.json({ count: await store.countRows(planCount(projection, { where, scan })) });
      }
      const [orderBy, limit] = [orderOf(onceOf(query, "order")), wholeOf(query, "limit")];
      const options = { where, scan, ...(orderBy && { orderBy }) };
      const plan = (more: { readonly limit?: number; readonly cursor: string | null }) =>
        planQuery(projection, { ...options, ...more });
      let cursor = onceOf(query, "cursor");
      const { limit: most } = plan({ ...(limit !== null && { limit }), cursor }).query;
      const rows: unknown[] = [];
      for (let characters = 0;;) {
        const fitting = (MOST_CHARACTERS - characters) / (sizes.get(projection.name) ?? MOST_CHARACTERS / FIRST);
        const together = Math.max(1, Math.min(most - rows.length, Math.floor(fitting)));
        const { query: planned, cursorOf } = plan({ limit: together, cursor });
        // One more than asked for tells whether there is another page.
        const found = await store.queryRows({ ...planned, limit: together + 1 });
        let read = 0;
        for (const { key, row } of found.slice(0, together)) {
          if (rows.length > 0 && characters + row!.length > MOST_CHARACTERS) break;
          read++;
          characters += row!.length;
          rows.push(JSON.parse(row!));
          cursor = cursorOf(key, rows.at(-1) as Record<string, unknown>);
        }
        if (rows.length > 0) sizes.set(projection.name, Math.max(1, characters / rows.length));
        if (found.length <= read) cursor = null;
        if (cursor === null || rows.length === most || read < together || characters >= MOST_CHARACTERS) break;
      }
      return context.json({ rows, cursor });
    }));

  app.get("/projections/:name/:key", (context) =>
    read(context, async ({ name }) => {
      const key = context.req.param("key");
      const found = await store.readRow(name, key);
      if (!found?.row) return problem(context, 404, `Projection "${name}" has no row "${key}"`, { row: null });
      // A row may be long: it is passed on as it is stored.
      return context.body(found.row, 200, { "content-type": "application/json" });
    }));
  return app;
}

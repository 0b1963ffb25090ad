import { type Context, Hono } from "hono";
import { z } from "zod";
import { audited } from "../../operating/audit.ts";
import {
  activeOf,
  candidateOf,
  compareRows,
  dropGeneration,
  eventsOfRow,
  findProjection,
  type FoundProjection,
  generationStatuses,
  newestOf,
  previousOf,
  rowPage,
  swapGeneration,
  waitsForSwap,
} from "../../operating/projections.ts";
import { addRebuild } from "../../projections/place.ts";
import type { Generation } from "../../store/generations.ts";
import type { Guarded } from "../guard.ts";
import { AskedWrongly, bodyOf, jsonOf, limit, queryOf, unknown } from "./asking.ts";
import type { OperatorRoutesOptions } from "./routes.ts";
import { shownMessages } from "./shown.ts";

/** How long a swap waits for a moment in which one generation has what the other has, in milliseconds. */
const SWAP_PATIENCE = 5_000;

/** How long a drop waits for whoever feeds the generation, in milliseconds. */
const DROP_PATIENCE = 3_000;

/** How many events are shown behind a row. */
const EVENTS_BEHIND = 50;

const change = z.strictObject({ generation: z.string().max(50).optional(), stale: z.boolean().optional() });

/** Projections, their generations and their rows. */
export function projectionRoutes({ operator, inspector }: OperatorRoutesOptions): Hono<Guarded> {
  const app = new Hono<Guarded>();
  const { store, domain } = operator;

  const find = async (name: string): Promise<FoundProjection> => {
    const found = await findProjection(operator, name);
    if (!found) throw unknown("projection", name, [...new Set(domain.projections.map((one) => one.name))]);
    if (!activeOf(found)) throw new AskedWrongly(409, `Projection "${name}" has no generations yet`);
    return found;
  };

  const pick = ({ generations }: FoundProjection, name: string | undefined, usual: Generation | undefined) => {
    const found = name === undefined ? usual : generations.find(({ generation }) => generation === name);
    if (found) return found;
    throw new AskedWrongly(404, name === undefined ? "There is no other generation" : `There is no generation ${name}`);
  };

  const swapTo = async (
    context: Context<Guarded>,
    action: string,
    found: FoundProjection,
    to: Generation,
    isStale: boolean,
  ): Promise<Response> => {
    const from = activeOf(found)!;
    if (from.generation === to.generation) {
      throw new AskedWrongly(409, `Readers see generation ${to.generation} already`);
    }
    const details = { projection: found.code.name, from: from.generation, to: to.generation, isStale };
    const refusal = await audited(
      operator,
      context.get("who"),
      action,
      details,
      () => swapGeneration(operator, found, { from, to, isStale, patience: SWAP_PATIENCE }),
    );
    if (refusal !== null) {
      const { reason, message } = refusal;
      const isLacking = reason === "held" || reason === "behind";
      return context.json({ title: `Not swapped: ${message}`, status: 409, reason, isLacking }, 409);
    }
    return context.json(details);
  };

  app.get("/projections", async (context) => {
    const found = await generationStatuses(operator);
    const generations = found.map((one) => ({ ...one, waitsForSwap: waitsForSwap(operator, one, found) }));
    const known = domain.projections.map(({ name, version, key, group, fields, indexes }) => ({
      name,
      version,
      key,
      group,
      fields,
      indexes,
    }));
    return context.body(jsonOf({ projections: known, generations, swap: operator.config.projectionSwap }), 200, {
      "content-type": "application/json",
    });
  });

  app.post("/projections/:name/rebuild", async (context) => {
    const { code, generations } = await find(context.req.param("name"));
    const generation = await audited(
      operator,
      context.get("who"),
      "projections rebuild",
      { projection: code.name },
      () => addRebuild(store, code, generations),
    );
    return context.json({ projection: code.name, generation });
  });

  app.post("/projections/:name/swap", async (context) => {
    const found = await find(context.req.param("name"));
    const { generation, stale = false } = await bodyOf(context, change);
    return await swapTo(context, "projections swap", found, pick(found, generation, newestOf(found)), stale);
  });

  app.post("/projections/:name/rollback", async (context) => {
    const found = await find(context.req.param("name"));
    const { stale = false } = await bodyOf(context, change);
    return await swapTo(context, "projections rollback", found, pick(found, undefined, previousOf(found)), stale);
  });

  app.post("/projections/:name/drop", async (context) => {
    const found = await find(context.req.param("name"));
    const { generation } = await bodyOf(context, z.strictObject({ generation: z.string().max(50) }));
    const its = pick(found, generation, undefined);
    if (its.isActive) throw new AskedWrongly(409, `Readers see generation ${generation}; swap first`);
    const details = { projection: found.code.name, generation };
    const done = await audited(
      operator,
      context.get("who"),
      "projections drop",
      details,
      () => dropGeneration(operator, found, its, DROP_PATIENCE),
    );
    return context.json({ ...details, done });
  });

  app.get("/projections/:name/diff", async (context) => {
    const found = await find(context.req.param("name"));
    const { generation, limit: most } = queryOf(
      context,
      z.strictObject({ generation: z.string().optional(), limit: limit(200, 20) }),
    );
    const [before, after] = [activeOf(found)!, pick(found, generation, candidateOf(found))];
    const { events, ...compared } = await compareRows(operator, found, [before, after], most);
    const shown = await shownMessages(inspector, events);
    const document = { before: before.generation, after: after.generation, ...compared, events: shown };
    return context.body(jsonOf(document), 200, { "content-type": "application/json" });
  });

  app.get("/projections/:name/rows", async (context) => {
    const { code } = await find(context.req.param("name"));
    const { after, limit: most } = queryOf(
      context,
      z.strictObject({ after: z.string().optional(), limit: limit(500, 100) }),
    );
    const { rows, next } = await rowPage(store, code.name, { after, limit: most });
    return context.json({
      rows: rows.map(({ key, row, position }) => ({ key, row: JSON.parse(row!), position })),
      next,
    });
  });

  app.get("/projections/:name/rows/:key", async (context) => {
    const { name, key } = context.req.param();
    const found = await find(name);
    const [row, events] = await Promise.all([
      store.readRow(name, key),
      eventsOfRow(operator, found, key, EVENTS_BEHIND),
    ]);
    if (!row?.row && events.length === 0) throw new AskedWrongly(404, `Projection "${name}" has no row "${key}"`);
    return context.json({
      projection: name,
      key,
      handler: found.handler.name,
      row: row?.row ? JSON.parse(row.row) : null,
      position: row?.position ?? null,
      events: await shownMessages(inspector, events),
    });
  });
  return app;
}

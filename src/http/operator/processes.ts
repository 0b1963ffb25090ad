import { Hono } from "hono";
import { z } from "zod";
import { isGivenKey, shownKey } from "../../domain/scheduling.ts";
import { audited } from "../../operating/audit.ts";
import {
  abandonInstance,
  inspectorOf,
  instancesOf,
  managersOf,
  outcomesOf,
  STATUSES,
  timersOf,
} from "../../operating/processes.ts";
import { cancelScheduled, moveScheduled, nextScheduled, type ScheduleChange } from "../../operating/schedule.ts";
import type { Guarded } from "../guard.ts";
import { AskedWrongly, bodyOf, limit, queryOf, unknown } from "./asking.ts";
import type { OperatorRoutesOptions } from "./routes.ts";

/** The instances of process managers, and what is scheduled. */
export function processRoutes({ operator }: OperatorRoutesOptions): Hono<Guarded> {
  const app = new Hono<Guarded>();

  const checkManager = (name: string): void => {
    const known = managersOf(operator);
    if (!known.includes(name)) throw unknown("process manager", name, known);
  };

  app.get("/processes", async (context) => {
    const { manager, status, limit: most } = queryOf(
      context,
      z.strictObject({ manager: z.string().optional(), status: z.enum(STATUSES).optional(), limit: limit(1_000, 200) }),
    );
    if (manager !== undefined) checkManager(manager);
    const which = { ...(manager !== undefined && { manager }), ...(status !== undefined && { status }) };
    const { chosen, total } = await instancesOf(operator, which);
    return context.json({
      managers: managersOf(operator),
      instances: chosen.slice(0, most),
      chosen: chosen.length,
      total,
    });
  });

  app.get("/processes/:manager/:id", async (context) => {
    const { manager, id } = context.req.param();
    checkManager(manager);
    const inspector = inspectorOf(operator);
    const instance = (await inspector.instances(manager)).find((one) => one.id === id);
    if (!instance) throw new AskedWrongly(404, `"${manager}" has no instance "${id}"`);
    const history = await inspector.history(manager, id, 1_000);
    const outcomes = await outcomesOf(operator, history);
    const inputs = history.map(({ sent = [], ...input }) => ({
      ...input,
      sent: sent.map((command) => ({ ...command, outcome: outcomes.get(command.id) })),
    }));
    return context.json({ ...instance, timers: await timersOf(operator, instance), inputs });
  });

  app.post("/processes/:manager/:id/retry", async (context) => {
    const { manager, id } = context.req.param();
    checkManager(manager);
    const isRetried = await audited(
      operator,
      context.get("who"),
      "processes retry",
      { manager, id },
      () => inspectorOf(operator).retry(manager, id),
    );
    if (!isRetried) throw new AskedWrongly(409, `Instance "${id}" is not set aside`);
    return context.json({ isRetried });
  });

  app.post("/processes/:manager/:id/abandon", async (context) => {
    const { manager, id } = context.req.param();
    checkManager(manager);
    const isAbandoned = await audited(
      operator,
      context.get("who"),
      "processes abandon",
      { manager, id },
      () => abandonInstance(operator, manager, id),
    );
    if (!isAbandoned) throw new AskedWrongly(409, `Instance "${id}" has ended already`);
    return context.json({ isAbandoned });
  });

  app.get("/schedule", async (context) => {
    const { limit: most } = queryOf(context, z.strictObject({ limit: limit(1_000, 200) }));
    const found = await nextScheduled(operator, most, false);
    return context.json({
      scheduled: found.map(({ key, dueAt, category, stream, message: { id, type, correlationId } }) => ({
        key,
        name: shownKey(key),
        isGiven: isGivenKey(key),
        dueAt,
        category,
        stream,
        id,
        type,
        correlationId,
      })),
    });
  });

  const answered = ({ found, fault }: ScheduleChange, key: string) => {
    if (found) return { key: found.key, dueAt: found.dueAt };
    throw fault === "absent"
      ? new AskedWrongly(404, `Nothing is scheduled as "${key}"`)
      : new AskedWrongly(409, `What was scheduled as "${key}" was sent or replaced meanwhile`);
  };

  app.post("/schedule/cancel", async (context) => {
    const { key } = await bodyOf(context, z.strictObject({ key: z.string().min(1).max(2_000) }));
    const change = () => cancelScheduled(operator, key);
    return context.json(answered(await audited(operator, context.get("who"), "schedule cancel", { key }, change), key));
  });

  app.post("/schedule/move", async (context) => {
    const { key, at } = await bodyOf(
      context,
      z.strictObject({ key: z.string().min(1).max(2_000), at: z.number().int().min(0).max(8.64e15) }),
    );
    const change = () => moveScheduled(operator, key, { at });
    const changed = await audited(operator, context.get("who"), "schedule move", { key, at }, change);
    return context.json(answered(changed, key));
  });
  return app;
}

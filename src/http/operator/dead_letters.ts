import { Hono } from "hono";
import { z } from "zod";
import { audited } from "../../operating/audit.ts";
import { deadLetterPage, replayDeadLetters, setAsideIn, toldOf } from "../../operating/dead_letters.ts";
import { MOST_SHOWN } from "../../operating/streams.ts";
import { waitingMessages } from "../../operating/deferred.ts";
import { knownGroups } from "../../operating/groups.ts";
import type { Guarded } from "../guard.ts";
import { AskedWrongly, bodyOf, letterId, limit, position, queryOf, unknown } from "./asking.ts";
import type { OperatorRoutesOptions } from "./routes.ts";
import { shownMessages } from "./shown.ts";

const filter = { group: z.string().min(1).optional(), text: z.string().max(1_000).optional() };
const ids = z.array(z.string().max(100)).min(1).max(10_000);

/** Either some, by their ids, or all of a group. */
const chosen = z.union([
  z.strictObject({ ids, anyway: z.boolean().optional() }),
  z.strictObject({ group: z.string().min(1), text: z.string().max(1_000).optional(), anyway: z.boolean().optional() }),
], { error: "expected ids, a list of dead letters, or group, for all of one" });

/** Dead letters, and what waits. */
export function deadLetterRoutes({ operator, inspector }: OperatorRoutesOptions): Hono<Guarded> {
  const app = new Hono<Guarded>();
  const { store } = operator;

  const checkGroup = async (group: string | undefined): Promise<void> => {
    if (group === undefined) return;
    const known = await knownGroups(operator);
    if (!known.includes(group)) throw unknown("group", group, known);
  };

  app.get("/dead-letters", async (context) => {
    const { limit: most, before, group, text } = queryOf(
      context,
      z.strictObject({ ...filter, before: letterId.optional(), limit: limit(500, 100) }),
    );
    await checkGroup(group);
    const which = { ...(group !== undefined && { group }), ...(text !== undefined && { text }) };
    const from = { limit: most, ...(before !== undefined && { before }) };
    const [{ letters, next }, counts] = await Promise.all([
      deadLetterPage(operator, which, from),
      store.countDeadLetters(),
    ]);
    return context.json({
      letters: letters.map(({ id, group, message, reason, error, attempts, deadAt }) => {
        const { type, stream, position, time, correlationId } = message;
        return {
          id,
          group,
          type,
          stream,
          position,
          time,
          correlationId,
          reason,
          error,
          attempts: attempts.length,
          deadAt,
        };
      }),
      next,
      counts,
    });
  });

  app.get("/dead-letters/:id", async (context) => {
    const id = context.req.param("id");
    const letter = await store.deadLetter(id);
    if (!letter) throw new AskedWrongly(404, "There is no such dead letter: it was replayed or purged");
    const isShown = letter.message.data.length <= MOST_SHOWN;
    const stored = isShown ? letter.message : { ...letter.message, data: "" };
    const [message] = await shownMessages(inspector, [stored]);
    return context.json({ ...letter, message, told: toldOf(letter) });
  });

  app.post("/dead-letters/replay", async (context) => {
    const { anyway: isAnyway = false, ...which } = await bodyOf(context, chosen);
    if ("group" in which) await checkGroup(which.group);
    const done = await audited(operator, context.get("who"), "dlq replay", { ...which, isAnyway }, () => {
      const { text, ...rest } = which as { group: string; text?: string };
      const selected = "ids" in which ? which : { ...rest, ...(text !== undefined && { text }) };
      return replayDeadLetters(operator, selected, { isAnyway });
    });
    return context.json(done);
  });

  app.post("/dead-letters/purge", async (context) => {
    const schema = z.union([z.strictObject({ ids }), z.strictObject({ group: z.string().min(1) })], {
      error: "expected ids, a list of dead letters, or group, for all of one",
    });
    const which = await bodyOf(context, schema);
    if ("group" in which) await checkGroup(which.group);
    const purged = await audited(operator, context.get("who"), "dlq purge", which, () => store.purgeDeadLetters(which));
    const aside = "group" in which ? await setAsideIn(operator, which.group) : 0;
    return context.json({ purged, aside });
  });

  app.get("/groups/:group/waiting", async (context) => {
    const group = context.req.param("group");
    await checkGroup(group);
    const { after, limit: most } = queryOf(context, z.strictObject({ after: position, limit: limit(500, 100) }));
    const messages = await waitingMessages(operator, group, { after: after ?? 0, limit: most + 1 });
    const next = messages.length > most ? messages[most - 1].position : null;
    return context.json({ messages: messages.slice(0, most), next });
  });
  return app;
}

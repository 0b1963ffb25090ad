import { Hono } from "hono";
import { z } from "zod";
import { auditRecords } from "../../operating/audit.ts";
import { nearestCorrelation, nearestStream } from "../../operating/suggest.ts";
import { traceOf } from "../../operating/trace.ts";
import { scan } from "../../operating/scan.ts";
import { isInternal, type MessageRecord } from "../../messages/envelope.ts";
import { MOST_SHOWN, streamFromStart, streamPage } from "../../operating/streams.ts";
import { LARGE, MOST_CHARACTERS } from "../../store/large.ts";
import type { Guarded } from "../guard.ts";
import { AskedWrongly, limit, position, queryOf, version } from "./asking.ts";
import type { OperatorRoutesOptions } from "./routes.ts";
import { shownMessages } from "./shown.ts";

/** The most messages of a stream, and characters of them, that are folded to show its states. */
const MOST_FOLDED = 5_000;
const MOST_FOLDED_CHARACTERS = MOST_CHARACTERS;

/** How long a search looks through the log before it says how far it is, in milliseconds. */
const SEARCH_PATIENCE = 1_000;

/** How long a trace may look through the log, in milliseconds, and how many lines of groups it has. */
const TRACE_PATIENCE = 10_000;
const TRACE_HANDLINGS = 20_000;

/** How many of a list of what something was done to are shown: it may be ten thousand. */
const MOST_LISTED = 100;

const name = z.string().min(1).max(2_000).optional();

/** The log, and what operators did. */
export function logRoutes({ operator, inspector }: OperatorRoutesOptions): Hono<Guarded> {
  const app = new Hono<Guarded>();
  const { store, domain } = operator;

  app.get("/log", async (context) => {
    const { stream, type, category, correlation, since, before, limit: most } = queryOf(
      context,
      z.strictObject({
        stream: name,
        type: name,
        category: name,
        correlation: name,
        since: z.coerce.number().int().min(0).optional(),
        before: position,
        limit: limit(500, 100),
      }),
    );
    let records: readonly MessageRecord[];
    let next: number | null = null;
    if (stream !== undefined) {
      const from = before === undefined ? undefined : Math.min(before, 2 ** 31);
      ({ records, next } = await streamPage(store, stream, { before: from, limit: most }));
      const suggestion = records.length === 0 && before === undefined ? await nearestStream(operator, stream) : null;
      if (suggestion !== null) return context.json({ messages: [], next: null, suggestion });
    } else {
      const wanted = {
        type,
        category,
        correlationId: correlation,
        since,
      };
      const given = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
      const upTo = before === undefined ? await store.lastPosition() : before - 1;
      const until = performance.now() + SEARCH_PATIENCE;
      const found = await scan(store, {
        ...given,
        after: 0,
        upTo,
        backward: true,
        limit: most + 1,
        most: MOST_SHOWN,
        largest: LARGE,
        until,
      });
      records = found.records.slice(0, most);
      // The search goes on from there.
      if (found.records.length > most) next = records[most - 1].position;
      else if (found.stoppedAt !== null) next = found.stoppedAt + 1;
      if (records.length === 0 && correlation !== undefined && before === undefined && next === null) {
        return context.json({ messages: [], next: null, suggestion: await nearestCorrelation(operator, correlation) });
      }
    }
    return context.json({ messages: await shownMessages(inspector, records), next });
  });

  /** The names that a search may be for. */
  app.get("/names", (context) => {
    const { categories, types, handlers } = domain;
    return context.json({
      domain: domain.name,
      categories: Object.keys(categories),
      types: Object.keys(types),
      handlers: handlers.map(({ name, kind }) => ({ name, kind })),
    });
  });

  app.get("/streams/:stream", async (context) => {
    const stream = context.req.param("stream");
    const { before, limit: most } = queryOf(context, z.strictObject({ before: version, limit: limit(500, 100) }));
    const [last] = await store.readStream(stream, { backward: true, limit: 1, largest: 0 });
    if (!last) {
      const meant = await nearestStream(operator, stream);
      throw new AskedWrongly(
        404,
        `There is no stream "${stream}"${meant === null ? "" : `; did you mean "${meant}"?`}`,
      );
    }
    const upTo = before === undefined ? last.version : Math.min(before - 1, last.version);
    // A state is made of all events before it.
    const mayFold = upTo < MOST_FOLDED && !isInternal(last.category);
    const all = mayFold ? await streamFromStart(store, stream, upTo, MOST_FOLDED_CHARACTERS) : null;
    const states = all && await inspector.fold(all);
    const { records, next } = await streamPage(store, stream, { before, limit: most });
    let room = MOST_SHOWN;
    const messages = (await shownMessages(inspector, records)).map((message) => {
      const state = states?.[message.version] ?? null;
      if (state !== null) room -= state.length;
      return { ...message, ...(state !== null && room >= 0 && { state: JSON.parse(state) }) };
    }).reverse();
    return context.json({ stream, versions: last.version + 1, isFolded: states !== null, messages, next });
  });

  app.get("/trace/:id", async (context) => {
    const id = context.req.param("id");
    const trace = await traceOf(operator, id, {
      payloads: true,
      patience: TRACE_PATIENCE,
      handlings: TRACE_HANDLINGS,
    });
    if (trace) return context.json(trace);
    throw new AskedWrongly(
      404,
      `Nothing is known under "${id}": it is no id or position of a message, correlation or dead letter`,
    );
  });

  app.get("/audit", async (context) => {
    const { before, limit: most } = queryOf(context, z.strictObject({ before: position, limit: limit(500, 100) }));
    const records = await auditRecords(operator, {
      limit: most + 1,
      listed: MOST_LISTED,
      ...(before !== undefined && { before }),
    });
    const next = records.length > most ? records[most - 1].position : null;
    return context.json({ records: records.slice(0, most), next });
  });
  return app;
}

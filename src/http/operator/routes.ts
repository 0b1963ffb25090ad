import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import type { Inspector } from "../../isolation/inspector.ts";
import type { Operator } from "../../operating/operator.ts";
import type { Guarded } from "../guard.ts";
import { AskedWrongly } from "./asking.ts";
import { deadLetterRoutes } from "./dead_letters.ts";
import type { Live } from "./live.ts";
import { logRoutes } from "./log.ts";
import { processRoutes } from "./processes.ts";
import { projectionRoutes } from "./projections.ts";

/** Dependencies of {@linkcode operatorRoutes}. */
export interface OperatorRoutesOptions {
  /** The domain, and its store. */
  readonly operator: Operator;
  /** Asks the domain's code. */
  readonly inspector: Pick<Inspector, "decode" | "fold">;
  /** Tells how the domain is doing. */
  readonly live: Live;
  /** Ends what goes on until somebody leaves. */
  readonly signal: AbortSignal;
}

/** How many looks somebody may have left unread. */
const MOST_UNREAD = 60;

/** How long one look lasts, in milliseconds: browsers begin another, which the guard sees. */
const LONGEST_LOOK = 3_600_000;

/** How many may look at the same time. */
const MOST_VIEWERS = 200;

/** What the dashboard shows and does, at `/operator/…`. Who asks is known: the guard is in front of it. */
export function operatorRoutes(options: OperatorRoutesOptions): Hono<Guarded> {
  const { live, signal } = options;
  const app = new Hono<Guarded>();
  let viewers = 0;
  for (const routes of [deadLetterRoutes, processRoutes, projectionRoutes, logRoutes]) app.route("/", routes(options));

  app.get("/overview", async (context) => context.json(await live.look()));

  app.get("/live", (context) => {
    // Nobody reads what follows.
    if (context.req.method === "HEAD") return context.body(null, 200, { "content-type": "text/event-stream" });
    if (viewers >= MOST_VIEWERS) return new AskedWrongly(503, `${MOST_VIEWERS} look already`).answer(context);
    viewers++;
    context.header("x-accel-buffering", "no");
    return streamSSE(context, async (stream) => {
      const left = new AbortController();
      stream.onAbort(() => left.abort());
      // A page that stays says again who it is.
      const ended = AbortSignal.any([signal, left.signal, AbortSignal.timeout(LONGEST_LOOK)]);
      const next: string[] = [];
      let wake = () => {};
      ended.addEventListener("abort", () => wake());
      const stop = live.watch((told) => {
        if (ended.aborted) return;
        next.push(told);
        // Whoever reads too slowly is cut off, and begins again with a whole look.
        if (next.length > MOST_UNREAD) left.abort();
        wake();
      });
      try {
        while (!ended.aborted) {
          for (const data of next.splice(0)) await stream.writeSSE({ data });
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (next.length > 0 || ended.aborted) resolve();
          });
        }
      } finally {
        stop();
        viewers--;
      }
    });
  });

  app.onError((error, context) => {
    if (error instanceof AskedWrongly) return error.answer(context);
    throw error;
  });
  return new Hono<Guarded>().route("/operator", app);
}

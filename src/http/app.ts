import { Hono } from "hono";
import { ModuleLoadError, WorkerEndedError } from "../isolation/errors.ts";
import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import { Guard, type Guarded } from "./guard.ts";
import { problem } from "./problem.ts";

/** What is served, and to whom. */
export interface HttpAppOptions {
  /** Decides who may ask for what. */
  readonly guard: Guard;
  /** For everybody who reaches the address: what checks a request itself, or tells nobody anything. */
  readonly open: readonly Hono[];
  /** For every page of this server: what a browser shows before somebody has logged in. */
  readonly pages: readonly Hono[];
  /** For those who have said who they are. */
  readonly guarded: readonly Hono<Guarded>[];
  /** Hears of what went wrong inside. */
  readonly failed: (error: string) => void;
}

/**
 * Puts what is served together. A request passes the guard before it reaches anything that is not open, so a route that is
 * added is closed.
 */
export function httpApp({ guard, open, pages, guarded, failed }: HttpAppOptions): Hono {
  const app = new Hono();
  app.use(Guard.headers);
  for (const routes of open) app.route("/", routes);
  app.use(guard.ownSite);
  app.route("/", guard.routes());
  for (const routes of pages) app.route("/", routes);
  const inner = new Hono<Guarded>();
  inner.use(guard.known);
  for (const routes of guarded) inner.route("/", routes);
  inner.notFound((context) => problem(context, 404, "There is nothing here"));
  app.route("/", inner);
  app.notFound((context) => problem(context, 404, "There is nothing here"));
  app.onError((error, context) => {
    const isOfWorker = error instanceof WorkerEndedError || error instanceof ModuleLoadError;
    if (isOfWorker || recoveryOf(error) !== "none") {
      context.header("retry-after", "1");
      return problem(
        context,
        503,
        isOfWorker ? "The domain's code did not answer; try it again" : "A service is away; try it again",
      );
    }
    // What is wrong inside is in the log.
    failed(`${context.req.method} ${new URL(context.req.url).pathname}: ${messageOf(error)}`);
    return problem(context, 500, "Something went wrong inside; the server's log says what");
  });
  return app;
}

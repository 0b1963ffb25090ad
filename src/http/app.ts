import { Hono } from "hono";
import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import { Guard, type Guarded } from "./guard.ts";
import { isOfWorker, isPassing, problem } from "./problem.ts";

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
  /** Hears of what cannot be done now. */
  readonly away: (error: string) => void;
}

/** What can be done at a path, by method. */
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** The methods that a path has; those of what only passes requests on do not count. */
function methodsAt(app: Hono<Guarded>, path: string): string[] {
  return METHODS.filter((method) => app.router.match(method, path)[0].some(([[, route]]) => route.method === method));
}

/**
 * Puts what is served together. A request passes the guard before it reaches anything that is not open, so a route that is
 * added is closed.
 */
export function httpApp({ guard, open, pages, guarded, failed, away }: HttpAppOptions): Hono {
  const app = new Hono();
  app.use(Guard.headers);
  for (const routes of open) app.route("/", routes);
  app.use(guard.ownSite);
  app.route("/", guard.routes());
  for (const routes of pages) app.route("/", routes);
  const inner = new Hono<Guarded>();
  inner.use(guard.known);
  for (const routes of guarded) inner.route("/", routes);
  // After all others: no method of a path that is known.
  inner.all("*", (context) => {
    const methods = methodsAt(inner, context.req.path);
    if (methods.length === 0) return problem(context, 404, "There is nothing here");
    context.header("allow", methods.join(", "));
    return problem(context, 405, `${context.req.method} is not what this takes, but ${methods.join(" or ")}`);
  });
  app.route("/", inner);
  app.notFound((context) => problem(context, 404, "There is nothing here"));
  app.onError((error, context) => {
    if (isPassing(error)) {
      away(messageOf(error));
      context.header("retry-after", "1");
      return problem(
        context,
        503,
        isOfWorker(error)
          ? "The domain's code did not answer; try it again"
          : recoveryOf(error) === "unsure"
          ? "A service failed meanwhile, so it may have been done or not; send it again, with the same Idempotency-Key if it has one"
          : "A service cannot do it now; try it again. The server's log says why",
      );
    }
    // What is wrong inside is in the log.
    failed(`${context.req.method} ${new URL(context.req.url).pathname}: ${messageOf(error)}`);
    return problem(context, 500, "Something went wrong inside; the server's log says what");
  });
  return app;
}

import { Hono } from "hono";

/** What a server is ready for, or why not. */
export interface Readiness {
  /** Whether it is. */
  readonly isReady: boolean;
  /** What was looked at: `ok`, or what is wrong. */
  readonly checks: Readonly<Record<string, string>>;
}

/**
 * `GET /livez`: the process turns. `GET /readyz`: it has its services, and its groups run. Whoever probes need not say who
 * they are, and is told what is wrong, but not how.
 *
 * @param ready Looks whether it is ready.
 */
export function probes(ready: () => Promise<Readiness>): Hono {
  const app = new Hono();
  app.get("/livez", (context) => context.text("ok"));
  app.get("/readyz", async (context) => {
    const { isReady, checks } = await ready();
    const wrong = Object.keys(checks).filter((name) => checks[name] !== "ok");
    return isReady ? context.text("ready") : context.text(`not ready: ${wrong.join(", ")}`, 503);
  });
  return app;
}

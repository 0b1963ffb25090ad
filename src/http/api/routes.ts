import { type Context, Hono } from "hono";
import type { Keeping } from "../../client/catching_up.ts";
import { Waits } from "../../client/waits.ts";
import type { Inspector } from "../../isolation/inspector.ts";
import type { DomainDescription } from "../../isolation/protocol.ts";
import { isNewest } from "../../projections/place.ts";
import type { EventStore } from "../../store/port.ts";
import type { Guarded } from "../guard.ts";
import { problem } from "../problem.ts";
import { commandRoutes } from "./commands.ts";
import { eventRoutes } from "./events.ts";
import { openApiOf } from "./openapi.ts";
import { projectionRoutes } from "./projections.ts";

/** Dependencies of {@linkcode apiRoutes}. */
export interface ApiRoutesOptions {
  /** The store. */
  readonly store: EventStore;
  /** The domain. */
  readonly domain: DomainDescription;
  /** Asks the domain's code. */
  readonly inspector: Pick<Inspector, "draft" | "decode" | "schemas">;
  /** The longest payload, in bytes of JSON. */
  readonly longest: number;
  /** Whether appends get outbox rows. */
  readonly publish: boolean;
  /** Ends what goes on until somebody leaves. */
  readonly signal: AbortSignal;
  /** Hears of what went wrong inside. */
  readonly failed: (error: string) => void;
}

/** What a description says about what keeps the projections. */
function keepingOf({ name, handlers, projections }: DomainDescription): Keeping {
  return {
    name,
    keeperOf: (projection) => {
      const newest = projections.find((one) => one.name === projection && isNewest(one, projections));
      return handlers.find((handler) => handler.name === newest?.group);
    },
  };
}

/** Commands, projections and events for programs in any language, described at `/openapi.json`. */
export function apiRoutes(options: ApiRoutesOptions): Hono<Guarded> {
  const { store, domain, inspector, longest, publish, signal, failed } = options;
  const app = new Hono<Guarded>();
  const waits = new Waits(store, keepingOf(domain));
  app.route("/", commandRoutes({ store, domain: domain.name, inspector, waits, longest, publish, signal }));
  app.route("/", projectionRoutes({ store, projections: domain.projections, waits }));
  app.route("/", eventRoutes({ store, domain, inspector, waits, signal, failed }));
  app.get("/openapi.json", async (context) => context.json(openApiOf(domain.name, await inspector.schemas())));
  return app;
}

/** What answers where the API is not served: whoever sends commands is told why nobody takes them. */
export function noApiRoutes(): Hono {
  const app = new Hono();
  const off = (context: Context) =>
    problem(
      context,
      404,
      "The API is off; to send commands and read projections by HTTP, set [server.http] api = true and a token in domain.toml",
    );
  for (const path of ["/commands/*", "/outcomes/*", "/projections/*", "/events", "/openapi.json"]) app.all(path, off);
  return app;
}

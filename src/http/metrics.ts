import { Hono } from "hono";
import type { EngineMetrics } from "../telemetry/metrics.ts";
import type { Guarded } from "./guard.ts";

/** `GET /metrics`, for Prometheus. */
export function metricsRoutes(metrics: EngineMetrics): Hono<Guarded> {
  const app = new Hono<Guarded>();
  app.get(
    "/metrics",
    async (context) => context.body(await metrics.metricsText(), 200, { "content-type": metrics.contentType }),
  );
  return app;
}

import type { Hono } from "hono";
import type { Broker } from "../broker/port.ts";
import type { Config } from "../config/config.ts";
import { isGuarded, isOpen } from "../config/http.ts";
import type { Guarded } from "../http/guard.ts";
import type { Recent } from "../http/operator/recent.ts";
import type { Inspector } from "../isolation/inspector.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import type { Clock } from "../lib/clock.ts";
import { withoutSecrets } from "../lib/redact_url.ts";
import { groupStatuses } from "../operating/groups.ts";
import type { EventStore } from "../store/port.ts";
import type { Report } from "../telemetry/events.ts";
import type { EngineMetrics } from "../telemetry/metrics.ts";
import type { GroupHealth } from "./group_runner.ts";
import { HttpService } from "./http_service.ts";
import { readiness } from "./readiness.ts";

/** How often the same reason is told why requests are not answered, in milliseconds. */
const TELL_INTERVAL = 60_000;

/** Dependencies of {@linkcode httpServiceOf}. */
export interface HttpOptions {
  /** The configuration. */
  readonly config: Config;
  /** The domain. */
  readonly domain: DomainDescription;
  /** The open store. */
  readonly store: EventStore;
  /** The open broker. */
  readonly broker: Broker;
  /** Asks the domain's code. */
  readonly inspector: Inspector;
  /** The routes that take webhooks, if there are some. */
  readonly webhooks: Hono | null;
  /** What is measured. */
  readonly metrics: EngineMetrics;
  /** What the process has heard of its engine. */
  readonly recent: Recent;
  /** Streams of the broker that there may be. */
  readonly streams: readonly string[];
  /** The state of the groups in this process. */
  readonly health: () => readonly GroupHealth[];
  /** Prints startup lines. */
  readonly print: (line: string) => void;
  /** Ends what goes on until somebody leaves. */
  readonly signal: AbortSignal;
  /** The source of time. */
  readonly clock: Clock;
  /** Receives engine events. */
  readonly report: Report;
}

/** Puts together what a server serves by HTTP. The library is loaded only where something is served. */
export async function httpServiceOf(options: HttpOptions): Promise<HttpService> {
  const { config, domain, store, broker, inspector, webhooks, metrics, recent, streams, health } = options;
  const { print, signal, clock, report } = options;
  const [{ Guard }, { httpApp }, { metricsRoutes }, { probes }] = await Promise.all([
    import("../http/guard.ts"),
    import("../http/app.ts"),
    import("../http/metrics.ts"),
    import("../http/probes.ts"),
  ]);
  const { http, enableOutbox: publish, store: { maxMessageBytes: longest } } = config;
  const lags = () => groupStatuses({ config, store, domain });
  const ready = readiness({ store, broker, streams, health, lags, maxLag: http.readyMaxLag, clock });
  const failed = (error: string): void => report({ type: "engine.failed", error });
  let [toldAt, told] = [-Infinity, ""];
  // A service that is away concerns many requests.
  const away = (error: string): void => {
    if (error === told && clock.elapsed() < toldAt + TELL_INTERVAL) return;
    [toldAt, told] = [clock.elapsed(), error];
    report({ type: "service.warned", warning: `A request was not answered: ${error}` });
  };
  const guarded: Hono<Guarded>[] = [metricsRoutes(metrics)];
  const pages: Hono[] = [];
  const serves: string[] = [];
  if (http.api) {
    const { apiRoutes } = await import("../http/api/routes.ts");
    guarded.push(apiRoutes({ store, domain, inspector, longest, publish, signal, failed }));
    serves.push("API");
  } else pages.push((await import("../http/api/routes.ts")).noApiRoutes());
  if (http.dashboard) {
    const [{ dashboardPages }, { operatorRoutes }, { Live }] = await Promise.all([
      import("../http/dashboard.ts"),
      import("../http/operator/routes.ts"),
      import("../http/operator/live.ts"),
    ]);
    const operator = { config, domain, store };
    const services = [
      { name: "event store", kind: store.kind, location: withoutSecrets(store.location) },
      { name: "broker", kind: broker.kind, location: withoutSecrets(broker.location) },
    ];
    const live = new Live({ operator, recent, services, clock });
    pages.push(dashboardPages());
    guarded.push(operatorRoutes({ operator, inspector, live, signal }));
    serves.unshift("dashboard");
  }
  if (webhooks) serves.push("webhooks");
  const app = httpApp({
    guard: new Guard(http, await store.logId()),
    open: [probes(ready), ...webhooks ? [webhooks] : []],
    pages,
    guarded,
    failed,
    away,
  });
  // Where nobody can say who they are, there is nobody to tell.
  if (isGuarded(http) || isOpen(http)) serves.push("metrics");
  return new HttpService({ config: http, serves: [...serves, "probes"], app, print, clock, report });
}

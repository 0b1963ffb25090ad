import { isAbsolute, relative } from "node:path";
import type { Broker } from "../broker/port.ts";
import type { Config } from "../config/config.ts";
import { withoutSecrets } from "../lib/redact_url.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import type { EventStore } from "../store/port.ts";

/** An adapter's kind and location. */
type Placed = Pick<EventStore | Broker, "kind" | "location">;

/** A location relative to the current folder, if it is inside it. */
function shown({ location }: Placed): string {
  if (!isAbsolute(location)) return location;
  const near = relative(Deno.cwd(), location);
  return near.startsWith("..") ? location : near;
}

/** Which kind of subscription feeds a group. */
export function kindOf(config: Config, group: string): "stream" | "event_store" {
  return config.groupConfig(group).type;
}

/** Startup lines: where store and broker are. */
export function announceAdapters(store: Placed, broker: Placed): string[] {
  const width = Math.max(store.kind.length, broker.kind.length) + 2;
  return [
    `  event store   ${store.kind.padEnd(width)}${shown(store)}`,
    `  broker        ${broker.kind.padEnd(width)}${shown(broker)}`,
  ];
}

/** Where the events of a publisher go, and those of a subscriber come from. */
function placesOf(config: Config, name: string): string[] {
  const { webhook, stream } = config.publisher(name) ?? {};
  const { stream: source, secrets = [] } = config.subscriber(name) ?? {};
  return [
    ...(webhook ? [`to ${withoutSecrets(webhook.url)}`] : []),
    ...(stream ? [`to stream "${stream.stream}" of ${withoutSecrets(stream.url)}`] : []),
    ...(source ? [`from stream "${source.stream}" of ${withoutSecrets(source.url)}`] : []),
    ...(secrets.length > 0 ? [`from POST /subscribers/${name}`] : []),
  ];
}

/** Most categories of a group that are named. */
const MOST_NAMED = 20;

/** Startup lines: which group reads which categories, and how. */
export function announceSubscriptions(domain: DomainDescription, config: Config): string[] {
  const width = Math.max(0, ...domain.handlers.map((handler) => handler.name.length)) + 2;
  return [
    "Registered subscriptions:",
    ...domain.handlers.map(({ name, categories }) => {
      const kind = kindOf(config, name) === "stream" ? "StreamSubscription" : "EventStoreSubscription";
      const workers = config.workers(name, categories);
      const foreign = placesOf(config, name).map((place) => `; ${place}`).join("");
      const [first, more] = [categories.slice(0, MOST_NAMED), categories.length - MOST_NAMED];
      const named = `${first.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
      return `  ${name.padEnd(width)}-> ${named} (${kind}${workers > 1 ? `, ${workers} workers` : ""})${foreign}`;
    }),
  ];
}

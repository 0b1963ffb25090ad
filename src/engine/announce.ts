import { relative } from "node:path";
import type { BrokerConfig, Config, StoreConfig } from "../config/config.ts";
import type { DomainDescription } from "../isolation/protocol.ts";

/** A location as a person would write it, without secrets. */
function shown({ provider, url }: StoreConfig | BrokerConfig): string {
  if (provider === "memory") return "(this process)";
  if (provider !== "sqlite") return url.replace(/:\/\/([^:@/]*):.*@/, "://$1:***@");
  const near = relative(Deno.cwd(), url);
  return near.startsWith("..") ? url : near;
}

/** By which subscription a group is fed. */
export function kindOf(config: Config, group: string): "stream" | "event_store" {
  return config.groupConfig(group).type;
}

/** The lines that say where everything is. */
export function announceAdapters(store: StoreConfig, broker: BrokerConfig): string[] {
  const width = Math.max(store.provider.length, broker.provider.length) + 2;
  return [
    `  event store   ${store.provider.padEnd(width)}${shown(store)}`,
    `  broker        ${broker.provider.padEnd(width)}${shown(broker)}`,
  ];
}

/** The lines that say which group reads what, and how. */
export function announceSubscriptions(domain: DomainDescription, config: Config): string[] {
  const width = Math.max(0, ...domain.handlers.map((handler) => handler.name.length)) + 2;
  return [
    "Registered subscriptions:",
    ...domain.handlers.map(({ name, categories }) => {
      const kind = kindOf(config, name) === "stream" ? "StreamSubscription" : "EventStoreSubscription";
      const workers = config.workers(name, categories);
      return `  ${name.padEnd(width)}-> ${categories.join(", ")} (${kind}${workers > 1 ? `, ${workers} workers` : ""})`;
    }),
  ];
}

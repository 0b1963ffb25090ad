import type { Config } from "../config/config.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import type { EventStore } from "../store/port.ts";

/** What whoever operates a domain works on. */
export interface Operator {
  /** The configuration. */
  readonly config: Config;
  /** The domain's description. */
  readonly domain: DomainDescription;
  /** Its store. */
  readonly store: EventStore;
}

/** Shortens a process id `host/boot/namespace:pid.start:id` to its readable part. */
export function processName(owner: string): string {
  const [machine, pid = ""] = owner.split(":");
  return `${machine.split("/")[0]}:${pid.split(".")[0]}`;
}

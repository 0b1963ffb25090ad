import type { Config } from "../config/config.ts";
import { announceSubscriptions } from "../engine/announce.ts";
import type { Engine } from "../engine/engine.ts";
import type { DomainDescription } from "../isolation/protocol.ts";

/** The output of `--dry-run`: what would run, and the permissions of each group's workers. */
export function announceDryRun(domain: DomainDescription, engine: Engine, config: Config): string[] {
  const lines = [`Domain "${domain.name}" would run like this:`, ...announceSubscriptions(domain, config)];
  for (const { name } of domain.handlers) {
    lines.push(`Permissions of ${name}:`);
    for (const [kind, value] of Object.entries(engine.permissionsOf(name))) {
      lines.push(`  ${kind.padEnd(7)}${value === false ? "none" : Array.isArray(value) ? value.join(", ") : value}`);
    }
  }
  return lines;
}

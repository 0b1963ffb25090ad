import { locate, openStore } from "../adapters/open.ts";
import type { Config } from "../config/config.ts";
import { announceSubscriptions } from "../engine/announce.ts";
import type { Engine } from "../engine/engine.ts";
import { renameFault } from "../engine/renamed.ts";
import { renamesOf } from "../groups/renames.ts";
import { startsOf } from "../groups/starts.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import { messageOf } from "../lib/annals_error.ts";
import { StoreUnavailableError } from "../store/errors.ts";
import { versionOf } from "../store/generations.ts";
import type { EventStore } from "../store/port.ts";

/** The output of `--dry-run`: what would run, the permissions of each group's workers, and where new groups begin. */
export async function announceDryRun(domain: DomainDescription, engine: Engine, config: Config): Promise<string[]> {
  const lines = [`Domain "${domain.name}" would run like this:`, ...announceSubscriptions(domain, config)];
  for (const { name } of domain.handlers) {
    lines.push(`Permissions of ${name}:`);
    for (const [kind, value] of Object.entries(engine.permissionsOf(name))) {
      lines.push(`  ${kind.padEnd(7)}${value === false ? "none" : Array.isArray(value) ? value.join(", ") : value}`);
    }
  }
  return [...lines, ...await announceStarts(domain, config)];
}

async function announceStarts(domain: DomainDescription, config: Config): Promise<string[]> {
  let store: EventStore | undefined;
  try {
    store = await openStore(locate(config.store, domain.name), { create: false, domain: domain.name });
    return await startLines(store, domain);
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error;
    if (error.reason === "missing") return ["There is no log yet: all groups would begin with its first message."];
    return [`Where new groups would begin is not known: ${messageOf(error)}`];
  } finally {
    await store?.close();
  }
}

async function startLines(store: EventStore, domain: DomainDescription): Promise<string[]> {
  const last = await store.lastPosition();
  if (last === 0) return ["The log is empty: all groups would begin with its first message."];
  const generations = await store.generations();
  const isMade = (group: string) =>
    domain.projections.filter((one) => one.group === group).some(({ name, version }) =>
      generations.some(({ projection, generation }) => projection === name && versionOf(generation) === version)
    );
  // As if those that say so had their new names already.
  const known = await store.checkpoints();
  const renames = new Map(
    domain.handlers.flatMap(({ name, formerly }) =>
      formerly === undefined ? [] : renamesOf(name, formerly, known).map(({ from, to }) => [from, to])
    ),
  );
  const checkpoints = known.map((one) => ({ ...one, group: renames.get(one.group) ?? one.group }));
  const fault = renameFault(domain, checkpoints);
  if (fault !== null) return ["The server would refuse to start:", "", ...fault.split("\n")];
  const isRenamed = (group: string) => [...renames.values()].includes(group);
  const starts = (await startsOf(store, domain.handlers)).filter(({ group }) => !isRenamed(group) && !isMade(group));
  const lines = starts.map(({ group, category, after }) => {
    const isBuilt = domain.projections.some((one) => one.group === group);
    if (isBuilt) return `  ${group} builds its rows from all of ${category}, in bulk`;
    return `  ${group} begins ${
      after === 0 ? `with the first message of ${category}` : `with what comes after position ${after} in ${category}`
    }`;
  });
  const moved = [...renames].map(([from, to]) => `${to} goes on where ${from} was.`);
  return [...moved, ...lines.length === 0 ? ["There are no new groups."] : ["New groups:", ...lines]];
}

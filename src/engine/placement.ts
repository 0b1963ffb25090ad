import type { Config } from "../config/config.ts";
import { leaseName } from "../groups/partition.ts";
import type { Unit } from "../isolation/host_pool.ts";
import type { DomainDescription } from "../isolation/protocol.ts";

/** The assignment of partitions to workers and hosts. */
export interface Placement {
  /** The workers. */
  readonly units: readonly Unit[];
  /** The worker of one partition of a group. */
  readonly unitOf: (group: string, partition: number) => string;
}

/**
 * Assigns the partitions of all groups to workers, and workers to hosts: one worker each, or one for several groups
 * with the same grants, if so configured.
 *
 * @param domain The domain.
 * @param config The configuration of worker sharing and hosts.
 * @param specOf Returns the start parameters of a group's worker.
 */
export function placeWorkers(
  domain: DomainDescription,
  config: Config,
  specOf: (group: string) => Unit["spec"],
): Placement {
  const most = config.handlersPerWorker;
  const units: Unit[] = [];
  const places = new Map<string, string>();
  /** The shared worker with room left, by host and grants. */
  const open = new Map<string, { name: string; groups: string[] }>();
  for (const { name: group, categories } of domain.handlers) {
    const partitions = config.workers(group, categories);
    const home = config.hostOf(group);
    const spec = specOf(group);
    for (let partition = 0; partition < partitions; partition++) {
      const lease = leaseName(group, partition, partitions);
      const alike = JSON.stringify([home, partition, spec]);
      const found = most > 1 ? open.get(alike) : undefined;
      if (found && found.groups.length < most) {
        found.groups.push(group);
        places.set(`${group}#${partition}`, found.name);
        continue;
      }
      const groups = [group];
      open.set(alike, { name: lease, groups });
      units.push({ name: lease, home, groups, spec });
      places.set(`${group}#${partition}`, lease);
    }
  }
  return { units, unitOf: (group, partition) => places.get(`${group}#${partition}`)! };
}

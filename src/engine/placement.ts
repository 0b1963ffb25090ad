import type { Config } from "../config/config.ts";
import { leaseName } from "../groups/partition.ts";
import type { Unit } from "../isolation/host_pool.ts";
import type { DomainDescription } from "../isolation/protocol.ts";

/** Which worker runs what, and in which host. */
export interface Placement {
  /** The workers. */
  readonly units: readonly Unit[];
  /** The worker of one partition of a group. */
  readonly unitOf: (group: string, partition: number) => string;
}

/**
 * Distributes the partitions of all groups over workers, and those over hosts: a worker each, or, where so configured, one
 * for several groups that were granted the same.
 *
 * @param domain The domain.
 * @param config How many share a worker, and which host a group is in.
 * @param specOf What a group's worker is started with.
 */
export function placeWorkers(
  domain: DomainDescription,
  config: Config,
  specOf: (group: string) => Unit["spec"],
): Placement {
  const most = config.handlersPerWorker;
  const units: Unit[] = [];
  const places = new Map<string, string>();
  /** By what they have in common: the worker that still has room. */
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

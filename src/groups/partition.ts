import type { Fence } from "../store/port.ts";

/** One partition of a group in one category, processed by one worker at a time. */
export interface GroupPartition {
  /** The consumer group. */
  readonly group: string;
  /** The category it reads. */
  readonly category: string;
  /** The number of partitions of the group. */
  readonly partitions: number;
  /** The index of this partition, from 0. */
  readonly partition: number;
  /** The name of its lease. */
  readonly fence?: Fence;
}

/**
 * Returns the name of a partition's lease.
 *
 * @param group The consumer group.
 * @param partition The partition's index.
 * @param partitions The number of partitions.
 * @returns Like `NotificationHandler#0/1`.
 */
export function leaseName(group: string, partition: number, partitions: number): string {
  return `${group}#${partition}/${partitions}`;
}

/** Returns the names of the leases of all partitions. */
export function leaseNames(group: string, partitions: number): string[] {
  return Array.from({ length: partitions }, (_, partition) => leaseName(group, partition, partitions));
}

/** Parses a name made by {@linkcode leaseName}. */
export function partitionOfLease(lease: string): number {
  return Number(/#(\d+)\/\d+$/.exec(lease)?.[1] ?? 0);
}

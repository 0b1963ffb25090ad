import type { Fence } from "../store/port.ts";

export { leaseName } from "../store/grant.ts";

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

/** Parses a name made by {@linkcode leaseName}. */
export function partitionOfLease(lease: string): number {
  return Number(/#(\d+)\/\d+$/.exec(lease)?.[1] ?? 0);
}

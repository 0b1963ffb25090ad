import type { Fence } from "../store/port.ts";

/** One partition of one group in one category: what one worker works on at a time. */
export interface GroupPartition {
  /** The consumer group. */
  readonly group: string;
  /** The category it reads. */
  readonly category: string;
  /** How many partitions the group's streams are spread over. */
  readonly partitions: number;
  /** Which of them this is, from 0. */
  readonly partition: number;
  /** Under which lease it writes. */
  readonly fence?: Fence;
}

/**
 * Names the lease of a partition of a group.
 *
 * @param group The consumer group.
 * @param partition Which partition.
 * @param partitions Of how many.
 * @returns Like `NotificationHandler#0/1`.
 */
export function leaseName(group: string, partition: number, partitions: number): string {
  return `${group}#${partition}/${partitions}`;
}

/** Which partition a lease is for: what {@linkcode leaseName} has put into its name. */
export function partitionOfLease(lease: string): number {
  return Number(/#(\d+)\/\d+$/.exec(lease)?.[1] ?? 0);
}

import { partitionOf } from "../messages/ids.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import type { Checkpoint, Fence } from "../store/port.ts";

/**
 * The name of the checkpoint that says from where on the broker has a category (see {@linkcode brokerFloor}), and of the
 * relay's lease.
 */
export const RELAY_GROUP = "$relay";

/** One partition of one group in one category: what one worker works on at a time. */
export interface Lane {
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

/** Tells where a lane is, from the group's checkpoints, also when the number of partitions was changed. */
export class Progress {
  #lane: Lane;
  #others: readonly Checkpoint[];
  #position: number;

  /**
   * Finds out where a lane is.
   *
   * @param lane The lane.
   * @param checkpoints All checkpoints of its group.
   */
  constructor(lane: Lane, checkpoints: readonly Checkpoint[]) {
    this.#lane = lane;
    const own = checkpoints.filter((checkpoint) => checkpoint.category === lane.category);
    const same = own.find((c) => c.partitions === lane.partitions && c.partition === lane.partition);
    // Under another number of partitions, the same streams were done up to here or there.
    this.#others = own.filter((c) => c.partitions !== lane.partitions);
    this.#position = same?.position ?? 0;
    const floors = new Map<number, { sum: number; lowest: number }>();
    for (const { partitions, position } of this.#others) {
      const floor = floors.get(partitions) ?? { sum: 0, lowest: Infinity };
      floors.set(partitions, { sum: floor.sum + 1, lowest: Math.min(floor.lowest, position) });
    }
    // A layout whose partitions all have a checkpoint is done up to the lowest of them.
    for (const [partitions, { sum, lowest }] of floors) {
      if (sum === partitions) this.#position = Math.max(this.#position, lowest);
    }
    this.#others = this.#others.filter((checkpoint) => checkpoint.position > this.#position);
  }

  /** Everything of this lane up to here is done, or parked. */
  get position(): number {
    return this.#position;
  }

  /** Moves on. */
  moveTo(position: number): void {
    if (position <= this.#position) return;
    this.#position = position;
    if (this.#others.length > 0) this.#others = this.#others.filter((checkpoint) => checkpoint.position > position);
  }

  /** Whether a message is for this lane and still to be handled. */
  wants({ position, stream }: MessageRecord): boolean {
    if (position <= this.#position) return false;
    if (partitionOf(stream, this.#lane.partitions) !== this.#lane.partition) return false;
    return !this.#others.some((checkpoint) =>
      checkpoint.position >= position && partitionOf(stream, checkpoint.partitions) === checkpoint.partition
    );
  }

  /** The checkpoint to write for a position. */
  checkpoint(position: number): Checkpoint {
    const { group, category, partitions, partition } = this.#lane;
    return { group, category, partitions, partition, position };
  }
}

/**
 * Tells from where on the broker has everything of a category. What is at or below it may have been trimmed, and is
 * to be read from the log.
 *
 * @param checkpoints Checkpoints, those of {@linkcode RELAY_GROUP} among them.
 * @param category The category.
 * @returns A position; 0 when the broker has everything.
 */
export function brokerFloor(checkpoints: readonly Checkpoint[], category: string): number {
  return checkpoints.find((c) => c.group === RELAY_GROUP && c.category === category)?.position ?? 0;
}

import type { MessageRecord } from "../messages/envelope.ts";
import { partitionOf } from "../messages/ids.ts";
import type { Checkpoint, EventStore } from "../store/port.ts";
import type { GroupPartition } from "./partition.ts";

/**
 * How far a group is in a category: up to here all of its partitions are done, whatever numbers of partitions it had.
 *
 * A layout (a number of partitions) counts when each of its partitions has a checkpoint; of those, the furthest.
 *
 * @param checkpoints All checkpoints of one group.
 * @param category The category.
 * @returns A position; 0 when nothing is done for certain.
 */
export function reachedBy(checkpoints: readonly Checkpoint[], category: string): number {
  const layouts = new Map<number, { count: number; lowest: number }>();
  for (const checkpoint of checkpoints) {
    if (checkpoint.category !== category) continue;
    const { count, lowest } = layouts.get(checkpoint.partitions) ?? { count: 0, lowest: Infinity };
    layouts.set(checkpoint.partitions, { count: count + 1, lowest: Math.min(lowest, checkpoint.position) });
  }
  let furthest = 0;
  for (const [partitions, { count, lowest }] of layouts) {
    if (count === partitions) furthest = Math.max(furthest, lowest);
  }
  return furthest;
}

/**
 * Whether a group has passed a position: nothing at or below it is left to be handled, but what is set aside for a retry.
 *
 * @param store The store.
 * @param group The consumer group.
 * @param categories What it reads.
 * @param position The position.
 */
export async function hasPassed(
  store: EventStore,
  group: string,
  categories: readonly string[],
  position: number,
): Promise<boolean> {
  const checkpoints = await store.checkpoints(group);
  for (const category of categories) {
    const after = reachedBy(checkpoints, category);
    if (after >= position) continue;
    if ((await store.readLog({ category, after, upTo: position, limit: 1 })).length > 0) return false;
  }
  return true;
}

/** How far a group is behind the log. */
export interface Lag {
  /** Everything up to here is done in all that it reads. */
  readonly position: number;
  /** How many messages are behind that. */
  readonly messages: number;
  /** When the first of them was made, in milliseconds since 1970; `null` when there is none. */
  readonly oldest: number | null;
}

/**
 * How far a group is behind the log.
 *
 * @param store The store.
 * @param group The consumer group.
 * @param categories What it reads.
 */
export async function lagOf(store: EventStore, group: string, categories: readonly string[]): Promise<Lag> {
  const checkpoints = await store.checkpoints(group);
  let [position, messages, oldest] = [Infinity, 0, Infinity];
  for (const category of categories) {
    const reached = reachedBy(checkpoints, category);
    const behind = await store.lag(category, reached);
    position = Math.min(position, reached);
    messages += behind.messages;
    oldest = Math.min(oldest, behind.oldest ?? Infinity);
  }
  return { position: position === Infinity ? 0 : position, messages, oldest: oldest === Infinity ? null : oldest };
}

/** Tells how far one partition of a group is, also when the number of partitions was changed. */
export class PartitionProgress {
  #at: GroupPartition;
  #others: readonly Checkpoint[];
  #position: number;

  /**
   * Finds out how far a partition is.
   *
   * @param at The partition.
   * @param checkpoints All checkpoints of its group.
   */
  constructor(at: GroupPartition, checkpoints: readonly Checkpoint[]) {
    this.#at = at;
    const own = checkpoints.filter((checkpoint) => checkpoint.category === at.category);
    const same = own.find((c) => c.partitions === at.partitions && c.partition === at.partition);
    // Under another number of partitions, the same streams were done up to here or there.
    this.#others = own.filter((c) => c.partitions !== at.partitions);
    this.#position = same?.position ?? 0;
    this.#position = Math.max(this.#position, reachedBy(this.#others, at.category));
    this.#others = this.#others.filter((checkpoint) => checkpoint.position > this.#position);
  }

  /** Everything of this partition up to here is done, or deferred. */
  get position(): number {
    return this.#position;
  }

  /** Moves on. */
  moveTo(position: number): void {
    if (position <= this.#position) return;
    this.#position = position;
    if (this.#others.length > 0) this.#others = this.#others.filter((checkpoint) => checkpoint.position > position);
  }

  /** Whether a message is for this partition and still to be handled. */
  wants({ position, stream }: MessageRecord): boolean {
    if (position <= this.#position) return false;
    if (partitionOf(stream, this.#at.partitions) !== this.#at.partition) return false;
    return !this.#others.some((checkpoint) =>
      checkpoint.position >= position && partitionOf(stream, checkpoint.partitions) === checkpoint.partition
    );
  }

  /** The checkpoint to write for a position. */
  checkpoint(position: number): Checkpoint {
    const { group, category, partitions, partition } = this.#at;
    return { group, category, partitions, partition, position };
  }
}

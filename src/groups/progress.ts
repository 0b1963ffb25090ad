import type { MessageRecord } from "../messages/envelope.ts";
import { partitionOf } from "../messages/ids.ts";
import type { Checkpoint, EventStore } from "../store/port.ts";
import { reachedBy } from "../store/reached.ts";
import type { GroupPartition } from "./partition.ts";

export { reachedBy } from "../store/reached.ts";

/**
 * Returns whether a group has passed a position: everything up to it is handled or deferred for a retry.
 *
 * @param store The store.
 * @param group The consumer group.
 * @param categories The categories it reads.
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
    if ((await store.readLog({ category, after, upTo: position, limit: 1, largest: 0 })).length > 0) return false;
  }
  return true;
}

/**
 * Returns whether messages of a group wait for their first attempt: set aside after a crash, to be tried one at a time, or
 * replayed. Those that wait for a retry, or for code that knows them, do not count, nor what waits behind them.
 *
 * @param store The store.
 * @param group The consumer group.
 * @param position Up to here.
 */
export async function awaitsFirstAttempts(store: EventStore, group: string, position: number): Promise<boolean> {
  const deferred = (await store.deferred(group)).filter((message) => message.position <= position);
  const blocked = new Set(
    deferred.filter(({ failures, awaits }) => failures.length > 0 || awaits !== null).map(({ stream }) => stream),
  );
  return deferred.some(({ stream }) => !blocked.has(stream));
}

/** How far a group lags behind the log. */
export interface Lag {
  /** Everything up to here is handled or deferred, in all its categories. */
  readonly position: number;
  /** The number of messages after that. */
  readonly messages: number;
  /** When the first of them was created, in milliseconds since 1970; `null` if there is none. */
  readonly oldest: number | null;
}

/** Computes how far a group lags behind the log.
 *
 * @param store The store.
 * @param group The consumer group.
 * @param categories The categories it reads.
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

/** Tracks the progress of one partition, across changes of the number of partitions. */
export class PartitionProgress {
  #at: GroupPartition;
  #others: readonly Checkpoint[];
  #position: number;

  /**
   * Determines the progress of a partition.
   *
   * @param at The partition.
   * @param checkpoints All checkpoints of its group.
   */
  constructor(at: GroupPartition, checkpoints: readonly Checkpoint[]) {
    this.#at = at;
    const own = checkpoints.filter((checkpoint) => checkpoint.category === at.category);
    const same = own.find((c) => c.partitions === at.partitions && c.partition === at.partition);
    // Under other partition counts, the same streams may have different checkpoints.
    this.#others = own.filter((c) => c.partitions !== at.partitions);
    this.#position = same?.position ?? 0;
    this.#position = Math.max(this.#position, reachedBy(this.#others, at.category));
    this.#others = this.#others.filter((checkpoint) => checkpoint.position > this.#position);
  }

  /** The checkpoint: everything of this partition up to here is handled or deferred. */
  get position(): number {
    return this.#position;
  }

  /** Advances to a position. */
  moveTo(position: number): void {
    if (position <= this.#position) return;
    this.#position = position;
    if (this.#others.length > 0) this.#others = this.#others.filter((checkpoint) => checkpoint.position > position);
  }

  /** Whether a message belongs to this partition and is not handled yet. */
  wants({ position, stream }: MessageRecord): boolean {
    if (position <= this.#position) return false;
    if (partitionOf(stream, this.#at.partitions) !== this.#at.partition) return false;
    return !this.#others.some((checkpoint) =>
      checkpoint.position >= position && partitionOf(stream, checkpoint.partitions) === checkpoint.partition
    );
  }

  /** Returns the checkpoint to write for a position. */
  checkpoint(position: number): Checkpoint {
    const { group, category, partitions, partition } = this.#at;
    return { group, category, partitions, partition, position };
  }
}

import type { MessageRecord } from "../messages/envelope.ts";

/** How to read for a consumer group. */
export interface ReadGroupOptions {
  /** The broker stream: a category. */
  readonly stream: string;
  /** The consumer group. */
  readonly group: string;
  /** Who reads: what it gets stays its own until it is acknowledged or claimed. */
  readonly consumer: string;
  /** At most this many. */
  readonly count: number;
  /** How long to wait for the first one, in milliseconds. 0: not at all. */
  readonly block: number;
  /** Ends the wait early. */
  readonly signal?: AbortSignal;
}

/** What a group was given. */
export interface Delivered {
  /** The messages, in order of position. */
  readonly messages: readonly MessageRecord[];
  /**
   * For each message, the position of the one that was published to the stream before it; 0 when it is the first. A
   * reader that has not seen that one has missed something: another reader took it, or the broker lost it.
   */
  readonly previous: readonly number[];
  /**
   * If there are no messages: the stream's last position when the broker looked, where it knows. A group whose reader has
   * not come that far missed something: another reader took it.
   */
  readonly last?: number;
}

/** How to take over what vanished consumers left. */
export interface ClaimOptions {
  /** The broker stream. */
  readonly stream: string;
  /** The consumer group. */
  readonly group: string;
  /** Who takes over. */
  readonly consumer: string;
  /** Only what was delivered at least this long ago, in milliseconds. */
  readonly idle: number;
  /** At most this many. */
  readonly count: number;
}

/** One consumer group of a broker stream. */
export interface GroupInfo {
  /** Its name. */
  readonly group: string;
  /** The last position that was delivered to it. */
  readonly delivered: number;
  /** How many were delivered and not acknowledged. */
  readonly pending: number;
  /** The lowest of them; `null` when there is none. */
  readonly lowestPending: number | null;
}

/** What a broker stream holds. */
export interface BrokerStreamInfo {
  /** The last position that was ever published to it; 0 when none was, or when the broker was wiped. */
  readonly last: number;
  /** The id of the message at {@linkcode BrokerStreamInfo.last}; `null` when it was trimmed. */
  readonly lastId: string | null;
  /** The first position it still has; `null` when it has none. */
  readonly first: number | null;
  /** How many entries it has. */
  readonly length: number;
  /** Its groups, by name. */
  readonly groups: readonly GroupInfo[];
}

/**
 * The broker: copies of categories, read by consumer groups. It is a cache of the log and may be wiped at any time.
 *
 * An entry's id is its message's position. An adapter is correct when it passes the suite of `@annals/annals/testing`.
 */
export interface Broker {
  /** What it is, like `redis`. */
  readonly kind: string;
  /** Where it is, without secrets. */
  readonly location: string;
  /**
   * Adds messages to the broker streams of their categories, in order of position. Those at or below a stream's last position
   * are there already and are passed over: publishing again is harmless.
   *
   * @param messages The messages.
   * @param expected For some streams, the last position that they must have at least.
   * @param previous For some streams, the position of the message before the first of these. @default {`expected`}
   * @returns How many were new.
   * @throws {BrokerBehindError} When a stream has lost what it had; nothing was added to any stream (of one node).
   */
  publish(
    messages: readonly MessageRecord[],
    expected?: ReadonlyMap<string, number>,
    previous?: ReadonlyMap<string, number>,
  ): Promise<number>;
  /**
   * Says whose copy this is, and that somebody looks after it. When it has copies of another log, they and their groups
   * are deleted.
   *
   * @param logId The log.
   * @returns Whether anything was deleted.
   */
  adopt(logId: string): Promise<boolean>;
  /** Deletes a stream with its groups, as if it had never been. */
  remove(stream: string): Promise<void>;
  /** Makes a group that starts behind a position; leaves an existing one alone. */
  createGroup(stream: string, group: string, after: number): Promise<void>;
  /** Puts a group behind a position, with nothing pending; makes it when missing. */
  seek(stream: string, group: string, after: number): Promise<void>;
  /**
   * The next messages for a group; they are pending until acknowledged.
   *
   * @throws {GroupMissingError} When there is no such group.
   */
  read(options: ReadGroupOptions): Promise<Delivered>;
  /** Takes messages off a group's pending list. */
  acknowledge(stream: string, group: string, positions: readonly number[]): Promise<void>;
  /**
   * Takes over messages that a consumer of the group was given and did not acknowledge, lowest first.
   *
   * @throws {GroupMissingError} When there is no such group.
   */
  claim(options: ClaimOptions): Promise<MessageRecord[]>;
  /** Deletes entries up to a position; returns how many. */
  trim(stream: string, upTo: number): Promise<number>;
  /** What a broker stream holds. */
  describe(stream: string): Promise<BrokerStreamInfo>;
  /** Lets go of everything. */
  close(): Promise<void>;
}

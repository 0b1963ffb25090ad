import type { MessageRecord } from "../messages/envelope.ts";

/** How to read for a consumer group. */
export interface ReadGroupOptions {
  /** The broker stream: a category. */
  readonly stream: string;
  /** The consumer group. */
  readonly group: string;
  /** The consumer; messages delivered to it stay pending until acknowledged or claimed. */
  readonly consumer: string;
  /** At most this many. */
  readonly count: number;
  /** How long to wait for the first message, in milliseconds; 0 for not at all. */
  readonly block: number;
  /** Ends the wait early. */
  readonly signal?: AbortSignal;
}

/** Messages delivered to a group. */
export interface Delivered {
  /** The messages, in order of position. */
  readonly messages: readonly MessageRecord[];
  /**
   * For each message, the position of its predecessor in the stream; 0 if it is the first. A reader that has not seen
   * the predecessor has missed messages: another reader got them, or the broker lost them.
   */
  readonly previous: readonly number[];
  /**
   * If there are no messages: the stream's last position when the broker looked, where it knows. A group whose reader has
   * not come that far missed something: another reader took it.
   */
  readonly last?: number;
}

/** How to claim pending messages of crashed consumers. */
export interface ClaimOptions {
  /** The broker stream. */
  readonly stream: string;
  /** The consumer group. */
  readonly group: string;
  /** The claiming consumer. */
  readonly consumer: string;
  /** Only messages delivered at least this long ago, in milliseconds. */
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
  /** The number of delivered but unacknowledged messages. */
  readonly pending: number;
  /** The lowest position among them; `null` if there is none. */
  readonly lowestPending: number | null;
}

/** The state of a broker stream. */
export interface BrokerStreamInfo {
  /** The last position ever published to it; 0 if none, or if the broker was wiped. */
  readonly last: number;
  /** The id of the message at {@linkcode BrokerStreamInfo.last}; `null` if it was trimmed. */
  readonly lastId: string | null;
  /** The first position it still has; `null` if it has none. */
  readonly first: number | null;
  /** The number of entries. */
  readonly length: number;
  /** Its groups, by name. */
  readonly groups: readonly GroupInfo[];
}

/**
 * The broker holds copies of categories, read by consumer groups. It is a cache of the log and may be wiped at any
 * time.
 *
 * An entry's id is its message's position. An adapter is correct if it passes the suite of `@annals/annals/testing`.
 */
export interface Broker {
  /** Its kind, like `redis`. */
  readonly kind: string;
  /** Its location, without secrets. */
  readonly location: string;
  /**
   * Appends messages to the broker streams of their categories, in order of position. Messages at or below a stream's
   * last position are skipped, so publishing is idempotent.
   *
   * @param messages The messages.
   * @param expected For some streams, the last position that they must have reached.
   * @param previous For some streams, the position of the message before the first of these. @default {`expected`}
   * @returns The number of new messages.
   * @throws {BrokerBehindError} If a stream has lost messages; nothing was added to any stream (of the same node).
   */
  publish(
    messages: readonly MessageRecord[],
    expected?: ReadonlyMap<string, number>,
    previous?: ReadonlyMap<string, number>,
  ): Promise<number>;
  /**
   * Claims the broker for a log and marks it as in use. Copies of another log are deleted with their groups.
   *
   * @param logId The log.
   * @returns Whether anything was deleted.
   */
  adopt(logId: string): Promise<boolean>;
  /** Deletes a stream and its groups. */
  remove(stream: string): Promise<void>;
  /** Creates a group that starts after a position; leaves an existing one unchanged. */
  createGroup(stream: string, group: string, after: number): Promise<void>;
  /** Moves a group to a position, with nothing pending; creates it if missing. */
  seek(stream: string, group: string, after: number): Promise<void>;
  /**
   * Returns the next messages for a group; they are pending until acknowledged.
   *
   * @throws {GroupMissingError} If there is no such group.
   */
  read(options: ReadGroupOptions): Promise<Delivered>;
  /** Acknowledges messages of a group. */
  acknowledge(stream: string, group: string, positions: readonly number[]): Promise<void>;
  /**
   * Claims pending messages of other consumers of the group, lowest position first.
   *
   * @throws {GroupMissingError} If there is no such group.
   */
  claim(options: ClaimOptions): Promise<MessageRecord[]>;
  /** Deletes entries up to a position; returns the number. */
  trim(stream: string, upTo: number): Promise<number>;
  /** Returns the last position ever published to each stream, 0 for none, as {@linkcode BrokerStreamInfo.last}, at once. */
  lasts(streams: readonly string[]): Promise<number[]>;
  /** Returns the state of a broker stream. */
  describe(stream: string): Promise<BrokerStreamInfo>;
  /** Releases all resources. */
  close(): Promise<void>;
}

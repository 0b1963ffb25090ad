import type { MessageRecord, NewMessage } from "../messages/envelope.ts";
import type { RowIndex, RowQuery } from "./row_query.ts";

export type { FieldValue, RowBound, RowCondition, RowField, RowIndex, RowOrder, RowQuery } from "./row_query.ts";

/**
 * The state that an append expects of its stream: the version of its last message, `none` (no messages), `exists`, or
 * `any`.
 */
export type ExpectedVersion = number | "none" | "exists" | "any";

/** Messages for one stream. */
export interface StreamAppend {
  /** The stream. */
  readonly stream: string;
  /** Its category. */
  readonly category: string;
  /** The expected state of the stream. */
  readonly expected: ExpectedVersion;
  /** The messages, in order; an empty list only checks the version. */
  readonly messages: readonly NewMessage[];
  /** Whether `outboxStatus()` counts them until they reached the broker; the relay takes all of the log. */
  readonly publish: boolean;
}

/** The fencing token of a lease: a commit with a fence is refused once another owner holds the lease. */
export interface Fence {
  /** The lease's name. */
  readonly lease: string;
  /** The token of the grant. */
  readonly token: number;
}

/** The checkpoint of one partition of a group in one category. */
export interface Checkpoint {
  /** The consumer group. */
  readonly group: string;
  /** The category it reads. */
  readonly category: string;
  /** The number of partitions of the group. */
  readonly partitions: number;
  /** The index of this partition, from 0. */
  readonly partition: number;
  /** Everything of this partition up to here is handled or deferred. */
  readonly position: number;
}

/** One row of a projection, as JSON text. */
export interface ProjectionRow {
  /** The projection's name. */
  readonly projection: string;
  /** The row's key. */
  readonly key: string;
  /** JSON text; `null` deletes the row. */
  readonly row: string | null;
  /** The position of the last message applied to the row. */
  readonly position: number;
  /**
   * In a commit: the position that the row must have there, 0 if there must be none; otherwise it is refused. Positions of
   * one row have to be different each time. @default {any}
   */
  readonly expected?: number;
}

/** One failed attempt of a group to handle a message. */
export interface FailedAttempt {
  /** When, in milliseconds since 1970. */
  readonly at: number;
  /** The error's message. */
  readonly error: string;
  /** Whether it is only known that another process had begun it and lost its lease. @default {false} */
  readonly lost?: true;
}

/** What a message waits for that became a dead letter and keeps its stream waiting: an operator's replay. */
export const REPLAY = "a replay";

/** A deferred message: it failed and will be retried, or waits behind a failed one of its stream. */
export interface DeferredMessage {
  /** The consumer group. */
  readonly group: string;
  /** The category. */
  readonly category: string;
  /** The stream. */
  readonly stream: string;
  /** The message. */
  readonly position: number;
  /** The number of attempts begun; 0 if it only waits behind an earlier message. */
  readonly attempts: number;
  /** The earliest time of the next attempt, in milliseconds since 1970. */
  readonly dueAt: number;
  /** The failures so far. */
  readonly failures: readonly FailedAttempt[];
  /** Whether it comes from an operator's replay and was not picked up yet. */
  readonly replayed: boolean;
  /**
   * The version of a type, like `Deposited@2`, that no code knew when it came: to be tried by code that does; or
   * {@linkcode REPLAY}.
   */
  readonly awaits: string | null;
}

/** Which deferred messages of a group to return. */
export interface DeferredOptions {
  /** Those of one category. @default {of all} */
  readonly category?: string;
  /** Only replays that were not picked up yet. @default {false} */
  readonly replayedOnly?: boolean;
  /** Only those at a later position. @default {0} */
  readonly after?: number;
  /** The most to return, the first. @default {all} */
  readonly limit?: number;
}

/** How many messages a group has deferred, of one kind. */
export interface DeferredCount {
  /** The consumer group. */
  readonly group: string;
  /** What they wait for, see {@linkcode DeferredMessage.awaits}. */
  readonly awaits: string | null;
  /** Whether they were tried and will be again; the others wait for their first attempt, or behind an earlier message. */
  readonly isTried: boolean;
  /** How many. */
  readonly count: number;
}

/** Which dead letters to return, and how much of them. */
export interface DeadLetterOptions {
  /** Those of one group. @default {of all} */
  readonly group?: string;
  /** The most to return. @default {all} */
  readonly limit?: number;
  /** Only those that are older than the one with this id. @default {from the newest on} */
  readonly before?: string;
  /** Messages of more bytes than this (about) come without their payload: `data` is empty. @default {none does} */
  readonly largest?: number;
}

/** A position in a category. */
export interface CategoryPosition {
  /** The category. */
  readonly category: string;
  /** The position. */
  readonly after: number;
}

/** What there is of a category behind a position. */
export interface Behind {
  /** The number of messages. */
  readonly messages: number;
  /** When the first of them was created, in milliseconds since 1970; `null` if there is none. */
  readonly oldest: number | null;
}

/** A dead letter: a message that a group gave up on. */
export interface DeadLetter {
  /** UUIDv7 of the dead letter. */
  readonly id: string;
  /** The consumer group. */
  readonly group: string;
  /** The stored message. */
  readonly message: MessageRecord;
  /** The reason: `handler failed`, `unknown type`, `newer version`, `damaged`, `upcast failed`. */
  readonly reason: string;
  /** The last error's message. */
  readonly error: string;
  /** The last error's stack, if there is one. */
  readonly stack: string | null;
  /** All attempts. */
  readonly attempts: readonly FailedAttempt[];
  /** When it was given up, in milliseconds since 1970. */
  readonly deadAt: number;
}

/** The outcome of a command. */
export interface CommandOutcome {
  /** The command's message id. */
  readonly commandId: string;
  /** `accepted`: its events are stored. `refused`: it broke a rule. `failed`: its handler gave up. */
  readonly status: "accepted" | "refused" | "failed";
  /** JSON text: the resulting events, or the error. */
  readonly detail: string;
}

/** An SQL statement for the store's database. */
export interface Statement {
  /** Its text, split at the values: one more part than values. */
  readonly parts: readonly string[];
  /** The values. */
  readonly values: readonly (string | number | boolean | null)[];
}

/** When a scheduled message is due: at a time, or some time after the commit, by the store's clock. In milliseconds. */
export type Due = { readonly at: number; readonly after?: undefined } | {
  readonly after: number;
  readonly at?: undefined;
};

/** A message to be appended later. */
export interface ScheduleEntry {
  /** Its key: a message that is scheduled with the same key is replaced. */
  readonly key: string;
  /** When it is due. */
  readonly due: Due;
  /** The category. */
  readonly category: string;
  /** The stream. */
  readonly stream: string;
  /** The message; its time will be that of its release. */
  readonly message: NewMessage;
}

/** A message that will be appended to the log when it is due. */
export interface ScheduledMessage {
  /** Its key. */
  readonly key: string;
  /** When it is due, in milliseconds since 1970, by the store's clock. */
  readonly dueAt: number;
  /** The category. */
  readonly category: string;
  /** The stream. */
  readonly stream: string;
  /** The message. */
  readonly message: NewMessage;
}

/** A scheduled message as it was read: once it is moved, replaced, cancelled or released, there is none such. */
export type ScheduledAs = Pick<ScheduledMessage, "key" | "dueAt"> & { readonly id: string };

/** Selects messages that have a tag and are of one of these types. */
export interface Tagged {
  /** The tag. */
  readonly tag: string;
  /** The types. */
  readonly types: readonly string[];
}

/** Refuses a commit once there is a message, after a position, that is among those selected. */
export interface AppendCondition {
  /** Which messages: those that at least one of these selects. */
  readonly among: readonly Tagged[];
  /** The position up to which they are known. */
  readonly after: number;
}

/** The tags that conditions speak of. */
export function tagsOf(conditions: readonly AppendCondition[]): string[] {
  return [...new Set(conditions.flatMap(({ among }) => among.map(({ tag }) => tag)))];
}

/** More tags of a message that is stored already. */
export interface Tagging {
  /** The message. */
  readonly position: number;
  /** Its type. */
  readonly type: string;
  /** Its tags. */
  readonly tags: readonly string[];
}

/** Everything written in one transaction. */
export interface Commit {
  /** Messages for one or more streams. */
  readonly appends?: readonly StreamAppend[];
  /** Refuse the commit unless this lease is still held. */
  readonly fence?: Fence;
  /** The group's new checkpoint. */
  readonly checkpoint?: Checkpoint;
  /** Rows of projections. */
  readonly rows?: readonly ProjectionRow[];
  /** Messages to defer; one with the same group and position is replaced. */
  readonly defer?: readonly DeferredMessage[];
  /** Messages that are no longer deferred. */
  readonly resume?: readonly { readonly group: string; readonly position: number }[];
  /** New dead letters. */
  readonly deadLetters?: readonly DeadLetter[];
  /** Outcomes of commands. */
  readonly outcomes?: readonly CommandOutcome[];
  /** SQL statements of a handler, run in the same transaction before everything else. */
  readonly statements?: readonly Statement[];
  /** Scheduled messages that this commit takes out of the schedule; it is refused if one is not there as it was read. */
  readonly release?: readonly ScheduledAs[];
  /** The keys of messages that are no longer scheduled; unknown ones are ignored. */
  readonly unschedule?: readonly string[];
  /** More checkpoints, for what is handled from several categories together. */
  readonly checkpoints?: readonly Checkpoint[];
  /** Messages to schedule, after all that is taken out. */
  readonly schedule?: readonly ScheduleEntry[];
  /** Refuse the commit unless all of these hold. */
  readonly conditions?: readonly AppendCondition[];
  /** More tags of messages that are stored already. */
  readonly tag?: readonly Tagging[];
  /** An idempotency key: if a commit with this key was made before, nothing is written and its `value` is returned. */
  readonly once?: { readonly key: string; readonly value: string };
}

/** All checkpoints that a commit writes. */
export function checkpointsOf({ checkpoint, checkpoints = [] }: Commit): readonly Checkpoint[] {
  return checkpoint ? [checkpoint, ...checkpoints] : checkpoints;
}

/** The result of a commit. */
export interface CommitResult {
  /** The position of the last message written; 0 if there was none. */
  readonly lastPosition: number;
  /** For each append, the new version of its stream; -1 if the stream is empty. */
  readonly versions: readonly number[];
  /** The value of an earlier commit with the same `once` key. */
  readonly repeated: string | null;
}

/** How to read one stream. */
export interface ReadStreamOptions {
  /** First version. @default {0, or the last if backward} */
  readonly from?: number;
  /** Last version, inclusive. @default {no bound} */
  readonly to?: number;
  /** Newest first. @default {false} */
  readonly backward?: boolean;
  /** At most this many. @default {no bound} */
  readonly limit?: number;
  /** Payloads of more bytes than this (about) are left out, as in {@linkcode ReadLogOptions}. @default {none is left out} */
  readonly largest?: number;
}

/** How to read the log. */
export interface ReadLogOptions {
  /** Only messages after this position. @default {0} */
  readonly after?: number;
  /** Only messages up to this position. @default {no bound} */
  readonly upTo?: number;
  /** At most this many. @default {1000} */
  readonly limit?: number;
  /** Only this category. @default {all} */
  readonly category?: string;
  /** Only this type. @default {all} */
  readonly type?: string;
  /** Only this correlation. @default {all} */
  readonly correlationId?: string;
  /** Only the message with this id. Not every store has an index of ids: give it a range. @default {all} */
  readonly id?: string;
  /** Only messages created at or after this time, in milliseconds since 1970. @default {no bound} */
  readonly since?: number;
  /** Newest first. @default {false} */
  readonly backward?: boolean;
  /**
   * Payloads of more bytes than this (about; stores may measure characters) are left out: `data` is empty. A thousand
   * messages may have 16 MB each.
   *
   * @default {none is left out}
   */
  readonly largest?: number;
}

/** Recent failures of the work under a lease, stored so that neither a restart nor another process resets the count. */
export interface Ends {
  /** The times of recent ends, in milliseconds since 1970. */
  readonly at: readonly number[];
  /** The number of consecutive rests. */
  readonly rests: number;
  /** The end of the current rest, in milliseconds since 1970; 0 if there was none. */
  readonly restingUntil: number;
  /** The last reason. */
  readonly reason: string;
}

/** A lease that was granted. */
export interface GrantedLease {
  /** The fencing token, which grows with every grant: the newest one holds the lease. */
  readonly token: number;
  /** Whether the previous holder released it cleanly; `false` if it crashed, possibly with messages in flight. */
  readonly clean: boolean;
  /** Whether nobody has had it since the requester `held` it. */
  readonly again: boolean;
  /** Recorded failures of earlier holders; `null` if none. */
  readonly ends: Ends | null;
}

/** A lease and its holder. */
export interface Lease {
  /** The lease's name. */
  readonly name: string;
  /** The consumer group, or another purpose. */
  readonly group: string;
  /** The number of partitions that the holder assumes. */
  readonly partitions: number;
  /** The holder. */
  readonly owner: string;
  /** Its token. */
  readonly token: number;
  /** When it expires unless renewed, in milliseconds since 1970, by the store's clock; 0 if released. */
  readonly expiresAt: number;
  /** Whether it is held now, by the store's clock: that of the reader may be wrong. */
  readonly isHeld: boolean;
  /** Recorded failures of its holders; `null` if none. */
  readonly ends: Ends | null;
}

/** A member: a process that runs a domain together with others. */
export interface Member {
  /** Its id, the owner of its leases. */
  readonly owner: string;
  /** The newest version of each message type that its code knows. */
  readonly types: Readonly<Record<string, number>>;
}

/** A request for a lease. */
export interface LeaseRequest {
  /** The lease's name. */
  readonly name: string;
  /** The group; all holders of a group must assume the same number of partitions. */
  readonly group: string;
  /** The number of partitions that the requester assumes. */
  readonly partitions: number;
  /** The requester. */
  readonly owner: string;
  /** The duration without renewal, in milliseconds. */
  readonly ttl: number;
  /**
   * The last token of this lease that the requester has heard of, 0 if none; for those who keep in mind how their work under it
   * ended. @default {unknown}
   */
  readonly held?: number;
}

/** Messages with certain tags, as of a moment. */
export interface TaggedMessages {
  /** The messages. */
  readonly messages: MessageRecord[];
  /** The log's last position at that moment. */
  readonly last: number;
}

/** Reads the log and writes to it. */
export interface EventLog {
  /**
   * Writes a commit in one transaction. Concurrent calls of a process may share a transaction, but succeed or fail
   * individually.
   *
   * @throws {WrongExpectedVersionError} If a stream is not at the expected version.
   * @throws {AppendConditionError} If there is a message that a condition excludes.
   * @throws {RowConflictError} If a row is not at the expected position.
   * @throws {FencedError} If the lease was lost.
   * @throws {ScheduleChangedError} If a message to release is not scheduled like that any more.
   * @throws {StatementError} If an SQL statement fails.
   * @throws {DuplicateMessageError} If a message is already stored (stores over a network only).
   * @throws {StoreUnavailableError} If the store is unreachable, locked, full, damaged or closed.
   */
  commit(commit: Commit): Promise<CommitResult>;
  /** Reads one stream, in order of version. */
  readStream(stream: string, options?: ReadStreamOptions): Promise<MessageRecord[]>;
  /**
   * Reads the log, in order of position (or backward). No message ever appears later at or below a position that was
   * read.
   */
  readLog(options?: ReadLogOptions): Promise<MessageRecord[]>;
  /**
   * Reads the messages at some positions, in order of position; missing ones are omitted.
   *
   * @param positions The positions, in any order.
   * @param options Payloads of more bytes than `largest` are left out, as in `readLog`.
   */
  readAt(positions: readonly number[], options?: Pick<ReadLogOptions, "largest">): Promise<MessageRecord[]>;
  /**
   * Reads the messages that have one of these tags and types, in order of position.
   *
   * @param among Which messages: those that at least one of these selects.
   * @param options Where to begin and end, and how many.
   * @returns The messages, and the log's last position at the moment of the read.
   */
  readTagged(
    among: readonly Tagged[],
    options?: Pick<ReadLogOptions, "after" | "upTo" | "limit">,
  ): Promise<TaggedMessages>;
  /** Returns the unique, permanent id of this log. */
  logId(): Promise<string>;
  /** Returns the position of the last message; 0 if there is none. */
  lastPosition(): Promise<number>;
  /**
   * Resolves when any process has written something, or after `timeout` milliseconds; it may resolve early.
   *
   * @param timeout The timeout, in milliseconds.
   * @param signal Ends the wait.
   * @param what Whether only messages count. @default {"anything"}
   */
  changed(timeout: number, signal?: AbortSignal, what?: "anything" | "messages"): Promise<void>;
}

/** The outbox: what of the log has not reached the broker yet. */
export interface Outbox {
  /** Deletes outbox rows up to a position and records the position as published. */
  markPublished(position: number, fence?: Fence): Promise<void>;
  /** Returns the last published position; unlike {@linkcode Outbox.outboxStatus}, it counts nothing. */
  published(): Promise<number>;
  /** Returns the number of waiting rows, the time of the oldest, and the last published position. */
  outboxStatus(): Promise<{ readonly waiting: number; readonly oldest: number | null; readonly published: number }>;
}

/** Checkpoints, leases and members of the groups. */
export interface Groups {
  /** Returns the checkpoints of all groups, of a group, or of a group in a category. */
  checkpoints(group?: string, category?: string): Promise<Checkpoint[]>;
  /**
   * Registers or renews a member for some milliseconds; 0 removes it. Other members and leases that would last longer
   * than any can are from before the clock was set back: members are shortened to that time, leases to the longest.
   */
  enroll(member: Member, ttl: number): Promise<void>;
  /** Returns the current members, by owner. */
  members(): Promise<Member[]>;
  /**
   * Returns which of these processes have a database session, if the store supports it; a session ends with its
   * process.
   */
  present?(owners: readonly string[]): Promise<string[]>;
  /** Grants a lease; `null` if another owner holds it. Requesting again fences the requester's earlier token. */
  acquireLease(request: LeaseRequest): Promise<GrantedLease | null>;
  /** Renews leases; returns the names of lost ones. */
  renewLeases(leases: readonly Fence[], ttl: number): Promise<string[]>;
  /** Releases a lease; `clean` if no messages were left in flight. */
  releaseLease(fence: Fence, clean: boolean): Promise<void>;
  /**
   * Records failures of the work under a lease, or clears them with `null`; has no effect once another owner holds the
   * lease.
   */
  recordEnds(fence: Fence, ends: Ends | null): Promise<void>;
  /** Returns all leases ever granted. */
  leases(): Promise<Lease[]>;
  /** Returns the deferred messages of a group, by position, including replays not yet picked up. */
  deferred(group: string, options?: DeferredOptions): Promise<DeferredMessage[]>;
  /** Counts the deferred messages of all groups. */
  countDeferred(): Promise<DeferredCount[]>;
  /** Returns the first {@linkcode MOST_REPLAYED} replayed messages not yet picked up, of all groups, by position. */
  replayed(): Promise<DeferredMessage[]>;
  /** Returns the number of messages of a category after a position, and the time of the first. */
  lag(category: string, after: number): Promise<Behind>;
  /** Returns the same for many positions at once: what several of them are behind is counted once. */
  lags(positions: readonly CategoryPosition[]): Promise<Behind[]>;
}

/** What is due now, and when to look again. */
export interface DueMessages {
  /** The first that are due, in order of due time. */
  readonly messages: readonly ScheduledMessage[];
  /** The store's time, in milliseconds since 1970. */
  readonly now: number;
  /** How long until the next one is due, in milliseconds: 0 if there are more; `null` if nothing is scheduled. */
  readonly wait: number | null;
}

/** Messages that are to be appended later. */
export interface Schedule {
  /** Returns the first messages that are due, at most `limit`. */
  due(limit: number): Promise<DueMessages>;
  /** Returns scheduled messages by key: those after a key, or the one with a key. */
  scheduled(
    options?: { readonly key?: string; readonly after?: string; readonly limit?: number },
  ): Promise<ScheduledMessage[]>;
}

/** What may be forgotten, by its age in milliseconds; `Infinity`: nothing. */
export interface Ages {
  /** Of outcomes of commands. */
  readonly outcomes: number;
  /** Of keys of idempotency that start with `keys.of`. */
  readonly keys: { readonly of: string; readonly age: number };
}

/** What would grow without a bound, and is of use only for a while. */
export interface Tidying {
  /**
   * Deletes some of what is older than that, by the store's clock. Keys of commands that are scheduled stay.
   *
   * @param ages How old it may become.
   * @param limit The most of each kind to delete.
   * @returns How much was deleted; less than the limit if there is no more.
   */
  tidy(ages: Ages, limit: number): Promise<number>;
  /** Returns keys of idempotency with their values, by key; `after`: those behind this one. */
  onceKeys(
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<{ readonly key: string; readonly value: string }[]>;
}

/** A state at a version of its stream, kept so that it need not be folded from the beginning. */
export interface Snapshot {
  /** The stream. */
  readonly stream: string;
  /** The version of the last message that is in it. */
  readonly version: number;
  /** The id of that message: a log that was set back has another one there. */
  readonly message: string;
  /** Of the code that has made it. */
  readonly fingerprint: string;
  /** JSON text. */
  readonly state: string;
}

/** States that can be folded again at any time: written beside the log, and lost without harm. */
export interface Snapshots {
  /** Returns the snapshot of a stream, if there is one by code with this fingerprint. */
  readSnapshot(stream: string, fingerprint: string): Promise<Snapshot | null>;
  /** Keeps snapshots, one a stream: the newest of its code. */
  writeSnapshots(snapshots: readonly Snapshot[]): Promise<void>;
}

/** The dead letters of all groups. */
export interface DeadLetters {
  /** Returns the newest dead letters, of one group or all. */
  deadLetters(options?: DeadLetterOptions): Promise<DeadLetter[]>;
  /** Returns one dead letter. */
  deadLetter(id: string): Promise<DeadLetter | null>;
  /** Returns the number of dead letters by group. */
  countDeadLetters(): Promise<Record<string, number>>;
  /** Hands dead letters back to the groups that failed, and only to them; returns the number. */
  replayDeadLetters(ids: readonly string[]): Promise<number>;
  /** Permanently deletes dead letters; returns the number. */
  purgeDeadLetters(options: { readonly group?: string; readonly ids?: readonly string[] }): Promise<number>;
}

/**
 * The rows of projections. Of a projection that has generations, its name stands for the one that readers see, and
 * `Balance@2` for one of them; commits write what they name.
 */
export interface Projections {
  /** Returns one row. */
  readRow(projection: string, key: string): Promise<ProjectionRow | null>;
  /** Returns the rows with the given keys, in no particular order; missing ones are omitted. */
  readRows(projection: string, keys: readonly string[]): Promise<ProjectionRow[]>;
  /** Returns all rows, by key. */
  listRows(
    projection: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ProjectionRow[]>;
  /** Returns the rows that a query selects. Two with equal conditions see the same order. */
  queryRows(query: RowQuery): Promise<ProjectionRow[]>;
  /** Returns what rows are stored under, of all that have some. */
  projections(): Promise<string[]>;
  /** Returns the number of rows for which all conditions hold. */
  countRows(query: Pick<RowQuery, "projection" | "where">): Promise<number>;
}

/** One build of a projection: rows of their own, fed by a group of its own. */
export interface Generation {
  /** The projection. */
  readonly projection: string;
  /** Which one: the version of its code, like `2`; `2.1` if it was rebuilt since with the same version. */
  readonly generation: string;
  /** The group that feeds it. */
  readonly group: string;
  /** `building`: from the log, in bulk. `fed`: as any group. `dropped`: its rows are being deleted. */
  readonly state: "building" | "fed" | "dropped";
  /** Whether readers see it. */
  readonly isActive: boolean;
  /** Whether an operator has chosen it: nothing else takes its place by itself. */
  readonly isPinned: boolean;
  /** When readers began to see it, the last time, in milliseconds since 1970; `null` if they never did. */
  readonly swappedAt: number | null;
  /** What has stopped the build; `null` if nothing did. */
  readonly error: string | null;
}

/** A change of what readers see. */
export interface Swap {
  /** The projection. */
  readonly projection: string;
  /** The generation that readers see now. */
  readonly from: string;
  /** The one that they are to see. */
  readonly to: string;
  /** The categories that both read. */
  readonly categories: readonly string[];
  /** Whether it is kept until an operator changes it. */
  readonly pin: boolean;
  /** Whether it may lack what the other one has. @default {false} */
  readonly stale?: boolean;
}

/** Why a generation may not take the place of another one. */
export interface SwapRefusal {
  /**
   * `absent`: there is none; `other`: readers see another one than was said; `building`; `stopped`: it cannot be built; `held`:
   * messages of its group are deferred or given up; `behind`: the other one has passed more.
   */
  readonly reason: "absent" | "other" | "building" | "stopped" | "held" | "behind";
  /** The same in words. */
  readonly message: string;
}

/** Which rows of a projection readers see: one generation, while others are built, or kept to go back to. */
export interface Generations {
  /** Returns all generations, by projection. */
  generations(): Promise<Generation[]>;
  /**
   * Adds a generation; nothing happens if there is one with this name.
   *
   * @returns Whether it was added.
   */
  addGeneration(generation: Generation): Promise<boolean>;
  /** Says how far a generation is; nothing happens if it is not at `from` any more. */
  markGeneration(
    generation: Pick<Generation, "projection" | "generation" | "state" | "error">,
    from: Generation["state"],
  ): Promise<boolean>;
  /**
   * Makes another generation what readers see, in one transaction that proves that it has passed what the one before has
   * passed and holds nothing back.
   *
   * @returns Why it may not be swapped (yet); `null` if readers see it now.
   */
  swapGenerations(swap: Swap): Promise<SwapRefusal | null>;
  /**
   * Deletes some rows of a generation that was dropped; with the last ones all that is known of its group.
   *
   * @returns The number of rows deleted; 0 if nothing is left of it.
   */
  clearGeneration(projection: string, generation: string, limit: number): Promise<number>;
  /**
   * Gives an existing group another name, with all that is known of it: checkpoints, deferred messages and dead letters.
   *
   * @returns `held` if a process works for it at the moment; `absent` if there is none of this name, or one of the new one.
   */
  renameGroup(from: string, to: string): Promise<"renamed" | "held" | "absent">;
}

/** A store that keeps indexes of rows; without them, queries read all rows of a projection. */
export interface RowIndexes {
  /**
   * Makes what is missing of these indexes, and drops others of the same generations.
   *
   * @param projections The generations whose indexes are meant, as by `rowsOf`.
   * @param declared The indexes that they are to have.
   */
  keepIndexes(projections: readonly string[], declared: readonly RowIndex[]): Promise<void>;
}

/** The most messages that `replayed()` of a store returns. */
export const MOST_REPLAYED = 1_000;

/**
 * The event store, which writes the log and everything that must be consistent with it in one transaction.
 *
 * An adapter is correct if it passes the suite of `@annals/annals/testing`.
 */
export interface EventStore
  extends EventLog, Outbox, Groups, Schedule, Tidying, Snapshots, DeadLetters, Projections, Generations, RowIndexes {
  /** Its kind, like `sqlite`. */
  readonly kind: string;
  /** Its location, without secrets. */
  readonly location: string;
  /** Returns the outcome of a command; `null` if it is not decided yet. */
  outcome(commandId: string): Promise<CommandOutcome | null>;
  /** Finishes pending work and releases all resources. */
  close(): Promise<void>;
}

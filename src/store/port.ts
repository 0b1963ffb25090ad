import type { MessageRecord, NewMessage } from "../messages/envelope.ts";

/**
 * What an append expects of its stream: the number of its last message, that there is `none`, that it `exists`, or
 * `any`thing.
 */
export type ExpectedVersion = number | "none" | "exists" | "any";

/** Messages for one stream. */
export interface StreamAppend {
  /** The stream. */
  readonly stream: string;
  /** Its category. */
  readonly category: string;
  /** What the stream must look like for the append to happen. */
  readonly expected: ExpectedVersion;
  /** The messages, in order; none of them only checks the version. */
  readonly messages: readonly NewMessage[];
  /** Whether the relay has to take them to the broker. */
  readonly publish: boolean;
}

/** Names the holder of a lease: a commit that carries a fence is refused once another holds the lease. */
export interface Fence {
  /** The lease's name. */
  readonly lease: string;
  /** The token that came with it. */
  readonly token: number;
}

/** How far one partition of a group has come in one category. */
export interface Checkpoint {
  /** The consumer group. */
  readonly group: string;
  /** The category it reads. */
  readonly category: string;
  /** How many partitions the group's streams are spread over. */
  readonly partitions: number;
  /** Which of them this is, from 0. */
  readonly partition: number;
  /** Everything of this partition up to here is done, or deferred. */
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
  /** The position of the message that the row is up to date with. */
  readonly position: number;
}

/** One failed try of a group to handle a message. */
export interface FailedAttempt {
  /** When, in milliseconds since 1970. */
  readonly at: number;
  /** The error's message. */
  readonly error: string;
}

/** A message that a group has set aside: failed and to be tried again, or waiting behind one of its own stream. */
export interface DeferredMessage {
  /** The consumer group. */
  readonly group: string;
  /** The category. */
  readonly category: string;
  /** The stream. */
  readonly stream: string;
  /** The message. */
  readonly position: number;
  /** How often handling it was begun. 0: not yet, it waits behind an earlier one. */
  readonly attempts: number;
  /** Not to be tried before this time, in milliseconds since 1970. */
  readonly dueAt: number;
  /** What went wrong so far. */
  readonly failures: readonly FailedAttempt[];
  /** Put here by an operator's replay, and not picked up yet. */
  readonly replayed: boolean;
  /** The version of a type, like `Deposited@2`, that no code knew when it came: to be tried by code that does. */
  readonly awaits: string | null;
}

/** A message that a group gave up on. */
export interface DeadLetter {
  /** UUIDv7 of the dead letter. */
  readonly id: string;
  /** The consumer group. */
  readonly group: string;
  /** The message, as it was stored. */
  readonly message: MessageRecord;
  /** Why: `handler failed`, `unknown type`, `newer version`, `damaged`, `upcast failed`. */
  readonly reason: string;
  /** The last error's message. */
  readonly error: string;
  /** The last error's stack, where there is one. */
  readonly stack: string | null;
  /** Every attempt. */
  readonly attempts: readonly FailedAttempt[];
  /** When it was given up, in milliseconds since 1970. */
  readonly deadAt: number;
}

/** What became of a command. */
export interface CommandOutcome {
  /** The command's message id. */
  readonly commandId: string;
  /** `accepted`: its events are stored. `refused`: it broke a rule. `failed`: its handler gave up. */
  readonly status: "accepted" | "refused" | "failed";
  /** JSON text: the events it led to, or the error. */
  readonly detail: string;
}

/** A statement in the SQL of the store's database. */
export interface Statement {
  /** Its text, cut where values stand: one more part than values. */
  readonly parts: readonly string[];
  /** The values. */
  readonly values: readonly (string | number | boolean | null)[];
}

/** All that is written at once: the whole of it, or nothing. */
export interface Commit {
  /** Messages for one or more streams. */
  readonly appends?: readonly StreamAppend[];
  /** Refuse everything unless this lease is still held. */
  readonly fence?: Fence;
  /** Move the group forward. */
  readonly checkpoint?: Checkpoint;
  /** Rows of projections. */
  readonly rows?: readonly ProjectionRow[];
  /** Messages to set aside; one with the same group and position is replaced. */
  readonly defer?: readonly DeferredMessage[];
  /** Messages that are no longer set aside. */
  readonly resume?: readonly { readonly group: string; readonly position: number }[];
  /** Messages that were given up. */
  readonly deadLetters?: readonly DeadLetter[];
  /** What became of commands. */
  readonly outcomes?: readonly CommandOutcome[];
  /** Statements of a handler, run in the same transaction, before everything else. */
  readonly statements?: readonly Statement[];
  /** When a commit with this key has been made before, nothing is written and its `value` is returned instead. */
  readonly once?: { readonly key: string; readonly value: string };
}

/** What a commit came to. */
export interface CommitResult {
  /** Position of the last message written; 0 when there was none. */
  readonly lastPosition: number;
  /** For each append, the version of its stream afterwards; -1 when it has no message. */
  readonly versions: readonly number[];
  /** The value that an earlier commit left under the same `once` key. */
  readonly repeated: string | null;
}

/** How to read one stream. */
export interface ReadStreamOptions {
  /** First version. @default {0, or the last when backward} */
  readonly from?: number;
  /** Last version, inclusive. @default {no bound} */
  readonly to?: number;
  /** Newest first. @default {false} */
  readonly backward?: boolean;
  /** At most this many. @default {no bound} */
  readonly limit?: number;
}

/** How to read the log. */
export interface ReadLogOptions {
  /** Only messages behind this position. @default {0} */
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
  /** Only messages made at or after this time, in milliseconds since 1970. @default {no bound} */
  readonly since?: number;
  /** Newest first. @default {false} */
  readonly backward?: boolean;
}

/** How the work under a lease ended lately: kept, so that neither a restart nor another process counts anew. */
export interface Ends {
  /** When, lately: milliseconds since 1970. */
  readonly at: readonly number[];
  /** How many rests followed each other. */
  readonly rests: number;
  /** Until when nobody tries again, in milliseconds since 1970; 0 for no rest so far. */
  readonly restingUntil: number;
  /** Why it ended last. */
  readonly reason: string;
}

/** A lease that was granted. */
export interface GrantedLease {
  /** Grows with every grant of this name: whoever has the newest holds the lease. */
  readonly token: number;
  /** Whether the previous holder gave it back in order. `false`: it vanished, maybe in the middle of something. */
  readonly clean: boolean;
  /** What was recorded of earlier holders; `null` for nothing. */
  readonly ends: Ends | null;
}

/** Who holds what. */
export interface Lease {
  /** The lease's name. */
  readonly name: string;
  /** The consumer group, or what else it stands for. */
  readonly group: string;
  /** How many partitions the holder assumes. */
  readonly partitions: number;
  /** The holder. */
  readonly owner: string;
  /** Its token. */
  readonly token: number;
  /** When it ends unless renewed, in milliseconds since 1970; 0 when it was given back. */
  readonly expiresAt: number;
  /** What its holders recorded; `null` for nothing. */
  readonly ends: Ends | null;
}

/** A process that takes part in running a domain. */
export interface Member {
  /** Who: the owner of its leases. */
  readonly owner: string;
  /** The newest version of each message type that its code knows. */
  readonly types: Readonly<Record<string, number>>;
}

/** What to ask for a lease with. */
export interface LeaseRequest {
  /** The lease's name. */
  readonly name: string;
  /** The group: no two holders of one group may assume different numbers of partitions. */
  readonly group: string;
  /** How many partitions the asker assumes. */
  readonly partitions: number;
  /** Who asks. */
  readonly owner: string;
  /** How long without renewal, in milliseconds. */
  readonly ttl: number;
}

/** Reads the log and writes to it. */
export interface EventLog {
  /**
   * Writes all of it in one transaction, or nothing. Concurrent calls of a process share a transaction, each with its own fate.
   *
   * @throws {WrongExpectedVersionError} When a stream is not at the expected version.
   * @throws {FencedError} When the lease was lost.
   * @throws {StatementError} When a statement cannot be run.
   * @throws {DuplicateMessageError} When a message is stored already (stores over a network only).
   * @throws {StoreUnavailableError} When the store is unreachable, locked, full, damaged or closed.
   */
  commit(commit: Commit): Promise<CommitResult>;
  /** Reads one stream, in order of version. */
  readStream(stream: string, options?: ReadStreamOptions): Promise<MessageRecord[]>;
  /** Reads the log, in order of position (or backward). Nothing ever appears behind a position that was read. */
  readLog(options?: ReadLogOptions): Promise<MessageRecord[]>;
  /** Tells this log from all others: the same for as long as it exists. */
  logId(): Promise<string>;
  /** Position of the last message; 0 when there is none. */
  lastPosition(): Promise<number>;
  /**
   * Resolves when something was written, by whomever, or after `timeout` milliseconds; sooner does no harm.
   *
   * @param timeout How long at most, in milliseconds.
   * @param signal Ends the wait.
   * @param what Whether only messages count. @default {"anything"}
   */
  changed(timeout: number, signal?: AbortSignal, what?: "anything" | "messages"): Promise<void>;
}

/** What has still to reach the broker. */
export interface Outbox {
  /** The oldest messages that the relay has not taken yet; `after`: only those behind a position. */
  readOutbox(limit: number, after?: number): Promise<MessageRecord[]>;
  /** Forgets outbox rows up to a position, and remembers the position. */
  markPublished(position: number, fence?: Fence): Promise<void>;
  /** How many rows wait, the time of the oldest, and the position up to which all was published. */
  outboxStatus(): Promise<{ readonly waiting: number; readonly oldest: number | null; readonly published: number }>;
}

/** Where groups are, and who may write for them. */
export interface Groups {
  /** All checkpoints of a group; of all groups when none is named. */
  checkpoints(group?: string): Promise<Checkpoint[]>;
  /** Says that a process takes part for so many milliseconds from now, unless it says so again; 0: no longer. */
  enroll(member: Member, ttl: number): Promise<void>;
  /** Who takes part now, by owner. */
  members(): Promise<Member[]>;
  /** Who of these processes has a session now, where a store can tell; the end of a process ends its session. */
  present?(owners: readonly string[]): Promise<string[]>;
  /** Grants a lease that nobody else holds; `null` when somebody does. Asking again fences one's own earlier token. */
  acquireLease(request: LeaseRequest): Promise<GrantedLease | null>;
  /** Renews leases; returns the names of those that were lost. */
  renewLeases(leases: readonly Fence[], ttl: number): Promise<string[]>;
  /** Gives a lease back; `clean` when nothing was left in the middle. */
  releaseLease(fence: Fence, clean: boolean): Promise<void>;
  /** Records how the work under a lease ended, or, with `null`, forgets it; without effect once another holds the lease. */
  recordEnds(fence: Fence, ends: Ends | null): Promise<void>;
  /** All leases ever granted. */
  leases(): Promise<Lease[]>;
  /** Messages that a group has set aside, by position. Replays that were not picked up yet come too. */
  deferred(
    group: string,
    options?: { readonly replayedOnly?: boolean; readonly limit?: number },
  ): Promise<DeferredMessage[]>;
  /** Dead letters that were replayed and not picked up yet, of all groups, by position; the first thousand. */
  replayed(): Promise<DeferredMessage[]>;
  /** How many of a category are behind a position, and the time of the first of them. */
  lag(category: string, after: number): Promise<{ readonly messages: number; readonly oldest: number | null }>;
}

/** What groups gave up on. */
export interface DeadLetters {
  /** The newest dead letters, of one group or of all. */
  deadLetters(options?: { readonly group?: string; readonly limit?: number }): Promise<DeadLetter[]>;
  /** One dead letter. */
  deadLetter(id: string): Promise<DeadLetter | null>;
  /** How many a group has, by group. */
  countDeadLetters(): Promise<Record<string, number>>;
  /** Hands dead letters back to the groups that failed, and to no other; returns how many. */
  replayDeadLetters(ids: readonly string[]): Promise<number>;
  /** Deletes dead letters for good; returns how many. */
  purgeDeadLetters(options: { readonly group?: string; readonly ids?: readonly string[] }): Promise<number>;
}

/** Rows that projectors keep. */
export interface Projections {
  /** One row. */
  readRow(projection: string, key: string): Promise<ProjectionRow | null>;
  /** Rows of some keys, in no order; those that are missing are left out. */
  readRows(projection: string, keys: readonly string[]): Promise<ProjectionRow[]>;
  /** All rows, by key. */
  listRows(
    projection: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ProjectionRow[]>;
}

/**
 * The store: one place, one transaction for the log and for everything that must agree with it.
 *
 * An adapter is correct when it passes the suite of `@annals/annals/testing`.
 */
export interface EventStore extends EventLog, Outbox, Groups, DeadLetters, Projections {
  /** What it is, like `sqlite`. */
  readonly kind: string;
  /** Where it is, without secrets. */
  readonly location: string;
  /** What became of a command; `null` while it is not decided. */
  outcome(commandId: string): Promise<CommandOutcome | null>;
  /** Finishes what was begun and lets go of everything. */
  close(): Promise<void>;
}

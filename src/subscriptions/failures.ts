import { isOfCommands, type MessageRecord, streamName } from "../messages/envelope.ts";
import { inherited, senderOf } from "../messages/sender.ts";
import { commandEnd } from "../processes/command_end.ts";
import type { OfMessage } from "../telemetry/events.ts";
import type { Failure } from "../handling/executor.ts";
import { type DeadLetter, type DeferredMessage, REPLAY } from "../store/port.ts";
import type { Complete } from "./options.ts";
import type { Deferred } from "./retry_queue.ts";
import type { PendingCommit } from "./pending_commit.ts";
import { storable } from "../messages/text.ts";
import { attemptsOf, retryDelay } from "../groups/settings.ts";

/**
 * How much of an error a row keeps of an attempt, in characters; a dead letter has the last one in full besides. A group
 * holds the rows of everything it has deferred in memory.
 */
const LONGEST_NOTED = 1_000;

/** When a message comes again whose end is not known yet, in milliseconds. */
const LOOK_AGAIN = 1_000;

/** Decides whether a failed message is retried later or becomes a dead letter. */
export class Failures {
  #options: Complete;

  /** Creates one for a subscription. */
  constructor(options: Complete) {
    this.#options = options;
  }

  /** The row of a message that has to wait, or to be tried alone, and was not tried yet. */
  waiting({ category, stream, position }: MessageRecord, quarantined: boolean, awaits: string | null = null): Deferred {
    const { group } = this.#options.groupPartition;
    return {
      group,
      category,
      stream,
      position,
      attempts: 0,
      dueAt: 0,
      failures: [],
      replayed: false,
      awaits,
      quarantined,
      suspect: quarantined,
    };
  }

  /** The row of a message whose end is not known yet: it comes again soon, and what was counted is not. */
  underWay(record: MessageRecord, deferred: Deferred | undefined): Deferred {
    const { failures = [] } = deferred ?? {};
    const dueAt = this.#options.clock.now() + LOOK_AGAIN;
    return { ...this.waiting(record, false), attempts: failures.length, failures, dueAt };
  }

  /** Defers a failed message for a retry; gives it up after the last attempt, and returns whether it did. */
  fail(
    record: MessageRecord,
    deferred: Deferred | undefined,
    { error, stack, unreadable, awaits, passing }: Failure,
    commit: PendingCommit,
  ): boolean {
    const { settings, clock } = this.#options;
    if (awaits !== undefined) {
      // The failure is the code's, not the message's: no attempt is counted.
      commit.deferred.push(this.waiting(record, false, awaits));
      return false;
    }
    const attempts = Math.max(1, deferred?.attempts ?? 1);
    const failures = [...deferred?.failures ?? [], { at: clock.now(), error: storable(error, LONGEST_NOTED) }];
    if (unreadable !== undefined) {
      // Retrying would not help until the code changes.
      this.giveUp(record, { attempts, failures }, { reason: unreadable, error, stack }, commit);
      return true;
    }
    if (attempts >= attemptsOf(settings, failures)) {
      this.giveUp(record, { attempts, failures }, { reason: "handler failed", error, stack }, commit, passing === true);
      return true;
    }
    const delay = retryDelay(settings, attempts, clock.random());
    const dueAt = Math.round(clock.now() + delay);
    commit.deferred.push({ ...this.waiting(record, false), attempts, dueAt, failures });
    commit.reports.push({
      type: "message.failed",
      ...this.#factsOf(record),
      attempt: attempts,
      attempts: attemptsOf(settings, failures),
      retryInMs: delay,
      error,
    });
    return false;
  }

  /** Turns a message into a dead letter, to be reported once that is written. */
  giveUp(
    record: MessageRecord,
    { attempts, failures }: Pick<DeferredMessage, "attempts" | "failures">,
    { reason, error, stack }: Pick<DeadLetter, "reason" | "error" | "stack">,
    commit: PendingCommit,
    passing = false,
  ): void {
    const { settings, clock } = this.#options;
    const { position, stream } = record;
    const { group } = this.#options.groupPartition;
    const isHalted = this.#options.halts === true && settings.enableDlq && !passing;
    if (isHalted) {
      // What follows in its stream waits behind it.
      const row = this.waiting(record, false, REPLAY);
      commit.deferred.push({ ...row, attempts: failures.length, failures });
    } else commit.resumed.push({ group, position, stream });
    if (isOfCommands(record.category)) {
      const detail = JSON.stringify({ message: error, reason });
      commit.outcomes.push({ commandId: record.id, status: "failed", detail, position });
      this.#tell(record, error, commit);
    }
    const id = settings.enableDlq ? clock.newId() : null;
    if (id !== null) {
      const deadAt = clock.now();
      commit.deadLetters.push({ id, group, message: record, reason, error, stack, attempts: failures, deadAt });
    }
    commit.reports.push({ type: "message.dead", ...this.#factsOf(record), attempts, deadLetter: id, error });
  }

  /** Tells the instance of a process that has sent a command that it is given up. */
  #tell(record: MessageRecord, error: string, commit: PendingCommit): void {
    const told = commandEnd(record, senderOf(record.metadata), "failed", storable(error, LONGEST_NOTED));
    if (told === null) return;
    const { clock } = this.#options;
    const { inbox: category, id, draft: { type, schemaVersion, payload } } = told;
    const message = {
      id: clock.newId(),
      type,
      schemaVersion,
      time: clock.now(),
      correlationId: record.correlationId,
      causationId: record.id,
      data: JSON.stringify(payload),
      metadata: inherited(record.metadata),
    };
    const stream = streamName(category, id);
    commit.told.push({
      category,
      stream,
      expected: "any",
      messages: [message],
      publish: true,
      position: record.position,
    });
  }

  #factsOf({ category, stream, position, type }: MessageRecord): OfMessage {
    return { group: this.#options.groupPartition.group, category, stream, position, messageType: type };
  }
}

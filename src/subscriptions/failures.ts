import type { MessageRecord } from "../messages/envelope.ts";
import { newId } from "../messages/ids.ts";
import type { Failure } from "../handling/executor.ts";
import type { DeadLetter, ParkedMessage } from "../store/port.ts";
import type { Complete } from "./options.ts";
import type { Parked } from "./retry_queue.ts";
import type { PendingCommit } from "./pending_commit.ts";
import { retryDelay } from "../groups/settings.ts";

/** Decides what becomes of a message that was not handled: tried again later, or given up. */
export class Failures {
  #options: Complete;

  /** Decides for one subscription. */
  constructor(options: Complete) {
    this.#options = options;
  }

  /** The row of a message that has to wait, or to be tried alone, and was not tried yet. */
  waiting({ category, stream, position }: MessageRecord, suspect: boolean): Parked {
    const { group } = this.#options.groupPartition;
    return { group, category, stream, position, attempts: 0, dueAt: 0, failures: [], replayed: false, suspect };
  }

  /** Sets a message aside that has failed, to be tried again; gives it up when that was the last time. */
  fail(
    record: MessageRecord,
    parked: Parked | undefined,
    { error, stack, unreadable }: Failure,
    commit: PendingCommit,
  ): void {
    const { settings, log, now, random } = this.#options;
    const attempts = Math.max(1, parked?.attempts ?? 1);
    const failures = [...parked?.failures ?? [], { at: now(), error }];
    if (unreadable !== undefined) {
      // Trying again would not help: the code has to change first.
      this.giveUp(record, { attempts, failures }, { reason: unreadable, error, stack }, commit);
      return;
    }
    if (attempts > settings.maxRetries) {
      this.giveUp(record, { attempts, failures }, { reason: "handler failed", error, stack }, commit);
      return;
    }
    const delay = retryDelay(settings, attempts, random());
    const dueAt = Math.round(now() + delay);
    commit.parked.push({ ...this.waiting(record, false), attempts, dueAt, failures });
    const next = `again in ${(delay / 1000).toFixed(1)} s`;
    log.warn(
      `${record.type} at ${record.position} failed (attempt ${attempts} of ${
        settings.maxRetries + 1
      }), ${next}: ${error}`,
      { position: record.position, type: record.type, stream: record.stream },
    );
  }

  /** Makes a dead letter of a message, and says so. */
  giveUp(
    record: MessageRecord,
    { attempts, failures }: Pick<ParkedMessage, "attempts" | "failures">,
    { reason, error, stack }: Pick<DeadLetter, "reason" | "error" | "stack">,
    commit: PendingCommit,
  ): void {
    const { groupPartition: { group }, log, settings, now } = this.#options;
    const { position, stream, type } = record;
    commit.unparked.push({ group, position, stream });
    if (record.category.endsWith(":command")) {
      const detail = JSON.stringify({ message: error, reason });
      commit.outcomes.push({ commandId: record.id, status: "failed", detail, position });
    }
    const fields = { position, type, stream, attempts };
    if (!settings.enableDlq) {
      log.error(`Gave up on ${type} at ${position} and passed over it: ${error}`, fields);
      return;
    }
    const id = newId();
    commit.deadLetters.push({ id, group, message: record, reason, error, stack, attempts: failures, deadAt: now() });
    log.error(`Gave up on ${type} at ${position}, kept as dead letter ${id}: ${error}`, fields);
  }
}

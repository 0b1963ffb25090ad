import type { MessageRecord } from "../../messages/envelope.ts";
import type { Checkpoint, DeadLetter, DeferredMessage, Lease, ProjectionRow, ScheduledMessage } from "../port.ts";

/** A message of the log. */
export function toMessage(row: any[]): MessageRecord {
  return {
    position: row[0],
    id: row[1],
    type: row[2],
    schemaVersion: row[3],
    category: row[4],
    stream: row[5],
    version: row[6],
    time: row[7],
    correlationId: row[8],
    causationId: row[9],
    data: row[10],
    metadata: row[11],
  };
}

/** A row of a projection. */
export function toRow([projection, key, row, position]: any[]): ProjectionRow {
  return { projection, key, row, position };
}

/** A deferred message. */
export function toDeferred(
  [group, category, stream, position, attempts, dueAt, failures, replayed, awaits]: any[],
): DeferredMessage {
  return { group, category, stream, position, attempts, dueAt, failures: JSON.parse(failures), replayed, awaits };
}

/** A dead letter. */
export function toDeadLetter([id, group, message, reason, error, stack, attempts, deadAt]: any[]): DeadLetter {
  return { id, group, message: JSON.parse(message), reason, error, stack, attempts: JSON.parse(attempts), deadAt };
}

/** A scheduled message. */
export function toScheduled([key, dueAt, category, stream, message]: any[]): ScheduledMessage {
  return { key, dueAt, category, stream, message: JSON.parse(message) };
}

/** A checkpoint. */
export function toCheckpoint([group, category, partitions, partition, position]: any[]): Checkpoint {
  return { group, category, partitions, partition, position };
}

/** A lease. */
export function toLease([name, group, partitions, owner, token, expiresAt, isHeld, ends]: any[]): Lease {
  return { name, group, partitions, owner, token, expiresAt, isHeld, ends: ends === null ? null : JSON.parse(ends) };
}

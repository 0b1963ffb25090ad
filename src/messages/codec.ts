import type { Message, MessageRecord } from "./envelope.ts";
import { UndecodableMessageError } from "./errors.ts";
import { versionName } from "./known_types.ts";
import type { MessageType } from "./message_type.ts";
import { validate } from "./schema.ts";

/** The known message types, by name. */
export type MessageTypes = ReadonlyMap<string, MessageType>;

function parse(record: MessageRecord, field: "data" | "metadata", text: string): any {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UndecodableMessageError(
      "damaged",
      `Cannot read message ${record.position} ("${record.type}"): its ${field} is not JSON (${
        cause instanceof Error ? cause.message : cause
      })`,
    );
  }
}

function upcast(record: MessageRecord, known: MessageType, stored: unknown): unknown {
  let payload = stored;
  for (let version = record.schemaVersion; version < known.version; version++) {
    try {
      payload = known.upcast[version](payload);
    } catch (cause) {
      throw new UndecodableMessageError(
        "upcast failed",
        `Cannot upcast message ${record.position} ("${record.type}") from version ${version} to ${version + 1}: ${
          cause instanceof Error ? cause.message : cause
        }`,
      );
    }
  }
  try {
    return validate(record.type, known.schema, payload);
  } catch (cause) {
    throw new UndecodableMessageError(
      "upcast failed",
      `Cannot bring message ${record.position} ("${record.type}") from version ${record.schemaVersion} to ${known.version}: the result does not fit the schema: ${
        cause instanceof Error ? cause.message : cause
      }`,
    );
  }
}

/**
 * Decodes a stored message and upcasts its payload to the current version. All reads go through here.
 *
 * @param record The stored message.
 * @param types The known message types.
 * @returns The message as a handler sees it.
 * @throws {UndecodableMessageError} If its type is unknown, its version is newer than the code, or its text is damaged.
 */
export function decode(record: MessageRecord, types: MessageTypes): Message {
  const known = types.get(record.type);
  if (known === undefined) {
    throw new UndecodableMessageError(
      "unknown type",
      `Cannot read message ${record.position}: this code knows no type "${record.type}"`,
      versionName(record),
    );
  }
  if (record.schemaVersion > known.version) {
    throw new UndecodableMessageError(
      "newer version",
      `Cannot read message ${record.position}: it is version ${record.schemaVersion} of "${record.type}", this code knows ${known.version}`,
      versionName(record),
    );
  }
  const payload = parse(record, "data", record.data);
  return Object.freeze({
    type: record.type,
    payload: record.schemaVersion === known.version ? payload : upcast(record, known, payload),
    id: record.id,
    schemaVersion: record.schemaVersion,
    stream: record.stream,
    category: record.category,
    aggregateId: record.stream.slice(record.category.length + 1),
    version: record.version,
    position: record.position,
    time: new Date(record.time),
    correlationId: record.correlationId,
    causationId: record.causationId,
    metadata: record.metadata === null ? {} : parse(record, "metadata", record.metadata),
  });
}

import type { CommandDraft } from "../domain/handlers.ts";
import type { NewMessage } from "../messages/envelope.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { checkLength, jsonFaults } from "../messages/json.ts";
import { isReserved } from "../messages/sender.ts";

/**
 * Makes the message that a command is stored as, at the root of what will follow from it.
 *
 * @param id Its id.
 * @param command The command.
 * @param options The longest payload, in bytes of JSON, and metadata.
 * @throws {PayloadError} If payload or metadata cannot be stored.
 * @throws {DomainDefinitionError} If the metadata are reserved.
 */
export function commandMessage(
  id: string,
  { type, schemaVersion, payload }: Pick<CommandDraft, "type" | "schemaVersion" | "payload">,
  { longest, metadata }: {
    readonly longest: number;
    readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  },
): NewMessage {
  const faults = jsonFaults(metadata ?? {});
  if (faults.length > 0) throw new PayloadError("metadata", faults);
  if (isReserved(metadata ?? {})) {
    throw new DomainDefinitionError("Cannot use these metadata: names of fields that start with $ are reserved");
  }
  const data = JSON.stringify(payload);
  checkLength(type, data, longest);
  return {
    id,
    type,
    schemaVersion,
    time: Date.now(),
    correlationId: id,
    causationId: null,
    data,
    metadata: metadata ? JSON.stringify(metadata) : null,
  };
}

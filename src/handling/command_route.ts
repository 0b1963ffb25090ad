import { commandStream } from "../domain/command_handler.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain } from "../domain/model.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { whatIs } from "../messages/names.ts";

/**
 * Returns the category that a command is sent to.
 *
 * @param domain The domain.
 * @param command What a handler wants to send.
 * @throws {DomainDefinitionError} If it is no command, or none that a handler of the domain takes.
 */
export function commandRoute(domain: Domain, command: CommandDraft): string {
  if (typeof command === "function") {
    const { type } = command as { type: string };
    throw new DomainDefinitionError(`Cannot send "${type}" itself: call it with a payload, like ${type}({ … })`);
  }
  if (command?.kind !== "command") {
    throw new DomainDefinitionError(`Cannot send ${whatIs(command)}: it is no command`);
  }
  const handler = domain.handlerOf(command.type);
  if (!handler) {
    throw new DomainDefinitionError(`Cannot send "${command.type}": no handler of the domain takes this command`);
  }
  return commandStream(domain, handler, command.aggregateId).category;
}

import type { Draft } from "../messages/envelope.ts";
import type { Sender } from "../messages/sender.ts";
import { COMMAND_END, type CommandEnd } from "./names.ts";

/**
 * Returns what the instance of a process that has sent a command is to hear of its end.
 *
 * @param command The command.
 * @param sender Who has sent it; `null`: nobody who wants to know.
 * @param status How it ended.
 * @param rule Why it was refused or failed; empty if it was accepted.
 * @returns The inbox, the instance and the message; `null` if nobody is to hear of it.
 */
export function commandEnd(
  command: { readonly position: number; readonly type: string; readonly id: string },
  sender: Sender | null,
  status: CommandEnd["status"],
  rule: string,
): { readonly inbox: string; readonly id: string; readonly draft: Draft<string, CommandEnd> } | null {
  if (sender === null || (status === "accepted" && !sender.all)) return null;
  const { position, type, id } = command;
  const payload = { position, type, id, run: sender.run, status, rule };
  return {
    inbox: sender.inbox,
    id: sender.id,
    draft: { kind: "event", type: COMMAND_END.type, schemaVersion: COMMAND_END.version, payload },
  };
}

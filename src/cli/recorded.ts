import { userInfo } from "node:os";
import { type Audited, audited } from "../operating/audit.ts";

/** The name of the user who runs this. */
function user(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that has no name.
    return Deno.env.get("USER") ?? String(Deno.uid() ?? "unknown");
  }
}

/** Who an operator at the command line is, for the record: like `cli:ann@db1`. */
export function operatorName(): string {
  return `cli:${user()}@${Deno.hostname()}`;
}

/**
 * Does something that changes state, and records who did it: before it is done, and again if it fails.
 *
 * @param at The store and the domain.
 * @param action What, as it is typed, like `dlq replay`.
 * @param details What it is done to: JSON without secrets.
 * @param work Does it.
 */
export async function recorded<T>(
  at: Audited,
  action: string,
  details: Readonly<Record<string, unknown>>,
  work: () => Promise<T>,
): Promise<T> {
  return await audited(at, operatorName(), action, details, work);
}

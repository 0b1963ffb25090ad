import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import { OutcomeTimeoutError } from "./outcome.ts";

/**
 * Asks about a command that is stored. A service that goes away meanwhile is an error that says "try again", and whoever
 * sends again on that stores the command twice: it is turned into one that says that it is stored.
 *
 * @param commandId The command.
 * @param ask Asks.
 * @param isAway Whether an error is one of the service. @default {whether it may pass}
 * @throws {OutcomeTimeoutError} If the service is away.
 */
export async function whileStored<T>(
  commandId: string,
  ask: () => Promise<T>,
  isAway: (error: unknown) => boolean = (error) => recoveryOf(error) !== "none",
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!isAway(error)) throw error;
    throw new OutcomeTimeoutError(
      `Command ${commandId} is stored; what comes of it cannot be asked: ${messageOf(error)}`,
      commandId,
    );
  }
}

import type { MessageRecord } from "../messages/envelope.ts";
import { lookOrWait } from "../store/changes.ts";
import type { EventStore } from "../store/port.ts";
import {
  type Behind,
  explainBehind,
  type Keeping,
  lastOf,
  lookBehind,
  type Named,
  ProjectionBehindError,
  type Seen,
} from "./catching_up.ts";
import { checkTimeout, type Outcome, outcomeOf, OutcomeTimeoutError } from "./outcome.ts";
import { decodeToken, type Token } from "./token.ts";

/** Up to where a read has to see the log. */
export interface AfterOptions {
  /** A token of `process()`: what came of that command is seen. @default {as it is now} */
  readonly after?: Token;
  /** How long to wait for that, in milliseconds. @default {5_000} */
  readonly timeout?: number;
}

/** How long to wait before checking whether a server is running, in milliseconds. */
const SERVER_PATIENCE = 3_000;

/** How often is looked whether something was passed, in milliseconds, if nothing says so earlier. */
export const LOOK_EVERY = 250;

/** What a client waits for: outcomes of commands, and projections that show what came of them. */
export class Waits {
  #store: EventStore;
  #keeping: Keeping;
  #log: Promise<string> | undefined;

  /**
   * @param store The store.
   * @param keeping The domain, and what keeps its projections.
   */
  constructor(store: EventStore, keeping: Keeping) {
    this.#store = store;
    this.#keeping = keeping;
  }

  /** The log that tokens are of; asked for once. */
  logId(): Promise<string> {
    return this.#log ??= this.#store.logId().catch((error) => {
      this.#log = undefined;
      throw error;
    });
  }

  /** What a command has led to itself. */
  async eventsOf(commandId: string): Promise<MessageRecord[]> {
    // They were appended together, before anything that follows from them.
    const found = await this.#store.readLog({ correlationId: commandId, largest: 0 });
    return found.filter(({ causationId }) => causationId === commandId);
  }

  /** Waits until readers of a projection see some messages; says why not, if they do not in time. */
  async catchUp(
    projection: Named,
    messages: readonly Seen[],
    timeout: number,
  ): Promise<Behind | null> {
    const until = performance.now() + timeout;
    while (true) {
      let found: Awaited<ReturnType<typeof lookBehind>> = null;
      const look = async (): Promise<true | null> => {
        found = await lookBehind(this.#store, this.#keeping, projection, messages);
        return found === null ? true : null;
      };
      const left = until - performance.now();
      if (await lookOrWait(this.#store, look, { wait: Math.min(left, LOOK_EVERY) })) return null;
      if (left <= 0) return await explainBehind(this.#store, projection.name, found!);
    }
  }

  /** Waits until a read may begin. */
  async after(projection: Named, { after, timeout = 5_000 }: AfterOptions): Promise<void> {
    if (after === undefined) return;
    checkTimeout(timeout);
    const end = performance.now() + timeout;
    const messages = await this.seenBy(after, timeout);
    const behind = await this.catchUp(projection, messages, Math.max(0, end - performance.now()));
    if (behind === null) return;
    throw new ProjectionBehindError(
      `Projection "${projection.name}" did not show position ${lastOf(messages)} within ${
        timeout / 1000
      } s: it is ${behind.why}`,
      behind,
    );
  }

  /** The messages that a token stands for; waits for the outcome of a command that is not decided yet. */
  async seenBy(token: Token, timeout: number): Promise<Seen[]> {
    const { position, command } = decodeToken(token, await this.logId());
    if (command === undefined) return [{ position, stream: null }];
    const events = await this.eventsOf(command);
    // It may have no events, or not be decided yet.
    if (events.length > 0 || (await this.wait(command, timeout)).status !== "accepted") return events;
    return await this.eventsOf(command);
  }

  /**
   * The outcome of a command.
   *
   * @param commandId Its id.
   * @returns The outcome; `null` if it is not decided yet.
   */
  async outcome(commandId: string): Promise<Outcome | null> {
    const found = await this.#store.outcome(commandId);
    return found && outcomeOf(found);
  }

  /**
   * Waits for the outcome of a command.
   *
   * @throws {OutcomeTimeoutError} If it was not decided in time, or before the signal.
   */
  async wait(commandId: string, timeout: number, signal?: AbortSignal): Promise<Outcome> {
    checkTimeout(timeout);
    const until = performance.now() + timeout;
    let servedAt = performance.now();
    while (true) {
      const now = performance.now();
      const found = await lookOrWait(this.#store, () => this.outcome(commandId), {
        wait: Math.min(until - now, SERVER_PATIENCE),
        ...(signal && { signal }),
      });
      if (found) return found;
      if (signal?.aborted) {
        throw new OutcomeTimeoutError(`Command ${commandId} is stored, and not decided yet`, commandId);
      }
      if (now > until) {
        throw new OutcomeTimeoutError(
          `Command ${commandId} was not decided within ${timeout / 1000} s; it is stored and will be handled`,
          commandId,
        );
      }
      if (now > servedAt + SERVER_PATIENCE) {
        if (await this.isServed()) servedAt = now;
        else {
          throw new OutcomeTimeoutError(
            `Command ${commandId} is stored, but no server is running; start one: deno task start, or in the clone deno run -A server.ts --domain=${this.#keeping.name}`,
            commandId,
          );
        }
      }
    }
  }

  /** Whether a server is running the domain, by the store's clock. While a group moves to another server, none has it. */
  async isServed(): Promise<boolean> {
    return (await this.#store.members()).length > 0;
  }
}

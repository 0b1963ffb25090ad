import { AnnalsError } from "../lib/annals_error.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { CommandOutcome } from "../store/port.ts";

/** The outcome of a command. */
export type Outcome =
  | {
    /** The command was accepted and its events are stored. */
    readonly status: "accepted";
    /** The types of its events, in order. */
    readonly events: readonly string[];
  }
  | {
    /** The command broke a rule; nothing was written. */
    readonly status: "refused";
    /** The field or aggregate that the rule concerns. */
    readonly field: string;
    /** The rule. */
    readonly rule: string;
    /** Field and rule, as a message. */
    readonly message: string;
  }
  | {
    /** Its handler kept failing; the command is a dead letter and can be replayed. */
    readonly status: "failed";
    /** The last error. */
    readonly message: string;
  };

/** Thrown when a command was not decided in time; it is stored and will be handled. */
export class OutcomeTimeoutError extends AnnalsError {
  /** Always `OutcomeTimeoutError`. */
  override readonly name = "OutcomeTimeoutError";

  /**
   * Creates the error.
   *
   * @param message What was found.
   * @param commandId The command.
   */
  constructor(message: string, readonly commandId: string) {
    super(message);
  }
}

/** Reads an outcome as it is stored. */
export function outcomeOf({ status, detail }: CommandOutcome): Outcome {
  const { events, field, rule, message } = JSON.parse(detail);
  switch (status) {
    case "accepted":
      return { status, events };
    case "refused":
      return { status, field, rule, message };
    case "failed":
      return { status, message };
  }
}

/** Refuses what is no timeout. */
export function checkTimeout(timeout: unknown): void {
  if (typeof timeout === "number" && timeout >= 0) return;
  throw new DomainDefinitionError(
    `Cannot wait for ${String(timeout)}: a timeout is a number of milliseconds, 0 or more`,
  );
}

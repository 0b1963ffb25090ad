import type { CommandOutcome, DeadLetter } from "../store/port.ts";
import type { Deferred } from "./retry_queue.ts";

/** A message that is no longer set aside. */
export interface Resumed {
  /** The consumer group. */
  readonly group: string;
  /** The stream. */
  readonly stream: string;
  /** The message. */
  readonly position: number;
}

/** What a subscription wants written beside the effects of its handlers. */
export class PendingCommit {
  /** Messages to set aside. */
  readonly deferred: Deferred[] = [];
  /** Messages that are no longer set aside. */
  readonly resumed: Resumed[] = [];
  /** Messages that were given up. */
  readonly deadLetters: DeadLetter[] = [];
  /** Outcomes of commands that were given up. */
  readonly outcomes: (CommandOutcome & { readonly position: number })[] = [];

  /** Whether there is nothing to write. */
  get empty(): boolean {
    return this.deferred.length + this.resumed.length + this.deadLetters.length + this.outcomes.length === 0;
  }

  /** A copy of what is about messages up to a position. */
  copyUpTo(position: number): PendingCommit {
    const copy = new PendingCommit();
    copy.deferred.push(...this.deferred);
    copy.resumed.push(...this.resumed);
    copy.deadLetters.push(...this.deadLetters);
    copy.outcomes.push(...this.outcomes);
    return copy.takeUpTo(position);
  }

  /** Takes out what is about messages up to a position: the rest stays. */
  takeUpTo(position: number): PendingCommit {
    const taken = new PendingCommit();
    const move = <T>(from: T[], to: T[], positionOf: (entry: T) => number): void => {
      to.push(...from.filter((entry) => positionOf(entry) <= position));
      const rest = from.filter((entry) => positionOf(entry) > position);
      from.splice(0, from.length, ...rest);
    };
    move(this.deferred, taken.deferred, (entry) => entry.position);
    move(this.resumed, taken.resumed, (entry) => entry.position);
    move(this.deadLetters, taken.deadLetters, (entry) => entry.message.position);
    move(this.outcomes, taken.outcomes, (entry) => entry.position);
    return taken;
  }
}

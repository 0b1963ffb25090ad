import type { CommandOutcome, DeadLetter, StreamAppend } from "../store/port.ts";
import type { EngineEvent, OfMessage } from "../telemetry/events.ts";
import type { Deferred } from "./retry_queue.ts";

/** A message that is no longer deferred. */
export interface Resumed {
  /** The consumer group. */
  readonly group: string;
  /** The stream. */
  readonly stream: string;
  /** The message. */
  readonly position: number;
}

/** What a subscription writes in addition to its handlers' effects. */
export class PendingCommit {
  /** Messages to defer. */
  readonly deferred: Deferred[] = [];
  /** Messages that are no longer deferred. */
  readonly resumed: Resumed[] = [];
  /** Dead letters. */
  readonly deadLetters: DeadLetter[] = [];
  /** What those who sent commands are to hear, which became dead letters. */
  readonly told: (StreamAppend & { readonly position: number })[] = [];
  /** Outcomes of commands that became dead letters. */
  readonly outcomes: (CommandOutcome & { readonly position: number })[] = [];
  /** What to report once it is written. */
  readonly reports: (EngineEvent & OfMessage)[] = [];

  /** Whether there is nothing to write. */
  get empty(): boolean {
    return this.deferred.length + this.resumed.length + this.deadLetters.length + this.outcomes.length === 0;
  }

  /** Returns a copy of the part about messages up to a position. */
  copyUpTo(position: number): PendingCommit {
    const copy = new PendingCommit();
    copy.deferred.push(...this.deferred);
    copy.resumed.push(...this.resumed);
    copy.deadLetters.push(...this.deadLetters);
    copy.outcomes.push(...this.outcomes);
    copy.told.push(...this.told);
    copy.reports.push(...this.reports);
    return copy.takeUpTo(position);
  }

  /** Removes and returns the part about messages up to a position. */
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
    move(this.told, taken.told, (entry) => entry.position);
    move(this.reports, taken.reports, (entry) => entry.position);
    return taken;
  }
}

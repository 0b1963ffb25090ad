/** The severity of a log line. */
export type Level = "debug" | "info" | "warn" | "error";

/** A message and the group that was processing it. */
export interface OfMessage {
  /** The consumer group. */
  readonly group: string;
  /** The message's category. */
  readonly category: string;
  /** The message's stream. */
  readonly stream: string;
  /** The message's position. */
  readonly position: number;
  /** The message's type. */
  readonly messageType: string;
}

/** Something that happened in the engine; `group` is empty when it concerns the engine as a whole. */
export type EngineEvent =
  /** A batch was handled and its effects were committed. */
  | {
    readonly type: "batch.handled";
    readonly group: string;
    readonly category: string;
    readonly partition: number;
    /** The number of messages handled, and of commands among them that were refused. */
    readonly handled: number;
    readonly refused: number;
    /** The number of those that failed, and of those among them that were given up. */
    readonly failed: number;
    readonly dead: number;
    /** How long handling took, and the commit after it, in milliseconds; and both together. */
    readonly handlingMs: number;
    readonly commitMs: number;
    readonly milliseconds: number;
  }
  /** A message failed and will be retried; said once that is stored. */
  | OfMessage & {
    readonly type: "message.failed";
    /** The number of this attempt, and the maximum. */
    readonly attempt: number;
    readonly attempts: number;
    /** Delay before the next attempt, in milliseconds. */
    readonly retryInMs: number;
    readonly error: string;
  }
  /** A group gave up on a message; said once that is stored. `deadLetter` is `null` if dead letters are disabled. */
  | OfMessage & {
    readonly type: "message.dead";
    readonly attempts: number;
    readonly deadLetter: string | null;
    readonly error: string;
  }
  /** No code that runs now knows the type or version of a message: it waits for code that does. Said once for each. */
  | {
    readonly type: "message.unknown";
    readonly group: string;
    readonly messageType: string;
    readonly schemaVersion: number;
    readonly position: number;
  }
  /** A group left a partition to a process whose code knows the type of its next message. */
  | {
    readonly type: "message.newer";
    readonly group: string;
    readonly messageType: string;
    readonly schemaVersion: number;
    readonly position: number;
  }
  /** A handler logged something. */
  | {
    readonly type: "handler.logged";
    readonly group: string;
    readonly level: Level;
    readonly text: string;
    readonly fields: Readonly<Record<string, unknown>>;
  }
  /** A service is configured in a way that weakens a guarantee. */
  | { readonly type: "service.warned"; readonly warning: string }
  /** A store or broker is unavailable, and the reporter waits for it. Reported once per outage. */
  | { readonly type: "service.away"; readonly group: string; readonly error: string }
  | { readonly type: "service.back"; readonly group: string }
  /** The broker became unreachable, so the group reads from the log; or it is reachable again. */
  | { readonly type: "broker.left"; readonly group: string; readonly error: string }
  | { readonly type: "broker.rejoined"; readonly group: string }
  /**
   * The store failed over or was recovered: everything known of it is read again. `seen` is the last position that was
   * seen before; `isMissing` whether that message is not there any more; `last` the last position now.
   */
  | { readonly type: "log.forked"; readonly seen: number; readonly isMissing: boolean; readonly last: number }
  /** The broker held a copy of another log; it was deleted and is being refilled. */
  | { readonly type: "broker.foreign" }
  /** The broker had messages that the log does not have; its copy of the category is rebuilt. */
  | { readonly type: "broker.diverged"; readonly category: string }
  /** The broker lost messages of a category; those after a position are republished. */
  | { readonly type: "broker.refilled"; readonly category: string; readonly after: number }
  /** Messages up to a position were published to the broker; `milliseconds`: how long reading and publishing took. */
  | {
    readonly type: "relay.published";
    readonly messages: number;
    readonly position: number;
    readonly milliseconds: number;
  }
  /** Another process holds the lease of a partition, or this one has acquired it. */
  | { readonly type: "lease.standby"; readonly group: string; readonly lease: string }
  | { readonly type: "lease.acquired"; readonly group: string; readonly lease: string; readonly afterStandby: boolean }
  /** A lease was fenced; or the outcome of a commit is unknown, so the group restarts under a new lease. */
  | { readonly type: "lease.lost"; readonly group: string; readonly lease: string }
  | { readonly type: "lease.unsure"; readonly group: string; readonly lease: string; readonly error: string }
  /** Scheduled messages were due and are in the log now; `lateMs`: how late the first of them. */
  | { readonly type: "schedule.released"; readonly messages: number; readonly lateMs: number }
  /** A worker has loaded; `isRestart`: it takes the place of one that ended or was replaced. */
  | {
    readonly type: "worker.started";
    readonly worker: string;
    readonly groups: readonly string[];
    readonly isRestart: boolean;
  }
  /** How much of its heap a worker uses: said every second while it works, and once more when it is done. */
  | { readonly type: "worker.measured"; readonly worker: string; readonly heapBytes: number }
  /** A group's worker ended, is replaced after a delay, or ended so often that the group is paused. */
  | { readonly type: "worker.ended"; readonly group: string; readonly reason: string }
  | { readonly type: "worker.replaced"; readonly group: string; readonly delayMs: number; readonly error: string }
  | {
    readonly type: "group.rested";
    readonly group: string;
    /** How many times its worker ended within a minute. */
    readonly ends: number;
    readonly restMs: number;
    readonly error: string;
  }
  /** A group goes on under another name, which newer code gave it: this process leaves it alone. */
  | { readonly type: "group.renamed"; readonly group: string }
  /** A generation of a projection is built from the log; it is built; it has stopped at a message; readers see it. */
  | {
    readonly type: "projection.building";
    readonly group: string;
    readonly projection: string;
    readonly generation: string;
  }
  | {
    readonly type: "projection.built";
    readonly group: string;
    readonly projection: string;
    readonly generation: string;
    readonly position: number;
    readonly seconds: number;
  }
  | {
    readonly type: "projection.stopped";
    readonly group: string;
    readonly projection: string;
    readonly generation: string;
    readonly error: string;
  }
  | {
    readonly type: "projection.swapped";
    readonly group: string;
    readonly projection: string;
    readonly from: string;
    readonly to: string;
  }
  /** A group has so many deferred messages that it reads nothing new until some are settled. */
  | { readonly type: "group.full"; readonly group: string; readonly deferred: number }
  /** A host process started, ended, or wrote to stdout or stderr. */
  | { readonly type: "host.started"; readonly host: string; readonly pid: number }
  | { readonly type: "host.ended"; readonly host: string; readonly reason: string }
  | { readonly type: "host.printed"; readonly host: string; readonly text: string }
  | { readonly type: "host.silenced"; readonly host: string; readonly lines: number }
  /** A group exceeded the shutdown timeout. */
  | { readonly type: "shutdown.overdue"; readonly group: string; readonly seconds: number }
  /** An unexpected failure; the operation is retried. */
  | { readonly type: "engine.failed"; readonly error: string };

/** Receives every engine event, synchronously and in order. It must return quickly and must not throw. */
export type Report = (event: EngineEvent) => void;

/** A listener that ignores all events. */
export const NO_REPORT: Report = () => {};

/**
 * Shields an engine from its listener: what a listener throws is printed once, and ends nothing.
 *
 * @param report The listener.
 * @returns Calls it; never throws.
 */
export function harmless(report: Report): Report {
  let hasFailed = false;
  return (event) => {
    try {
      report(event);
    } catch (error) {
      if (!hasFailed) {
        console.error("A listener to the engine's events threw; it is called on, errors are dropped:", error);
      }
      hasFailed = true;
    }
  };
}

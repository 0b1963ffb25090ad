/** How loud a line of a log is. */
export type Level = "debug" | "info" | "warn" | "error";

/** A message, and the group that it was for. */
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

/** What happened, with the facts; `group` is empty where it is about the engine as a whole. */
export type EngineEvent =
  /** Messages were handled, and what came of them was written. */
  | {
    readonly type: "batch.handled";
    readonly group: string;
    readonly category: string;
    readonly partition: number;
    /** How many messages were handled, and how many failed. */
    readonly handled: number;
    readonly failed: number;
    /** How long the handler and the commit took, in milliseconds. */
    readonly milliseconds: number;
  }
  /** A message failed, and is tried again. */
  | OfMessage & {
    readonly type: "message.failed";
    /** Which attempt it was, of how many. */
    readonly attempt: number;
    readonly attempts: number;
    /** In how many milliseconds it is tried again. */
    readonly retryInMs: number;
    readonly error: string;
  }
  /** A group gave up on a message. `deadLetter`: `null` where dead letters are not kept. */
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
  /** A service is set up so that something does not hold, or not as well. */
  | { readonly type: "service.warned"; readonly warning: string }
  /** A store or broker is away; who says so waits for it. Said once, until it is back. */
  | { readonly type: "service.away"; readonly group: string; readonly error: string }
  | { readonly type: "service.back"; readonly group: string }
  /** The broker cannot be reached, and a group reads the log instead; or can be again. */
  | { readonly type: "broker.left"; readonly group: string; readonly error: string }
  | { readonly type: "broker.rejoined"; readonly group: string }
  /** What the broker had was of another log: it was deleted, and is filled again. */
  | { readonly type: "broker.foreign" }
  /** The broker had messages of a category that the log does not have: its copy is made again. */
  | { readonly type: "broker.diverged"; readonly category: string }
  /** The broker lost messages of a category; they are published again from behind a position. */
  | { readonly type: "broker.refilled"; readonly category: string; readonly after: number }
  /** Messages reached the broker, up to a position. */
  | { readonly type: "relay.published"; readonly messages: number; readonly position: number }
  /** Another process works on a partition, or this one does again. */
  | { readonly type: "lease.standby"; readonly group: string; readonly lease: string }
  | { readonly type: "lease.acquired"; readonly group: string; readonly lease: string; readonly afterStandby: boolean }
  /** Another process took over; or nobody knows whether a commit was made, so that it goes on under a new lease. */
  | { readonly type: "lease.lost"; readonly group: string; readonly lease: string }
  | { readonly type: "lease.unsure"; readonly group: string; readonly lease: string; readonly error: string }
  /** A group's worker ended, is replaced after a pause, or ended so often that the group rests. */
  | { readonly type: "worker.ended"; readonly group: string; readonly reason: string }
  | { readonly type: "worker.replaced"; readonly group: string; readonly delayMs: number; readonly error: string }
  | {
    readonly type: "group.rested";
    readonly group: string;
    /** How often its worker ended within a minute. */
    readonly ends: number;
    readonly restMs: number;
    readonly error: string;
  }
  /** A host process started, ended, or printed something. */
  | { readonly type: "host.started"; readonly host: string; readonly pid: number }
  | { readonly type: "host.ended"; readonly host: string; readonly reason: string }
  | { readonly type: "host.printed"; readonly host: string; readonly text: string }
  | { readonly type: "host.silenced"; readonly host: string; readonly lines: number }
  /** A group did not finish in time when the server was stopped. */
  | { readonly type: "shutdown.overdue"; readonly group: string; readonly seconds: number }
  /** Something failed that should not; it is tried again. */
  | { readonly type: "engine.failed"; readonly error: string };

/** Hears of everything that an engine does, at once and in order. It must not throw, and not take long. */
export type Report = (event: EngineEvent) => void;

/** For those who do not listen. */
export const NO_REPORT: Report = () => {};

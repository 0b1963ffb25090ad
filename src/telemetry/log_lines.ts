import type { HandlerLog } from "../domain/context.ts";
import { storable } from "../messages/text.ts";
import type { EngineEvent, Level, OfMessage, Report } from "./events.ts";

/** A log line. */
export interface LogLine {
  /** The consumer group; empty for the engine itself. */
  readonly group: string;
  /** The severity. */
  readonly level: Level;
  /** The message. */
  readonly text: string;
  /** Structured fields. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** The longest text of the engine's own lines, in characters. */
const LONGEST_TEXT = 2_000;

type Said = [level: Level, text: string, fields?: Readonly<Record<string, unknown>>];

type Lines = { readonly [T in EngineEvent["type"]]: (event: EngineEvent & { readonly type: T }) => Said | null };

const seconds = (milliseconds: number): string => `${milliseconds / 1000} s`;

const facts = ({ position, messageType, stream }: OfMessage) => ({ position, type: messageType, stream });

/** The log line of each event; `null` for events too frequent to log. */
const LINES: Lines = {
  "batch.handled": () => null,
  "message.failed": (e) => [
    "warn",
    `${e.messageType} at ${e.position} failed (attempt ${e.attempt} of ${e.attempts}), retrying in ${
      (e.retryInMs / 1000).toFixed(1)
    } s: ${e.error}`,
    facts(e),
  ],
  "message.dead": (e) => [
    "error",
    `Gave up on ${e.messageType} at ${e.position}${
      e.deadLetter === null ? " and skipped it" : `, kept as dead letter ${e.deadLetter}`
    }: ${e.error}`,
    { ...facts(e), attempts: e.attempts },
  ],
  "message.unknown": (e) => [
    "warn",
    `No running code knows "${e.messageType}" version ${e.schemaVersion} (at ${e.position}); it and later messages of its stream wait for code that does`,
    { type: e.messageType },
  ],
  "message.newer": (e) => [
    "warn",
    `Left "${e.messageType}" version ${e.schemaVersion} at ${e.position} to a process whose code knows it; standing by`,
  ],
  "handler.logged": (e) => [e.level, e.text, e.fields],
  "service.warned": (e) => ["warn", e.warning],
  "service.away": (e) => ["warn", `${e.error}; waiting for it`],
  "service.back": () => ["info", "Available again; resuming"],
  "broker.left": (e) => ["warn", `${e.error}; reading the log until it is back`],
  "broker.rejoined": () => ["info", "The broker is available again; reading from it"],
  "log.forked": (e) =>
    e.isMissing
      ? [
        "error",
        `The database failed over or was recovered, and the log went back: messages up to position ${e.seen} at least had been stored, and the last of them are lost (it ends at ${e.last} now). Reading everything again`,
      ]
      : [
        "warn",
        `The database failed over or was recovered. Nothing up to position ${e.seen} is missing; what was stored in the last second before it may be. Reading everything again`,
      ],
  "group.renamed": () => [
    "warn",
    "Newer code has given this handler another name, and goes on under that; this server does not run it any more",
  ],
  "projection.building": (e) => [
    "info",
    `Generation ${e.generation} of projection "${e.projection}" is being built from the log`,
  ],
  "projection.built": (e) => [
    "info",
    `Generation ${e.generation} of projection "${e.projection}" is built up to position ${e.position} after ${
      e.seconds.toFixed(1)
    } s`,
  ],
  "projection.stopped": (e) => [
    "error",
    `Generation ${e.generation} of projection "${e.projection}" cannot be built, and readers go on with what they have: ${e.error}. Correct the projector and restart`,
  ],
  "projection.swapped": (e) => [
    "info",
    `Readers of projection "${e.projection}" see generation ${e.to} now, and no longer ${e.from}`,
  ],
  "broker.foreign": () => ["warn", "The broker held a copy of another log; it was deleted and is being refilled"],
  "broker.diverged": (e) => [
    "warn",
    `The broker had messages of ${e.category} that the log does not have (was a backup restored?); rebuilding the broker's copy`,
  ],
  "broker.refilled": (e) => [
    "warn",
    `The broker has lost messages of ${e.category}; publishing again from position ${e.after}`,
  ],
  "relay.published": () => null,
  "schedule.released": () => null,
  "lease.standby": (e) => ["info", `Another process has ${e.lease}; standing by`],
  "lease.acquired": (e) => e.afterStandby ? ["info", `Took over ${e.lease}`] : null,
  "lease.lost": () => ["warn", "Another process took over; restarting"],
  "lease.unsure": (e) => ["warn", `${e.error}; restarting under a new lease`],
  "worker.started": () => null,
  "worker.measured": () => null,
  "worker.ended": (e) => ["error", `Its worker ended: ${e.reason}`],
  "worker.replaced": (e) => [
    "error",
    `Its worker is replaced${e.delayMs > 0 ? ` in ${seconds(e.delayMs)}` : ""}: ${e.error}`,
  ],
  "group.rested": (e) => [
    "error",
    `Its worker ended ${e.ends} times within a minute; resting for ${Math.ceil(e.restMs / 1000)} s: ${e.error}`,
  ],
  "group.full": (e) => [
    "error",
    `${e.deferred} messages wait for a retry or behind one; nothing new is read until some of them are settled (see \`annals subscriptions status\` and \`dlq list\`)`,
  ],
  "host.started": () => null,
  "host.ended": (e) => ["error", `Host "${e.host}" ended: ${e.reason}; its groups continue in a new one`],
  "host.printed": (e) => ["info", `Host "${e.host}" printed: ${e.text}`],
  "host.silenced": (e) => ["warn", `Host "${e.host}" printed ${e.lines} more lines, which were dropped`],
  "shutdown.overdue": (e) => [
    "warn",
    `Did not stop within ${e.seconds} s; in-flight messages will be redelivered after restart`,
  ],
  "engine.failed": (e) => ["error", e.error],
};

/**
 * Describes an event as a log line.
 *
 * @param event What happened.
 * @returns The log line; `null` for events that are not logged.
 */
export function lineOf(event: EngineEvent): LogLine | null {
  const said = (LINES[event.type] as (event: EngineEvent) => Said | null)(event);
  if (said === null) return null;
  const [level, text, fields] = said;
  // A thousand messages may fail with errors of 10,000 characters each; dead letters keep them in full.
  const shown = event.type === "handler.logged" ? text : storable(text, LONGEST_TEXT);
  return { group: "group" in event ? event.group : "", level, text: shown, ...(fields && { fields }) };
}

/**
 * Creates a listener that logs events.
 *
 * @param write Writes one log line.
 * @returns The listener.
 */
export function logTo(
  write: (group: string, level: Level, text: string, fields?: Record<string, unknown>) => void,
): Report {
  return (event) => {
    const line = lineOf(event);
    if (line) write(line.group, line.level, line.text, { ...line.fields });
  };
}

/** Creates a handler's log, whose lines are reported as events. */
export function handlerLogOf(report: Report, group: string): HandlerLog {
  const line = (level: Level) => (text: string, fields: Record<string, unknown> = {}): void =>
    report({ type: "handler.logged", group, level, text, fields });
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}

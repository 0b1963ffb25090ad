import type { Command } from "commander";
import { type Trace, type TracedHandling, type TracedMessage, traceOf } from "../operating/trace.ts";
import { paint } from "../telemetry/colors.ts";
import { escapeControl } from "../telemetry/escape.ts";
import { type GlobalOptions, type Operator, withOperator } from "./operator.ts";
import { COLORS, print, span, stamp } from "./output.ts";
import { UsageError, whole } from "./run.ts";

const STATE_COLORS = {
  accepted: "green",
  refused: "yellow",
  failed: "red",
  undecided: "dim",
  scheduled: "yellow",
  missing: "yellow",
  retrying: "yellow",
  waiting: "yellow",
  behind: "yellow",
  "unknown type": "yellow",
  "set aside": "red",
  dead: "red",
} as const;

/** States that go without saying. */
const QUIET = new Set<string>(["stored", "passed", "decided"]);

/** Deeper lines are not set in any further. */
const DEEPEST = 30;

const LONGEST_PAYLOAD = 200;

function colored(state: string): string {
  return QUIET.has(state) ? "" : paint(state, STATE_COLORS[state as keyof typeof STATE_COLORS], COLORS);
}

function safe(text: string): string {
  return escapeControl(text);
}

/** The time between two hops. */
function later(milliseconds: number | null): string {
  if (milliseconds === null) return "";
  return paint(milliseconds < 1_000 ? `+${milliseconds} ms` : `+${span(milliseconds)}`, "dim", COLORS);
}

function line(parts: readonly (string | null | undefined | false)[]): string {
  return parts.filter((part) => typeof part === "string" && part !== "").join("  ");
}

function headOf(message: TracedMessage, isRoot: boolean): string {
  const { type, stream, position, state, time, after, reason, id } = message;
  if (state === "missing") return line([`${id}`, colored("missing"), "is not in the log (any more)"]);
  if (type === "") {
    return line([`command ${id}`, colored(state), "was decided where it was sent", reason && safe(reason)]);
  }
  return line([
    paint(safe(type), "bold", COLORS),
    safe(stream),
    position === null ? null : `#${position}`,
    colored(state),
    state === "scheduled" ? `due ${stamp(time!)}` : isRoot && time !== null ? stamp(time) : later(after),
    reason && safe(reason),
  ]);
}

/** What a group did, where that is worth a line or stands in front of what it wrote. */
function handlingOf({ group, state, attempts, error, dueAt, deadLetter }: TracedHandling): string {
  return line([
    safe(group),
    state === "passed" ? "passed" : colored(state),
    attempts > 0 && `${attempts} ${attempts === 1 ? "attempt" : "attempts"}`,
    dueAt !== null && `next ${stamp(dueAt)}`,
    error !== null && safe(error),
    deadLetter !== null && paint(`annals dlq inspect ${deadLetter}`, "dim", COLORS),
  ]);
}

/** Draws a trace: a line for each message, and for each group that wrote nothing. */
export function draw(trace: Trace, payloads = false): string[] {
  const lines: string[] = [];
  const put = (depth: number, lead: string, text: string) => {
    const left = depth > DEEPEST ? `${"   ".repeat(DEEPEST)}(${depth}) ` : lead;
    lines.push(left + text);
  };
  const show = (message: TracedMessage, by: string, depth: number, lead: string, rest: string) => {
    put(depth, lead, `${by}${headOf(message, depth === 0)}`);
    if (payloads && message.data !== null) {
      const { data } = message;
      const shown = data.length > LONGEST_PAYLOAD ? `${data.slice(0, LONGEST_PAYLOAD - 1)}…` : data;
      put(
        depth,
        `${rest}${message.handled.length + message.led.length > 0 ? "│  " : "   "}`,
        paint(safe(shown), "dim", COLORS),
      );
    }
    const parts = [
      ...message.handled.flatMap((by) => {
        // Whether a command was handled, its outcome tells.
        const isQuiet = by.state === "passed" && (by.led.length > 0 || message.kind === "command");
        const one = isQuiet ? [] : [(start: string) => put(depth + 1, start, handlingOf(by))];
        return [
          ...one,
          ...by.led.map((led) => (start: string, rest: string) =>
            show(led, `${safe(by.group)} ▸ `, depth + 1, start, rest)
          ),
        ];
      }),
      ...message.led.map((led) => (start: string, rest: string) => show(led, "", depth + 1, start, rest)),
    ];
    parts.forEach((part, i) => {
      const isLast = i === parts.length - 1;
      part(`${rest}${isLast ? "└─ " : "├─ "}`, `${rest}${isLast ? "   " : "│  "}`);
    });
  };
  for (const root of trace.roots) show(root, "", 0, "", "");
  return lines;
}

function textOf(id: string, trace: Trace, payloads: boolean): string {
  const { causes, messages, duration, correlationId, leftOut } = trace;
  const because = causes.map((cause) => `because of ${headOf(cause, true)}`);
  const took = duration < 1_000 ? `${duration} ms` : span(duration);
  return [
    ...because,
    ...draw(trace, payloads),
    "",
    `${messages} ${messages === 1 ? "message" : "messages"} within ${took}; correlation ${safe(correlationId)}`,
    ...leftOut.map((text) => paint(`Not all: ${text}`, "yellow", COLORS)),
    ...(messages === 0 && leftOut.length > 0 ? [`Nothing was found as ${safe(id)}; look longer: --patience 120`] : []),
  ].join("\n");
}

/** Says how to find what somebody means. */
async function unknown({ store, domain }: Operator, id: string): Promise<UsageError> {
  const last = await store.lastPosition();
  const [stream] = await store.readStream(id, { limit: 1 });
  const hint = stream
    ? `it is a stream: annals events read ${id} shows its messages, and trace takes their positions`
    : /^\d+$/.test(id)
    ? `the log of domain "${domain.name}" goes up to ${last}`
    : "find messages and their correlations with: annals events search --since 1h --json";
  return new UsageError(
    `Domain "${domain.name}" knows no message, correlation, dead letter or scheduled message "${id}"; ${hint}`,
  );
}

/** `annals trace …` */
export function addTrace(program: Command): void {
  program.command("trace").description("show what a message led to: groups, messages, refusals, dead letters, timers")
    .argument("<id>", "the id or position of a message, a correlation id, a dead letter, or a scheduled message's key")
    .option("--payload", "show payloads as stored")
    .option("--internal", "show messages of the toolkit itself as well, like what a process has handled")
    .option("--limit <n>", "the most messages to read", whole, 10_000)
    .option("--patience <seconds>", "how long to look through a large log", whole, 20)
    .option("--json", "print one JSON document")
    .action((id: string, { payload, internal, limit, patience, json }) =>
      withOperator(program.opts<GlobalOptions>(), async (operator) => {
        const trace = await traceOf(operator, id, {
          limit,
          patience: patience * 1_000,
          payloads: payload === true,
          internals: internal === true,
        });
        if (trace === null) throw await unknown(operator, id);
        print(json, trace, () => textOf(id, trace, payload === true));
      })
    );
}

import type { Attributes, Span, SpanContext } from "@opentelemetry/api";
import type { Effects } from "../handling/batch.ts";
import type { BatchItem, BatchResult } from "../handling/executor.ts";
import type { GroupWorker } from "../handling/runner.ts";
import { overriding } from "../lib/overriding.ts";
import type { NewMessage } from "../messages/envelope.ts";
import { textOf } from "../messages/thrown.ts";
import { withTraceParent } from "../messages/trace_parent.ts";
import { traceParentOfSpan, type Tracing } from "./tracing.ts";

/** In larger batches, messages that nothing follows from share a span: one each would cost more than handling them. */
const MOST_ALONE = 10;

/** What is done with messages: `decide` for commands, `project` for events of projections, `handle` for all others. */
export type Step = "decide" | "handle" | "project";

/** The group whose handling is traced. */
export interface TracedGroup {
  /** Its name. */
  readonly group: string;
  /** What it does with messages. */
  readonly step: Step;
}

/** The facts of a message, for its span. */
export function factsOf({ record, attempt }: BatchItem): Attributes {
  return {
    "annals.type": record.type,
    "annals.stream": record.stream,
    "annals.position": record.position,
    "annals.correlation_id": record.correlationId,
    "annals.attempt": attempt,
  };
}

/**
 * Makes spans of what a worker does, seen from the engine: domain code reaches no network. A span for each message, linked to
 * what that follows from, and one for the commit; what is appended carries the span that it follows from.
 *
 * @param tracing Makes the spans.
 * @param traced The group.
 * @param worker Its worker.
 */
export function tracedWorker(tracing: Tracing, traced: TracedGroup, worker: GroupWorker): GroupWorker {
  return overriding(worker, {
    open: () => {
      const session = worker.open();
      let append: Span | null = null;
      return overriding(session, {
        run: async (items, signal) => {
          const startedAt = tracing.now();
          let result: BatchResult | "apart";
          try {
            result = await session.run(items, signal);
          } catch (error) {
            const text = textOf(error);
            const failures = new Map(items.map((_, i) => [i, { error: text }]));
            new BatchTrace(tracing, traced, items, startedAt).handled(NOTHING, failures);
            throw error;
          }
          if (result === "apart") return result;
          const trace = new BatchTrace(tracing, traced, items, startedAt);
          const effects = trace.handled(result.effects, result.failures);
          append = trace.appending(effects);
          return effects === result.effects ? result : { ...result, effects };
        },
        settle: (written) => {
          if (append && !written) tracing.fail(append, "Not written: refused, or the store is away");
          append?.end();
          append = null;
          session.settle(written);
        },
      });
    },
  });
}

const NOTHING: Pick<Effects, "appends" | "schedule"> = { appends: [], schedule: [] };

/** The spans of one batch. */
class BatchTrace {
  #tracing: Tracing;
  #traced: TracedGroup;
  #items: readonly BatchItem[];
  #startedAt: number;
  /** Spans of messages that something follows from, by their ids. */
  #spans = new Map<string, Span>();

  constructor(tracing: Tracing, traced: TracedGroup, items: readonly BatchItem[], startedAt: number) {
    this.#tracing = tracing;
    this.#traced = traced;
    this.#items = items;
    this.#startedAt = startedAt;
  }

  /** Makes the spans of what was handled just now; what follows from it is told them. */
  handled<E extends Pick<Effects, "appends" | "schedule">>(
    effects: E,
    failures: ReadonlyMap<number, { readonly error: string }>,
  ): E {
    const { step } = this.#traced;
    const areTraced = this.#items.map(({ record }) => this.#tracing.traces(record));
    if (!areTraced.includes(true)) return effects;
    const messages = [
      ...effects.appends.flatMap(({ messages }) => messages),
      ...effects.schedule.map(({ message }) => message),
    ];
    const causing = new Set(messages.map(({ causationId }) => causationId));
    const areAlone = step === "decide" || this.#items.length <= MOST_ALONE;
    const together: BatchItem[] = [];
    this.#items.forEach((item, i) => {
      if (!areTraced[i]) return;
      const failure = failures.get(i);
      if (areAlone || failure || causing.has(item.record.id)) this.#alone(item, failure?.error);
      else together.push(item);
    });
    if (together.length > 0) this.#together(together);
    if (this.#spans.size === 0) return effects;
    const told = (message: NewMessage): NewMessage => {
      const span = this.#spans.get(message.causationId ?? "");
      return span ? { ...message, metadata: withTraceParent(message.metadata, traceParentOfSpan(span)) } : message;
    };
    return {
      ...effects,
      appends: effects.appends.map((append) => ({ ...append, messages: append.messages.map(told) })),
      schedule: effects.schedule.map((entry) => ({ ...entry, message: told(entry.message) })),
    };
  }

  #alone(item: BatchItem, error: string | undefined): void {
    const { group, step } = this.#traced;
    const { record, attempt } = item;
    const cause = this.#tracing.causeOf(record);
    const span = this.#tracing.start(`${step} ${record.type}`, {
      kind: "CONSUMER",
      startedAt: this.#startedAt,
      attributes: { "annals.group": group, ...factsOf(item) },
      causes: cause ? [cause] : [],
      parent: this.#tracing.parentFor(cause, attempt),
    });
    if (error !== undefined) this.#tracing.fail(span, error);
    span.end(this.#tracing.now());
    this.#spans.set(record.id, span);
  }

  #together(items: readonly BatchItem[]): void {
    const { group, step } = this.#traced;
    const [first, last] = [items[0].record.position, items[items.length - 1].record.position];
    this.#tracing.start(`${step} batch`, {
      kind: "CONSUMER",
      startedAt: this.#startedAt,
      attributes: {
        "annals.group": group,
        "annals.messages": items.length,
        "annals.first_position": first,
        "annals.last_position": last,
      },
      causes: causesOf(this.#tracing, items.map(({ record }) => record)),
    }).end(this.#tracing.now());
  }

  /** Begins the span of the commit that appends what follows from them. */
  appending({ appends }: Pick<Effects, "appends">): Span | null {
    const messages = appends.flatMap(({ messages }) => messages);
    const spans = new Set(messages.flatMap(({ causationId }) => this.#spans.get(causationId ?? "") ?? []));
    if (spans.size === 0) return null;
    const causes = [...spans].map((span) => span.spanContext());
    return this.#tracing.start("append", {
      kind: "PRODUCER",
      attributes: {
        "annals.group": this.#traced.group,
        "annals.messages": messages.length,
        "annals.streams": appends.map(({ stream }) => stream).slice(0, MOST_STREAMS),
      },
      causes,
      parent: causes.length === 1 ? causes[0] : undefined,
    });
  }
}

/** Most streams that a span names. */
const MOST_STREAMS = 20;

/** What messages follow from: each span once. */
export function causesOf(tracing: Tracing, records: readonly { readonly metadata: string | null }[]): SpanContext[] {
  const causes = new Map<string, SpanContext>();
  for (const record of records) {
    const cause = tracing.causeOf(record);
    if (cause) causes.set(cause.spanId, cause);
  }
  return [...causes.values()];
}

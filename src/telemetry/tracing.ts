import type { Attributes, Link, Span, SpanContext, SpanKind, Tracer } from "@opentelemetry/api";
import { storable } from "../messages/text.ts";
import { type TraceParent, traceParentOf } from "../messages/trace_parent.ts";

/** The library, loaded only where something takes spans. */
type Api = typeof import("@opentelemetry/api");

/** Most links of one span: more are dropped by everybody. */
const MOST_LINKS = 128;

/** The longest text of an error, in characters. */
const LONGEST_ERROR = 500;

/** How traces are made. */
export interface TracingSettings {
  /**
   * What the span of handling a message is a child of: nothing (`never`), so that each step is a trace of its own, linked to
   * what caused it; or, at the first attempt, the span that caused it (`first`), so that all that follows from a command
   * is one trace.
   */
  readonly parent: "never" | "first";
  /** The share of commands that are traced, with all that follows from them, from 0 to 1. */
  readonly sample: number;
}

/** A message that something follows from. */
export interface Traceable {
  /** Its correlation id. */
  readonly correlationId: string;
  /** JSON text of its metadata. */
  readonly metadata: string | null;
}

/** What a span is about. */
export interface SpanOptions {
  /** Its kind. @default {"INTERNAL"} */
  readonly kind?: keyof typeof SpanKind;
  /** When it began, by {@linkcode Tracing.now}. @default {now} */
  readonly startedAt?: number;
  /** Facts. */
  readonly attributes?: Attributes;
  /** What has caused it; those beyond the most are left out. @default {nothing} */
  readonly causes?: readonly SpanContext[];
  /** What it is a child of. @default {nothing} */
  readonly parent?: SpanContext | undefined;
  /** Whether it is a child of what is active here, like an HTTP request. @default {false} */
  readonly isHere?: boolean;
}

/** Whether something takes spans: Deno with `OTEL_DENO=true`, or an SDK that the program has set up. */
function isTaken(): boolean {
  const apis = globalThis as { [key: symbol]: { readonly trace?: unknown } | undefined };
  return apis[Symbol.for("opentelemetry.js.api.1")]?.trace !== undefined;
}

/**
 * Prepares tracing.
 *
 * @param settings How traces are made.
 * @returns `null` where nothing takes spans: then nothing is loaded, and nothing is done for a message.
 */
export async function tracingOf(settings: TracingSettings): Promise<Tracing | null> {
  return isTaken() && settings.sample > 0 ? new Tracing(await import("@opentelemetry/api"), settings) : null;
}

/** Makes spans. */
export class Tracing {
  #api: Api;
  #tracer: Tracer;
  #settings: TracingSettings;

  /**
   * @param api The library.
   * @param settings How traces are made.
   */
  constructor(api: Api, settings: TracingSettings) {
    this.#api = api;
    this.#settings = settings;
    this.#tracer = api.trace.getTracer("annals");
  }

  /** The time for spans, in milliseconds since 1970, with fractions. */
  now(): number {
    return performance.timeOrigin + performance.now();
  }

  /**
   * Whether what follows from a message is traced: as with what it follows from itself; or else by its correlation id, so
   * that all processes agree.
   */
  traces({ correlationId, metadata }: Traceable): boolean {
    const parent = traceParentOf(metadata);
    return parent ? parent.isRecorded : shareOf(correlationId) < this.#settings.sample;
  }

  /** The span that a message follows from, if that is recorded. */
  causeOf({ metadata }: Pick<Traceable, "metadata">): SpanContext | undefined {
    const parent = traceParentOf(metadata);
    if (!parent?.isRecorded) return undefined;
    const { traceId, spanId } = parent;
    return { traceId, spanId, traceFlags: this.#api.TraceFlags.SAMPLED, isRemote: true };
  }

  /** What the span of an attempt to handle a message is a child of. */
  parentFor(cause: SpanContext | undefined, attempt: number): SpanContext | undefined {
    return this.#settings.parent === "first" && attempt === 1 ? cause : undefined;
  }

  /** Begins a span. */
  start(name: string, options: SpanOptions): Span {
    const { context, trace, ROOT_CONTEXT, SpanKind } = this.#api;
    const { kind = "INTERNAL", startedAt, attributes, causes = [], parent, isHere } = options;
    const links: Link[] = [];
    for (const cause of causes) {
      if (links.length === MOST_LINKS) break;
      // A parent is a cause already.
      if (cause.spanId !== parent?.spanId) links.push({ context: cause });
    }
    const around = isHere ? context.active() : parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;
    return this.#tracer.startSpan(name, {
      kind: SpanKind[kind],
      ...(startedAt !== undefined && { startTime: startedAt }),
      ...(attributes && { attributes }),
      ...(links.length > 0 && { links }),
    }, around);
  }

  /** Marks a span as failed. */
  fail(span: Span, error: string): void {
    span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: storable(error, LONGEST_ERROR) });
  }
}

/** What messages that follow from a span keep of it. */
export function traceParentOfSpan(span: Span): TraceParent {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return { traceId, spanId, isRecorded: (traceFlags & 1) === 1 };
}

/** A number from 0 to 1 that is the same in all processes (FNV-1a, and a last mixing as of MurmurHash3). */
function shareOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

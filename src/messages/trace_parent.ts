/** The field of the metadata, always the first one: clients may not use it. */
const START = '{"$traceparent":"';

/** A traceparent of W3C Trace Context, version 00: ids of zeros are none. */
const FORM = /^00-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})$/;
const LENGTH = 55;

/** What a message follows from, in a trace. */
export interface TraceParent {
  /** The trace: 32 hexadecimal digits. */
  readonly traceId: string;
  /** The span in it: 16 hexadecimal digits. */
  readonly spanId: string;
  /** Whether it is recorded. */
  readonly isRecorded: boolean;
}

/** Parses a traceparent; `null` if it is none. */
export function parseTraceParent(text: string): TraceParent | null {
  const [, traceId, spanId, flags] = FORM.exec(text) ?? [];
  return flags === undefined ? null : { traceId, spanId, isRecorded: (Number(`0x${flags}`) & 1) === 1 };
}

/**
 * Returns the span that a message follows from; `null` if it has none.
 *
 * @param metadata JSON text.
 */
export function traceParentOf(metadata: string | null): TraceParent | null {
  if (metadata === null || !metadata.startsWith(START)) return null;
  return parseTraceParent(metadata.slice(START.length, START.length + LENGTH));
}

/**
 * Sets the span that a message follows from, in place of another.
 *
 * @param metadata JSON text.
 * @param parent The span.
 */
export function withTraceParent(metadata: string | null, { traceId, spanId, isRecorded }: TraceParent): string {
  const own = `${START}00-${traceId}-${spanId}-0${isRecorded ? 1 : 0}"`;
  if (metadata === null || metadata === "{}") return `${own}}`;
  if (traceParentOf(metadata)) return own + metadata.slice(START.length + LENGTH + 1);
  return `${own},${metadata.slice(1)}`;
}

import { type DeferredMessage, REPLAY } from "../store/port.ts";
import type { Operator } from "./operator.ts";

/** What a deferred message waits for. */
export type WaitsFor =
  /** For its next attempt, at `dueAt`. */
  | "a retry"
  /** For its turn: an earlier message of its stream failed, or it was replayed and not picked up yet. */
  | "its turn"
  /** For an operator: an earlier message of its stream is a dead letter. */
  | "a replay"
  /** For a server with code that knows its type and version. */
  | "code";

/** A deferred message, and what it waits for. */
export interface WaitingMessage extends DeferredMessage {
  /** Its type. */
  readonly type: string;
  /** The version of its schema. */
  readonly schemaVersion: number;
  /** When it was created, in milliseconds since 1970. */
  readonly time: number;
  /** What it waits for. */
  readonly waitsFor: WaitsFor;
  /** The position of the earlier message of its stream that it waits behind; `null` if there is none. */
  readonly behind: number | null;
}

function waitsFor({ awaits, attempts, behind }: DeferredMessage & { readonly behind: number | null }): WaitsFor {
  if (awaits !== null) return awaits === REPLAY ? "a replay" : "code";
  return attempts > 0 && behind === null ? "a retry" : "its turn";
}

/**
 * Returns deferred messages of a group, and what they wait for.
 *
 * @param operator The domain.
 * @param group The group.
 * @param page Behind which position to begin, and the most to return.
 */
export async function waitingMessages(
  { store }: Pick<Operator, "store">,
  group: string,
  { after = 0, limit }: { readonly after?: number; readonly limit: number },
): Promise<WaitingMessage[]> {
  const found = await store.deferred(group, { after, limit });
  // What keeps a stream waiting may be on an earlier page.
  const first = new Map<string, number>();
  for (const { stream, position } of after === 0 ? found : await store.deferred(group)) {
    if (!first.has(stream)) first.set(stream, position);
  }
  const records = await store.readAt(found.map(({ position }) => position), { largest: 0 });
  const known = new Map(records.map((record) => [record.position, record]));
  return found.map((one) => {
    const start = first.get(one.stream)!;
    const message = { ...one, behind: start < one.position ? start : null };
    const { type = "", schemaVersion = 0, time = 0 } = known.get(one.position) ?? {};
    return { ...message, type, schemaVersion, time, waitsFor: waitsFor(message) };
  });
}

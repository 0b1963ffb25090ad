import type { Inspector } from "../../isolation/inspector.ts";
import { isInternal, type MessageRecord } from "../../messages/envelope.ts";
import { isLeftOut } from "../../store/large.ts";

/** A message as it is shown. */
export interface ShownMessage extends Omit<MessageRecord, "data" | "metadata"> {
  /** The payload, upcast to what the code knows now; `null` if it cannot be decoded, or is large. */
  readonly payload: unknown;
  /** Why it cannot be decoded. */
  readonly unreadable?: string;
  /** The payload as it is stored: JSON text; empty if it is large and was left out. */
  readonly raw: string;
  /** The metadata. */
  readonly metadata: unknown;
}

/** Decodes messages to be shown. */
export async function shownMessages(
  inspector: Pick<Inspector, "decode">,
  records: readonly MessageRecord[],
): Promise<ShownMessage[]> {
  // Internal types are declared by no domain; what was left out has nothing to decode.
  const own = records.filter((record) => !isInternal(record.category) && !isLeftOut(record));
  const payloads = await inspector.decode(own);
  const known = new Map(own.map((record, i) => [record, payloads[i]]));
  return records.map((record) => {
    const { data: raw, metadata, ...rest } = record;
    const decoded = known.get(record) ?? { payload: isLeftOut(record) ? null : JSON.parse(raw) };
    const { payload, unreadable } = decoded as { payload: unknown; unreadable?: string };
    return {
      ...rest,
      payload,
      ...(unreadable !== undefined && { unreadable }),
      raw,
      metadata: metadata === null ? null : JSON.parse(metadata),
    };
  });
}

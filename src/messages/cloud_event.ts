import { jsonFaults } from "./json.ts";
import type { MessageType } from "./message_type.ts";
import { type } from "./schema.ts";

/** An event of another system, or for one: a CloudEvent 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md). */
export interface CloudEvent<Data = unknown> {
  /** Always `1.0`. */
  readonly specversion: "1.0";
  /** With `source`, what identifies it: the same pair again is the same event. */
  readonly id: string;
  /** Where it comes from: a URI, or a path. */
  readonly source: string;
  /** Its type, like `com.example.paid.v1`. */
  readonly type: string;
  /** What it is about. */
  readonly subject?: string;
  /** When it happened (RFC 3339). */
  readonly time?: string;
  /** The media type of the data. @default {"application/json"} */
  readonly datacontenttype?: string;
  /** The data. */
  readonly data: Data;
}

/** What was received for a subscriber: a CloudEvent, or what could not be read as one. Its attributes may have any names. */
export type Received =
  | {
    /** The event. */
    readonly event: CloudEvent;
  }
  | {
    /** Why it cannot be read. */
    readonly unreadable: string;
    /** What came. */
    readonly raw: string;
  };

/** What was read: a CloudEvent, or the reason why it is none, with its type if it has one. */
export type ReadEvent =
  | { readonly event: CloudEvent }
  | { readonly fault: string; readonly type?: string };

/** The type of what was received. No type of a domain has a `$` in its name. */
export const RECEIVED: MessageType<string, Received> = Object.freeze({
  type: "$Received",
  version: 1,
  schema: type<Received>(),
  upcast: {},
});

/** What follows the name of a subscriber in the category of what was received for it. */
export const RECEIVED_PART = "received";

/** Whether a category is of what was received for a subscriber. */
export function isReceived(category: string): boolean {
  return category.endsWith(`:${RECEIVED_PART}`) && !category.endsWith(`::${RECEIVED_PART}`);
}

/** Attributes that are texts, and whether each has to be there. */
const TEXTS = { id: true, source: true, type: true, subject: false, time: false, datacontenttype: false };

/**
 * Checks whether a value is a CloudEvent 1.0.
 *
 * @param value Parsed JSON.
 * @returns What is wrong; `null` if it is one.
 */
export function cloudEventFault(value: unknown): string | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "it is no JSON object";
  const given = value as Record<string, unknown>;
  if (given.specversion !== "1.0") return `its specversion is ${JSON.stringify(given.specversion)}; expected "1.0"`;
  for (const [name, isRequired] of Object.entries(TEXTS)) {
    const text = given[name];
    if (text === undefined || text === null ? isRequired : typeof text !== "string" || text === "") {
      return `its ${name} is ${JSON.stringify(text) ?? "missing"}; expected a text that is not empty`;
    }
  }
  if (typeof given.time === "string" && Number.isNaN(Date.parse(given.time))) {
    return `its time is ${JSON.stringify(given.time)}; expected a time like 2026-01-31T12:00:00Z`;
  }
  return null;
}

/** Whether a media type is that of JSON; without one, it is. */
export function isJsonType(mediaType: string | undefined): boolean {
  return mediaType === undefined || /^[\w.+-]+\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(mediaType);
}

/** A zero with a minus, as a number of JSON: that the minus is lost does not matter. */
const MINUS_ZERO = /(?:^|[[,:\s])-0(?:\.0*)?(?:e[+-]?\d+)?\s*(?:[,\]}]|$)/i;

/** Parses JSON, with zeros in place of those with a minus. */
export function parseJson(text: string): unknown {
  return MINUS_ZERO.test(text) ? JSON.parse(text, (_key, part) => part === 0 ? 0 : part) : JSON.parse(text);
}

/** What a store could not keep of parsed JSON. */
function storeFault(value: unknown): string | null {
  const [fault] = jsonFaults(value);
  return fault ? `${fault.path === "" ? "" : `${fault.path}: `}${fault.message}` : null;
}

/**
 * Reads a CloudEvent from its attributes.
 *
 * @param value Parsed JSON.
 * @returns The event, or the reason why it is none.
 */
export function readCloudEvent(value: unknown): ReadEvent {
  const { type } = Object(value) as { type?: unknown };
  const refuse = (fault: string): ReadEvent => ({ fault, ...(typeof type === "string" && { type }) });
  const fault = cloudEventFault(value) ?? storeFault(value);
  if (fault !== null) return refuse(fault);
  const { data_base64: encoded, ...given } = value as CloudEvent & { readonly data_base64?: unknown };
  // An attribute that is null is not there.
  const event = Object.fromEntries(
    Object.entries(given).filter(([name, part]) => part !== null || name === "data"),
  ) as unknown as CloudEvent;
  if (encoded === undefined || encoded === null) return { event };
  // Other data stay as they came: what they mean, the schema says.
  if (!isJsonType(event.datacontenttype)) return { event: { ...event, data: encoded } };
  try {
    const bytes = Uint8Array.fromBase64(encoded as string);
    const data = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    const inside = storeFault(data);
    return inside === null ? { event: { ...event, data } } : refuse(`its data: ${inside}`);
  } catch {
    return refuse("its data_base64 is no base64 text of its datacontenttype");
  }
}

/**
 * Reads CloudEvents in the JSON format.
 *
 * @param text One event, or a list of some.
 * @returns For each the event, or the reason why it is none.
 * @throws {SyntaxError} If it is not JSON.
 */
export function readCloudEvents(text: string): readonly ReadEvent[] {
  const parsed = parseJson(text);
  return (Array.isArray(parsed) ? parsed : [parsed]).map(readCloudEvent);
}

import type { MessageRecord } from "../messages/envelope.ts";

/**
 * A message as a line of JSON: a CloudEvent 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md)
 * with extension attributes for what CloudEvents do not have. The payload comes last and is kept letter by letter: numbers
 * are not read and written again.
 *
 * @param record The message.
 * @param source Which log it is from: a URI.
 * @returns A line, without its end.
 */
export function toLine(record: MessageRecord, source: string): string {
  const { position, id, type, schemaVersion, category, stream, version, time, correlationId, causationId, data } =
    record;
  const head = JSON.stringify({
    specversion: "1.0",
    id,
    source,
    type,
    subject: stream,
    time: new Date(time).toISOString(),
    datacontenttype: "application/json",
    category,
    position,
    streamversion: version,
    schemaversion: schemaVersion,
    correlationid: correlationId,
    ...(causationId !== null && { causationid: causationId }),
    ...(record.metadata !== null && { metadata: record.metadata }),
  });
  return `${head.slice(0, -1)}${DATA}${data}}`;
}

/** In a JSON text, no string has this, because its quotes would be escaped. */
const DATA = ',"data":';

/**
 * Reads a line made by {@linkcode toLine}.
 *
 * @param line The line.
 * @returns The message.
 * @throws {Error} If it is none; says why.
 */
export function fromLine(line: string): MessageRecord {
  const at = line.indexOf(DATA);
  if (at < 0 || !line.endsWith("}")) throw new Error("it is no CloudEvent with data");
  const data = line.slice(at + DATA.length, -1);
  const head = JSON.parse(`${line.slice(0, at)}}`);
  JSON.parse(data);
  const { id, type, subject, time, category, position, streamversion, schemaversion, correlationid } = head;
  const isWhole = [position, streamversion, schemaversion].every(Number.isSafeInteger);
  const isText = [id, type, subject, time, category, correlationid].every((text) => typeof text === "string");
  if (head.specversion !== "1.0" || !isWhole || !isText || Number.isNaN(Date.parse(time))) {
    throw new Error("it is no CloudEvent of an exported log");
  }
  return {
    position,
    id,
    type,
    schemaVersion: schemaversion,
    category,
    stream: subject,
    version: streamversion,
    time: Date.parse(time),
    correlationId: correlationid,
    causationId: head.causationid ?? null,
    data,
    metadata: head.metadata ?? null,
  };
}

/** The text that a digest of messages is made of. */
export function digestText(record: MessageRecord): string {
  const { position, id, type, schemaVersion, stream, version, time, correlationId, causationId, data, metadata } =
    record;
  return JSON.stringify([
    position,
    id,
    type,
    schemaVersion,
    stream,
    version,
    time,
    correlationId,
    causationId,
    data,
    metadata,
  ]);
}

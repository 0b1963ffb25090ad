import { z } from "zod";
import type { Domain } from "../../domain/model.ts";
import type { Projection } from "../../domain/projection.ts";
import type { Message } from "../../messages/envelope.ts";
import { type Fault, PayloadError, UndecodableMessageError } from "../../messages/errors.ts";
import { parsed } from "../../messages/schema.ts";
import type { Behind } from "../catching_up.ts";
import type { Receipt } from "../command_sender.ts";
import type { Outcome } from "../outcome.ts";
import { HttpError } from "./errors.ts";

/** What a command was sent as. */
export type Sent = Omit<Receipt, "reached" | "behind">;

/** A position in the log or in a stream. */
const count = z.int().nonnegative();
const id = z.string().min(1).max(500);
const token = z.string().regex(/^[\w-]+$/);

const outcome = z.discriminatedUnion("status", [
  z.object({ status: z.literal("accepted"), events: z.array(z.string()) }),
  z.object({ status: z.literal("refused"), field: z.string(), rule: z.string(), message: z.string() }),
  z.object({ status: z.literal("failed"), message: z.string() }),
]);

const sent = z.object({
  commandId: id,
  aggregateId: id,
  /** Of one that was sent before, it is not known. */
  position: count.default(0),
  repeated: z.boolean(),
  token,
  outcome: outcome.nullable(),
});

const behind = z.object({ projection: z.string(), why: z.enum(["lagging", "parked", "not running"]) });

const faults = z.array(z.object({ path: z.string(), message: z.string() })).min(1);

const page = z.object({ rows: z.array(z.unknown()), cursor: z.string().nullable() });

const event = z.object({
  type: z.string(),
  payload: z.unknown(),
  id,
  schemaVersion: z.int().positive(),
  stream: z.string(),
  category: z.string(),
  version: count,
  position: count,
  time: z.iso.datetime().transform((text) => new Date(text)),
  correlationId: id,
  causationId: id.nullable(),
  metadata: z.record(z.string(), z.unknown()),
  unreadable: z.string().optional(),
}).refine(({ stream, category }) => stream.startsWith(`${category}-`), { error: "stream and category do not fit" });

function read<T>(shape: z.ZodType<T>, body: unknown, where: string, what: string): T {
  const result = shape.safeParse(body);
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  throw new HttpError(`${where} answers with what is no ${what} (${path.join(".") || "(all)"}: ${message})`, 200);
}

/** Reads the answer to a command. */
export function readSent(body: unknown, where: string): Sent {
  return read(sent, body, where, "answer to a command");
}

/** Reads the answer to the question for an outcome. */
export function readOutcome(body: unknown, where: string): Outcome | null {
  return read(z.object({ outcome: outcome.nullable() }), body, where, "outcome").outcome;
}

/** Reads a number of rows. */
export function readCount(body: unknown, where: string): number {
  return read(z.object({ count }), body, where, "number of rows").count;
}

/** Reads a page of rows, which are not checked yet. */
export function readPage(
  body: unknown,
  where: string,
): { readonly rows: readonly unknown[]; readonly cursor: string | null } {
  return read(page, body, where, "page of rows");
}

/** Reads which projection is behind; `null` if that is not what an answer says. */
export function behindOf(value: unknown): Behind | null {
  return behind.safeParse(value).data ?? null;
}

/** Reads what is wrong with a payload; `null` if that is not what an answer says. */
export function faultsOf(value: unknown): readonly Fault[] | null {
  return faults.safeParse(value).data ?? null;
}

/** Checks a row by the schema of its projection. */
export function readRow({ name, schema }: Projection, row: unknown, where: string): any {
  try {
    return parsed(name, schema, row);
  } catch (error) {
    if (!(error instanceof PayloadError)) throw error;
    const { path, message } = error.faults[0];
    throw new HttpError(
      `${where} answers with a row of projection "${name}" that does not fit its schema (${
        path || "(all)"
      }: ${message}); is its code of another version than this?`,
      200,
    );
  }
}

/**
 * Reads an event.
 *
 * @throws {HttpError} If it is none.
 * @throws {UndecodableMessageError} If this code does not know it, or the server could not read it.
 */
export function readEvent(domain: Domain, data: string, where: string): Message {
  let json: unknown;
  try {
    json = JSON.parse(data);
  } catch {
    // It is refused.
  }
  const { unreadable, payload, ...found } = read(event, json, where, "event");
  const refuse = (reason: UndecodableMessageError["reason"], why: string): never => {
    throw new UndecodableMessageError(reason, `Cannot read message ${found.position} ("${found.type}"): ${why}`);
  };
  if (unreadable !== undefined) refuse("damaged", `the server could not (${unreadable.slice(0, 500)})`);
  const known = domain.types.get(found.type);
  if (!known) refuse("unknown type", `this code knows no type "${found.type}"`);
  try {
    return Object.freeze({
      ...found,
      payload: parsed(found.type, known!.schema, payload),
      aggregateId: found.stream.slice(found.category.length + 1),
    });
  } catch (error) {
    if (!(error instanceof PayloadError)) throw error;
    return refuse(
      "upcast failed",
      `what the server has made of it does not fit the schema of this code: ${error.message}`,
    );
  }
}

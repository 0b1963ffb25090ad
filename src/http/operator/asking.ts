import type { Context } from "hono";
import { z } from "zod";
import { didYouMean } from "../../lib/did_you_mean.ts";
import { BodyReader } from "../body_reader.ts";
import type { Guarded } from "../guard.ts";
import { problem, type ProblemStatus } from "../problem.ts";

/** Something that was asked for and cannot be done, as it is answered. */
export class AskedWrongly extends Error {
  /**
   * @param status The status of the answer.
   * @param message What is wrong, and what to do.
   */
  constructor(readonly status: ProblemStatus, message: string) {
    super(message);
  }

  /** The answer. */
  answer(context: Context): Response {
    return problem(context, this.status, this.message);
  }
}

/** Something that there is not, with what may have been meant. */
export function unknown(what: string, name: string, known: readonly string[]): AskedWrongly {
  return new AskedWrongly(404, `There is no ${what} "${name}"${didYouMean(name, known)}`);
}

/** The longest body of a request, in bytes: ten thousand ids. */
const LONGEST_BODY = 1 << 20;

const bodies = new BodyReader(LONGEST_BODY);

/**
 * Reads and checks the body of a request.
 *
 * @throws {AskedWrongly} If it is not JSON, or not what is expected.
 */
export async function bodyOf<S extends z.ZodType>(context: Context<Guarded>, schema: S): Promise<z.infer<S>> {
  const body = await bodies.read(context.req.raw);
  if (typeof body === "string") {
    throw new AskedWrongly(body === "too long" ? 413 : body === "busy" ? 503 : 408, `The body is ${body}`);
  }
  // No store can keep it in a name.
  if (body.text.includes("\\u0000")) throw new AskedWrongly(400, "The body contains U+0000");
  let given: unknown;
  try {
    given = body.text === "" ? {} : JSON.parse(body.text);
  } catch {
    throw new AskedWrongly(400, "The body is not JSON");
  }
  return checked(schema, given);
}

/**
 * Reads and checks the query of a request.
 *
 * @throws {AskedWrongly} If it is not what is expected.
 */
export function queryOf<S extends z.ZodType>(context: Context<Guarded>, schema: S): z.infer<S> {
  return checked(schema, Object.fromEntries(new URL(context.req.url).searchParams));
}

function checked<S extends z.ZodType>(schema: S, given: unknown): z.infer<S> {
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  throw new AskedWrongly(400, [path.join("."), message].filter((part) => part !== "").join(": "));
}

/** How many of a list are returned. */
export const limit = (most: number, usual: number) => z.coerce.number().int().min(1).max(most).default(usual);

/** A position of the log. */
export const position = z.coerce.number().int().min(0).optional();

/** The id of a dead letter. */
export const letterId = z.string().regex(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i, {
  error: "expected the id of a dead letter",
});

/** The highest version of a stream that stores count. */
const MOST_VERSIONS = 2 ** 31 - 1;

/** A version of a stream. */
export const version = z.coerce.number().int().min(0).max(MOST_VERSIONS).optional();

/** JSON, in which what is infinite is not known. */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_key, part) => part instanceof Map ? Object.fromEntries(part) : part);
}

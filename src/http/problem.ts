import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { ModuleLoadError, WorkerEndedError } from "../isolation/errors.ts";
import { recoveryOf } from "../lib/annals_error.ts";

/** Which answers that say what is wrong can be of this type. */
export type ProblemStatus = ContentfulStatusCode;

/**
 * An answer that says what is wrong, for programs and people (RFC 9457).
 *
 * @param context The request's.
 * @param status The status.
 * @param title What is wrong, and what to do.
 * @param more More fields.
 */
export function problem(
  context: Context<any>,
  status: ProblemStatus,
  title: string,
  more: Readonly<Record<string, unknown>> = {},
): Response {
  return context.json({ title, status, ...more }, status, { "content-type": "application/problem+json" });
}

/** Whether an error may be over soon: a service is away, or the domain's code has ended. */
export function isPassing(error: unknown): boolean {
  return isOfWorker(error) || recoveryOf(error) !== "none";
}

/** Whether the domain's code did not answer. */
export function isOfWorker(error: unknown): boolean {
  return error instanceof WorkerEndedError || error instanceof ModuleLoadError;
}

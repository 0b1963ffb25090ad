import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

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

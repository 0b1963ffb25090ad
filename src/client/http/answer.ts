import { adviceOnCertificate } from "../../lib/tls.ts";
import type { Recovery } from "../../lib/annals_error.ts";
import { HttpError } from "./errors.ts";

/** An answer in JSON. */
export interface HttpAnswer {
  /** Its status. */
  readonly status: number;
  /** What it says; anything. */
  readonly body: unknown;
  /** How long it asks to wait, in milliseconds; `null` if it does not. */
  readonly retryAfter: number | null;
}

/** What `Retry-After` says: seconds, or a date. */
function retryAfterOf(headers: Headers): number | null {
  const text = headers.get("retry-after") ?? "";
  const wait = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isNaN(wait) ? null : Math.max(0, wait);
}

/** Answers of servers and proxies that may be others a moment later, and whether the request was surely not dealt with. */
const PASSING: ReadonlyMap<number, Recovery> = new Map([
  [408, "wait"],
  [429, "wait"],
  [502, "unsure"],
  [503, "unsure"],
  [504, "unsure"],
]);

/** A field of an answer; `undefined` if there is none. */
export function fieldOf(body: unknown, name: string): unknown {
  if (typeof body !== "object" || body === null || !Object.hasOwn(body, name)) return undefined;
  return (body as Record<string, unknown>)[name];
}

/** What an answer says is wrong, as a line of text. */
export function titleOf({ status, body }: Pick<HttpAnswer, "status" | "body">): string {
  const title = fieldOf(body, "title");
  // Whatever is in it may end in a log.
  return typeof title === "string" ? title.replaceAll(/[\p{Cc}\p{Cf}]/gu, " ").slice(0, 2_000) : `status ${status}`;
}

/** Whether it may be another answer a moment later; not so of one that has waited already. */
export function isPassing({ status, body }: HttpAnswer): boolean {
  return PASSING.has(status) && fieldOf(body, "behind") === undefined;
}

/** The error for an answer that is none to what was asked. */
export function refused(answer: HttpAnswer, where: string): HttpError {
  const { status, retryAfter } = answer;
  return new HttpError(`${where} answers: ${titleOf(answer)}`, status, PASSING.get(status) ?? "none", retryAfter);
}

/**
 * Reads an answer.
 *
 * @param response The response.
 * @param where The server, for messages.
 * @param longest The most bytes that are read.
 * @throws {HttpError} If it is longer, or no JSON.
 */
export async function readAnswer(response: Response, where: string, longest: number): Promise<HttpAnswer> {
  const { status } = response;
  const type = response.headers.get("content-type")?.split(";")[0].trim().toLowerCase() ?? "nothing";
  const retryAfter = retryAfterOf(response.headers);
  const fail = (what: string) => new HttpError(`${where} ${what}`, status, PASSING.get(status) ?? "none", retryAfter);
  if (!/^application\/([\w.-]+\+)?json$/.test(type)) {
    await response.body?.cancel();
    throw fail(
      `answers with status ${status} and ${type.slice(0, 100)} instead of JSON; is the URL that of the server?`,
    );
  }
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > longest) throw fail(`answers with more than ${longest} bytes; ask for less, or raise longestAnswer`);
    parts.push(part);
  }
  try {
    return { status, body: JSON.parse(await new Blob(parts as BlobPart[]).text()), retryAfter };
  } catch {
    throw fail("answers with what is said to be JSON, and is not");
  }
}

/** Nothing was sent where nobody listens: for sure, the request was not dealt with. */
const REFUSED =
  /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ConnectionRefused|Connection refused|dns error/i;

/** What answered to https:// does not speak TLS, as rustls, OpenSSL and BoringSSL say it. */
const PLAIN = /InvalidContentType|WRONG_VERSION_NUMBER|wrong version number|packet length too long|ERR_SSL_PACKET/i;

/** A certificate that is refused, for whatever reason. */
const CERTIFICATE = /invalid peer certificate: ([^\n]{1,100})|CERTIFICATE_VERIFY_FAILED|ERR_TLS_CERT/i;

/** What Deno, Node and Bun say about an error, and what has caused it. */
function* causesOf(error: unknown): Generator<string> {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    yield `${(at as { code?: unknown }).code ?? ""} ${at.message}`.trim();
    // One for each address of the host.
    if (at instanceof AggregateError) { for (const one of at.errors) yield* causesOf(one); }
  }
}

/**
 * The error for a request that got no answer.
 *
 * @param error What was thrown.
 * @param where The server.
 * @param late How long was waited, in milliseconds; `null` if that was not it.
 */
export function unreached(error: unknown, where: string, late: number | null): HttpError {
  if (late !== null) return new HttpError(`${where} did not answer within ${late / 1000} s`, null, "unsure");
  const causes = [...causesOf(error)];
  const advice = causes.map((text) => adviceOnCertificate(new Error(text))).find((text) => text !== null);
  if (advice) return new HttpError(`Cannot connect to ${where}: ${advice}`, null);
  const refusal = causes.map((text) => CERTIFICATE.exec(text)).find((found) => found !== null);
  if (refusal) {
    const why = refusal[1] === undefined ? "" : ` (${refusal[1]})`;
    return new HttpError(
      `Cannot connect to ${where}: its certificate is not accepted${why}; have it signed by a CA, and set DENO_CERT (NODE_EXTRA_CA_CERTS) to the file of a CA of your own`,
      null,
    );
  }
  if (causes.some((text) => PLAIN.test(text))) {
    return new HttpError(
      `Cannot connect to ${where}: what answers there does not speak TLS; use http:// or the address of the proxy that does`,
      null,
    );
  }
  if (causes.some((text) => REFUSED.test(text))) {
    return new HttpError(
      `Cannot connect to ${where}: nobody answers there; start the server, or correct the URL`,
      null,
      "wait",
    );
  }
  return new HttpError(
    `The connection to ${where} was lost (${(causes.at(-1) ?? String(error)).slice(0, 200)})`,
    null,
    "unsure",
  );
}

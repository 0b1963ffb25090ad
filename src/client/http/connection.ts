import { AnnalsError, recoveryOf } from "../../lib/annals_error.ts";
import { REAL_CLOCK } from "../../lib/clock.ts";
import { withoutSecrets } from "../../lib/redact_url.ts";
import { type Backoff, retry } from "../../lib/retry.ts";
import { DomainDefinitionError } from "../../messages/errors.ts";
import { type HttpAnswer, isPassing, readAnswer, refused, unreached } from "./answer.ts";
import { HttpError } from "./errors.ts";

/** Where a server is, and how patient to be with it. */
export interface HttpOptions {
  /** Where the server answers, like `https://bank.example.com:8440`; with a path if a proxy has put it below one. */
  readonly url: string | URL;
  /** The `token` of its `[server.http]`. @default {none: for one that a proxy adds} */
  readonly token?: string | undefined;
  /** How long an answer may take, in milliseconds, besides what it was asked to wait for. @default {10_000} */
  readonly answerTimeout?: number;
  /** How long to try again while the server cannot be reached, in milliseconds. @default {30_000} */
  readonly patience?: number;
  /** The longest answer, in bytes. @default {64 MiB} */
  readonly longestAnswer?: number;
  /** Sends requests, like one that trusts a certificate authority of your own. @default {fetch} */
  readonly fetch?: typeof fetch;
}

/** What is asked. */
export interface HttpRequest {
  /** The method. @default {"GET"} */
  readonly method?: "GET" | "POST";
  /** The path below the server's URL, with the query. */
  readonly path: string;
  /** Headers besides those of every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The body, as JSON. */
  readonly body?: string;
  /** How long the server is to wait before it answers, in milliseconds. */
  readonly wait?: number;
  /** Whether asking twice is the same as asking once. @default {true} */
  readonly isRepeatable?: boolean;
}

/** The delays between attempts, in milliseconds. */
const BACKOFF: Backoff = { first: 50, longest: 2_000 };

function checkedUrl(given: string | URL): URL {
  const shown = withoutSecrets(String(given));
  if (!URL.canParse(String(given))) {
    throw new DomainDefinitionError(`Cannot connect to "${shown}": it is no URL, like http://localhost:8440`);
  }
  const url = new URL(String(given));
  if (!/^https?:$/.test(url.protocol)) {
    throw new DomainDefinitionError(
      `Cannot connect to "${shown}": expected a URL that begins with http:// or https://`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new DomainDefinitionError(`Cannot connect to "${shown}": pass what is secret as token, outside of the URL`);
  }
  return url;
}

function checkedToken(token: string | undefined): string | undefined {
  if (token === undefined || (typeof token === "string" && /^[\x21-\x7e]+$/.test(token))) return token;
  throw new DomainDefinitionError(
    "Cannot connect: the token has to be text of visible ASCII characters, without spaces",
  );
}

/** Asks a server: tries again what may pass, and takes no answer for granted. */
export class HttpConnection {
  /** Where the server is, for messages. */
  readonly where: string;
  /** The longest answer or event, in bytes. */
  readonly longest: number;
  #token: string | undefined;
  #answerTimeout: number;
  #patience: number;
  #fetch: typeof fetch;

  /**
   * @param options Where the server is.
   * @throws {DomainDefinitionError} If that cannot be.
   */
  constructor(options: HttpOptions) {
    const { url, token, answerTimeout = 10_000, patience = 30_000, longestAnswer = 64 << 20 } = options;
    const { origin, pathname } = checkedUrl(url);
    this.where = origin + pathname.replace(/\/+$/, "");
    this.#token = checkedToken(token);
    this.#answerTimeout = answerTimeout;
    this.#patience = patience;
    this.longest = longestAnswer;
    const { fetch: given } = options;
    this.#fetch = given ?? ((...request) => fetch(...request));
  }

  /**
   * Sends a request, and again while that may help.
   *
   * @param request The request.
   * @returns The answer, whatever its status: one of Annals, in JSON.
   * @throws {HttpError} If there is none.
   */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    return await this.#persist(request, async () => {
      const end = new AbortController();
      const longest = this.#answerTimeout + (request.wait ?? 0);
      const timer = setTimeout(() => end.abort(), longest);
      try {
        const answer = await this.#read(await this.#ask(request, end.signal));
        if (isPassing(answer)) throw refused(answer, this.where);
        return answer;
      } catch (error) {
        throw explained(error, this.where, end.signal.aborted ? longest : null);
      } finally {
        clearTimeout(timer);
      }
    });
  }

  /**
   * Opens a stream of server-sent events.
   *
   * @param request The request.
   * @param signal Ends it.
   * @returns Its body.
   * @throws {HttpError} If the server has none.
   */
  async stream(request: HttpRequest, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    return await this.#persist(request, async () => {
      const end = new AbortController();
      const timer = setTimeout(() => end.abort(), this.#answerTimeout);
      try {
        const response = await this.#ask(request, AbortSignal.any([signal, end.signal]));
        const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
        if (response.ok && isStream && response.body) return response.body;
        throw refused(await this.#read(response), this.where);
      } catch (error) {
        throw explained(error, this.where, end.signal.aborted ? this.#answerTimeout : null);
      } finally {
        clearTimeout(timer);
      }
    }, signal);
  }

  async #persist<T>(request: HttpRequest, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const until = REAL_CLOCK.elapsed() + this.#patience;
    const { isRepeatable = true } = request;
    let notBefore = 0;
    const patiently = async (): Promise<T> => {
      const early = notBefore - REAL_CLOCK.elapsed();
      if (early > 0) await REAL_CLOCK.sleep(early, signal);
      return await work();
    };
    return await retry(patiently, {
      clock: REAL_CLOCK,
      backoff: BACKOFF,
      ...(signal && { signal }),
      when: (error) => {
        const recovery = recoveryOf(error);
        const now = REAL_CLOCK.elapsed();
        notBefore = now + (error instanceof HttpError ? error.retryAfter ?? 0 : 0);
        // What is asked to wait for longer than it may is told at once.
        return (recovery === "wait" || (recovery === "unsure" && isRepeatable)) && Math.max(now, notBefore) <= until;
      },
    });
  }

  /** Sends a request once. */
  async #ask(
    { method = "GET", path, headers, body, wait }: HttpRequest,
    signal: AbortSignal,
  ): Promise<Response> {
    const response = await this.#fetch(this.where + path, {
      method,
      headers: {
        accept: "application/json, application/problem+json",
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(wait !== undefined && { prefer: `wait=${Math.ceil(wait) / 1000}` }),
        ...headers,
        ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
      },
      ...(body !== undefined && { body }),
      // A token is for the server that was named.
      redirect: "manual",
      signal,
    });
    const isRedirect = response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400);
    if (isRedirect) {
      await response.body?.cancel();
      const to = response.headers.get("location");
      throw new HttpError(
        `${this.where} redirects${
          to === null ? "" : ` to ${withoutSecrets(to).slice(0, 200)}`
        }; use the URL of the server itself`,
        response.status,
      );
    }
    return response;
  }

  #read(response: Response): Promise<HttpAnswer> {
    return readAnswer(response, this.where, this.longest);
  }
}

/** An error of this package for whatever went wrong on the way. */
function explained(error: unknown, where: string, late: number | null): unknown {
  return error instanceof AnnalsError ? error : unreached(error, where, late);
}

import { createParser } from "eventsource-parser";
import type { Domain } from "../../domain/model.ts";
import { recoveryOf } from "../../lib/annals_error.ts";
import { pauseBefore } from "../../lib/retry.ts";
import { sleep } from "../../lib/sleep.ts";
import { DomainDefinitionError } from "../../messages/errors.ts";
import type { EventsOptions, LiveEvent } from "../live.ts";
import type { HttpConnection } from "./connection.ts";
import { HttpError } from "./errors.ts";
import { checkToken } from "./request.ts";
import { readEvent } from "./shapes.ts";

/** Which events to read: as a client of the store says it. */
export type HttpEventsOptions = Pick<EventsOptions, "after" | "types" | "signal">;

/** A server says every 15 seconds that it is there: one that is silent for so long is not, in milliseconds. */
const SILENCE = 60_000;

/** The delays between connections that end at once, in milliseconds. */
const BACKOFF = { first: 50, longest: 2_000 };

/** Thrown by what is read when the server is gone. */
class Lost extends Error {}

/**
 * Follows events, over as many connections as it takes.
 *
 * @param connection The server.
 * @param domain The domain.
 * @param options Where to begin, and which events.
 * @param silence How long nothing may come before the connection is taken for lost, in milliseconds.
 */
export async function* followHttpEvents(
  connection: HttpConnection,
  domain: Domain,
  { after = "now", types, signal = new AbortController().signal }: Omit<HttpEventsOptions, "after"> & {
    readonly after?: string;
  },
  silence: number = SILENCE,
): AsyncGenerator<LiveEvent, void, undefined> {
  if (types !== undefined && !(Array.isArray(types) && types.every((type) => typeof type === "string"))) {
    throw new DomainDefinitionError('Cannot follow events: types is a list of names, like ["Deposited"]');
  }
  if (after !== "now" && after !== "start") checkToken(after);
  const place = { last: after };
  for (let tries = 0; !signal.aborted;) {
    const query = new URLSearchParams({ after: place.last, ...(types && { types: types.join(",") }) });
    try {
      const stream = await open(connection, query, signal);
      for await (const event of eventsIn(stream, connection, domain, place, silence, signal)) {
        tries = 0;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Lost)) throw error;
      if (place.last === "now") {
        throw new HttpError(
          `The connection to ${connection.where} was lost before any event had come, so there is no telling where to go on; begin with the token of what was read last, or "start"`,
          null,
        );
      }
      await sleep(pauseBefore(++tries, BACKOFF, Math.random()), signal);
    }
  }
}

async function open(
  connection: HttpConnection,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const headers = { accept: "text/event-stream, application/problem+json" };
  try {
    return await connection.stream({ path: `/events?${query}`, headers }, signal);
  } catch (error) {
    if (error instanceof HttpError && error.status === 400) throw new DomainDefinitionError(error.message);
    throw error;
  }
}

/** The events of one connection; notes where to go on. */
async function* eventsIn(
  stream: ReadableStream<Uint8Array>,
  { where, longest }: HttpConnection,
  domain: Domain,
  place: { last: string },
  silence: number,
  signal: AbortSignal,
): AsyncGenerator<LiveEvent, void, undefined> {
  const found: { readonly data: string; readonly token: string | undefined }[] = [];
  let isTooLong = false;
  const parser = createParser({
    onEvent: ({ data, id }) => void found.push({ data, token: id }),
    // Also without an event: where to go on when none has come yet.
    onId: (id) => void (found.length === 0 && isToken(id) && (place.last = id)),
    // A field that is not known is no error; without a bound, a line that never ends would fill the memory.
    onError: ({ type }) => void (isTooLong ||= type === "max-buffer-size-exceeded"),
    maxBufferSize: longest,
  });
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  try {
    while (!signal.aborted) {
      parser.feed(decoder.decode(await next(reader, silence), { stream: true }));
      if (isTooLong) {
        throw new HttpError(`${where} sends an event of more than ${longest} characters; raise longestAnswer`, 200);
      }
      for (const { data, token } of found.splice(0)) {
        if (signal.aborted) return;
        if (token === undefined || !isToken(token)) {
          throw new HttpError(`${where} sends an event without its token`, 200);
        }
        const event = readEvent(domain, data, where);
        place.last = token;
        yield { event, token };
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function isToken(id: string): boolean {
  try {
    checkToken(id);
    return true;
  } catch {
    return false;
  }
}

/** What comes next; fails when nothing does. */
async function next(reader: ReadableStreamDefaultReader<Uint8Array>, silence: number): Promise<Uint8Array> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silent = new Promise<never>((_, reject) => timer = setTimeout(() => reject(new Lost()), silence));
  try {
    const { done, value } = await Promise.race([reader.read(), silent]);
    if (done) throw new Lost();
    return value;
  } catch (error) {
    throw recoveryOf(error) === "none" ? new Lost() : error;
  } finally {
    clearTimeout(timer);
  }
}

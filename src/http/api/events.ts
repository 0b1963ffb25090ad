import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { lastOf } from "../../client/catching_up.ts";
import { encodeToken } from "../../client/token.ts";
import type { Waits } from "../../client/waits.ts";
import type { Inspector } from "../../isolation/inspector.ts";
import type { DomainDescription } from "../../isolation/protocol.ts";
import { messageOf } from "../../lib/annals_error.ts";
import { didYouMean } from "../../lib/did_you_mean.ts";
import { Semaphore } from "../../lib/semaphore.ts";
import { within } from "../../lib/within.ts";
import { isInternal, isOfCommands, type MessageRecord } from "../../messages/envelope.ts";
import { DomainDefinitionError } from "../../messages/errors.ts";
import { lookOrWait } from "../../store/changes.ts";
import { charactersOf } from "../../operating/streams.ts";
import { isLeftOut, LARGE } from "../../store/large.ts";
import type { EventStore } from "../../store/port.ts";
import type { Guarded } from "../guard.ts";
import { isPassing, problem } from "../problem.ts";

/** How long to wait for a command that a token stands for, in milliseconds. */
const PATIENCE = 30_000;

/** How often a line is sent when there is nothing else, in milliseconds: proxies close silent connections. */
const ALIVE_INTERVAL = 15_000;

/** How many may follow at the same time. */
const MOST_FOLLOWERS = 1_000;

/**
 * How many of them read at the same time, and are sent something large, which they hold several times, in several forms.
 * Each holds a page of few characters until it is sent.
 */
const MOST_READING = 16;
const MOST_SENDING_LARGE = 3;
const PAGE = 100;
const MOST_CHARACTERS = 200_000;

/** How many bytes are sent at a time; how long one may take none of them, in milliseconds, and how many a millisecond at least. */
const SLICE = 64 << 10;
const STALL_PATIENCE = 10_000;
const LEAST_RATE = 128;

/** How long a wait for news takes at most, in milliseconds: a notification may be lost. */
const LONGEST_WAIT = 1_000;

/** Dependencies of {@linkcode eventRoutes}. */
export interface EventRoutesOptions {
  /** The store. */
  readonly store: EventStore;
  /** The domain. */
  readonly domain: DomainDescription;
  /** Upcasts payloads with the domain's code. */
  readonly inspector: Pick<Inspector, "decode">;
  /** Knows what tokens stand for. */
  readonly waits: Waits;
  /** Ends all streams. */
  readonly signal: AbortSignal;
  /** Hears of what went wrong inside. */
  readonly failed: (error: string) => void;
}

/** The names of the events of a domain, each with its category. */
export function eventsOf({ categories, parts }: DomainDescription): Map<string, string> {
  return new Map(
    Object.entries(categories)
      .filter(([category]) => !isOfCommands(category) && !isInternal(category) && !parts.includes(category))
      .flatMap(([category, types]) => types.map((type) => [type, category] as const)),
  );
}

/** `GET /events`: the events of the log as server-sent events. */
export function eventRoutes({ store, domain, inspector, waits, signal, failed }: EventRoutesOptions): Hono<Guarded> {
  const app = new Hono<Guarded>();
  const categoryOf = eventsOf(domain);
  const reading = new Semaphore(MOST_READING);
  const sendingLarge = new Semaphore(MOST_SENDING_LARGE);
  let followers = 0;

  app.get("/events", async (context) => {
    const query = new URL(context.req.url).searchParams;
    const types = query.get("types")?.split(",").filter((type) => type !== "");
    for (const type of types ?? []) {
      if (categoryOf.has(type)) continue;
      return problem(
        context,
        400,
        `Domain "${domain.name}" has no event "${type}"${didYouMean(type, [...categoryOf.keys()])}`,
      );
    }
    // Nobody reads what follows.
    if (context.req.method === "HEAD") return context.body(null, 200, { "content-type": "text/event-stream" });
    // A browser that lost its connection says up to where it has heard.
    const after = context.req.header("last-event-id") ?? query.get("after") ?? "now";
    let position: number;
    try {
      position = after === "start"
        ? 0
        : after === "now"
        ? await store.lastPosition()
        : lastOf(await waits.seenBy(after, PATIENCE));
    } catch (error) {
      if (!(error instanceof DomainDefinitionError)) throw error;
      return problem(
        context,
        400,
        'after is not "start", "now", the id of an event, or the token of a command of this log',
      );
    }
    const [log, wanted] = [await waits.logId(), types && new Set(types)];
    if (followers >= MOST_FOLLOWERS) {
      context.header("retry-after", "5");
      return problem(context, 503, `${MOST_FOLLOWERS} follow already`);
    }
    followers++;
    // Proxies that buffer would hold events back.
    context.header("x-accel-buffering", "no");
    return streamSSE(context, async (stream) => {
      const left = new AbortController();
      stream.onAbort(() => left.abort());
      const ended = AbortSignal.any([signal, left.signal]);
      let isSending = false;
      // Within an event, it would end it.
      const alive = setInterval(() => {
        if (!isSending) void stream.write(": alive\n\n").catch(() => {});
      }, ALIVE_INTERVAL);
      /** Sends a text; whoever takes none of it for long, or little, is cut off. */
      const send = async (text: string): Promise<void> => {
        const bytes = new TextEncoder().encode(text);
        const until = performance.now() + STALL_PATIENCE + bytes.length / LEAST_RATE;
        isSending = true;
        for (let from = 0; from < bytes.length && !ended.aborted; from += SLICE) {
          const taken = stream.write(bytes.subarray(from, from + SLICE)).then(() => true);
          const patience = Math.min(STALL_PATIENCE, until - performance.now());
          if (await within(Math.max(0, patience), taken) === undefined) left.abort();
        }
        // What was cut off stays without an end, so that it is not taken for an event.
        isSending = ended.aborted;
      };
      /** Writes events, with what the domain's code makes of them. */
      const textOf = async (records: readonly MessageRecord[]): Promise<string> => {
        const payloads = await inspector.decode(records);
        return records.map(({ data: _, metadata, ...event }, i) => {
          const data = JSON.stringify({
            ...event,
            time: new Date(event.time).toISOString(),
            ...payloads[i],
            metadata: metadata === null ? {} : JSON.parse(metadata),
          });
          return `id: ${encodeToken({ log, position: event.position })}\nevent: ${event.type}\ndata: ${data}\n\n`;
        }).join("");
      };
      let place = position;
      /** Reads what came since, as far as it is little, and up to a large one; `null` if nothing came. */
      const readNext = async (): Promise<{ readonly text: string; readonly large: number | undefined } | null> => {
        const page = await store.readLog({ after: place, limit: PAGE, largest: LARGE });
        if (page.length === 0) return null;
        const found = page.filter(({ type, category }) =>
          categoryOf.get(type) === category && wanted?.has(type) !== false
        );
        let characters = 0;
        const rest = found.findIndex((record, i) =>
          isLeftOut(record) || ((characters += charactersOf(record)) > MOST_CHARACTERS && i > 0)
        );
        const next = found[rest];
        place = next ? next.position - 1 : page[page.length - 1].position;
        const text = await textOf(next ? found.slice(0, rest) : found);
        return { text, large: next && isLeftOut(next) ? next.position : undefined };
      };
      const sendLarge = async (at: number): Promise<void> => {
        await send(await textOf(await store.readAt([at])));
        place = at;
      };
      try {
        // Whoever loses the connection before the first event goes on from here.
        await send(`id: ${position === 0 ? "start" : encodeToken({ log, position })}\n\n`);
        const look = async (): Promise<true | null> => {
          const next = await reading.run(readNext, ended);
          if (next === null) return null;
          await send(next.text);
          const { large } = next;
          if (large !== undefined && !ended.aborted) await sendingLarge.run(() => sendLarge(large), ended);
          return true;
        };
        while (!ended.aborted) await lookOrWait(store, look, { wait: LONGEST_WAIT, signal: ended, what: "messages" });
      } catch (error) {
        // Whoever follows asks again, and goes on where it was.
        if (!ended.aborted && !isPassing(error)) failed(`GET /events: ${messageOf(error)}`);
      } finally {
        clearInterval(alive);
        followers--;
      }
    });
  });
  return app;
}

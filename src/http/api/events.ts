import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { lastOf } from "../../client/catching_up.ts";
import type { Waits } from "../../client/waits.ts";
import type { Inspector } from "../../isolation/inspector.ts";
import type { DomainDescription } from "../../isolation/protocol.ts";
import { messageOf } from "../../lib/annals_error.ts";
import { didYouMean } from "../../lib/did_you_mean.ts";
import { isInternal, isOfCommands, type MessageRecord } from "../../messages/envelope.ts";
import { DomainDefinitionError } from "../../messages/errors.ts";
import type { EventStore } from "../../store/port.ts";
import type { Guarded } from "../guard.ts";
import { isPassing, problem } from "../problem.ts";
import { Follower, FollowerTurns } from "./follower.ts";

/** How long to wait for a command that a token stands for, in milliseconds. */
const PATIENCE = 30_000;

/** How many may follow at the same time. */
const MOST_FOLLOWERS = 1_000;

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
  const turns = new FollowerTurns();
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
      const isWanted = ({ type, category }: MessageRecord): boolean =>
        categoryOf.get(type) === category && wanted?.has(type) !== false;
      const follower = new Follower({ store, log, inspector, isWanted, turns, stream, signal });
      try {
        await follower.run(position);
      } catch (error) {
        // Whoever follows asks again, and goes on where it was.
        if (!follower.hasEnded && !isPassing(error)) failed(`GET /events: ${messageOf(error)}`);
      } finally {
        followers--;
      }
    });
  });
  return app;
}

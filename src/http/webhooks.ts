import { type Context, Hono } from "hono";
import { type Fate, type Intake, storedText } from "../exchange/intake.ts";
import { isSigned } from "../exchange/signature.ts";
import { CLOUD_EVENT } from "../exchange/webhook_courier.ts";
import { messageOf } from "../lib/annals_error.ts";
import { within } from "../lib/within.ts";
import { type CloudEvent, readCloudEvents } from "../messages/cloud_event.ts";
import { isLonger } from "../messages/json.ts";
import { BodyReader } from "./body_reader.ts";

/** The media type of a list of CloudEvents in JSON. */
const BATCH = "application/cloudevents-batch+json";

/** Most events in one request: each is stored for itself. */
const MOST_EVENTS = 1_000;

/** How long storing may take, in milliseconds: senders do not wait for long, and send again. */
const STORE_PATIENCE = 10_000;

/** What a signed request has. */
const HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/** A subscriber that takes webhooks. */
export interface WebhookSubscriber {
  /** Stores what comes. */
  readonly intake: Intake;
  /** The secrets that a sender may sign with, like `whsec_…`. */
  readonly secrets: readonly string[];
}

/** Settings of {@linkcode webhooks}. */
export interface WebhooksOptions {
  /** The subscribers, by name. */
  readonly subscribers: ReadonlyMap<string, WebhookSubscriber>;
  /** The longest body, in bytes. */
  readonly longest: number;
  /** Hears of what could not be stored, with the subscriber's name. */
  readonly failed: (subscriber: string, error: string) => void;
  /** Hears of a request whose signature was wrong. */
  readonly unsigned: (subscriber: string) => void;
}

/** An answer that says what is wrong (RFC 9457). */
function problem(
  context: Context,
  status: 400 | 401 | 404 | 405 | 408 | 413 | 415 | 503,
  title: string,
): Response {
  return context.json({ title, status }, status, { "content-type": "application/problem+json" });
}

/** Reads the events of a body; a text says what is wrong with it. */
function eventsOf(body: string): { readonly event: CloudEvent }[] | string {
  const events: { readonly event: CloudEvent }[] = [];
  try {
    for (const one of readCloudEvents(body)) {
      if (!("event" in one)) return `No CloudEvent: ${one.fault}; nothing was stored`;
      events.push(one);
    }
  } catch {
    return "The body is not JSON";
  }
  return events.length <= MOST_EVENTS
    ? events
    : `${events.length} events are more than ${MOST_EVENTS}; nothing was stored: send them in several requests`;
}

/**
 * Takes CloudEvents by `POST /subscribers/NAME`, signed as Standard Webhooks says. The signature is over id, time and body,
 * so only events with all their attributes in the body are taken: structured and batch mode, not binary mode. The answer is
 * 202 once all of them are stored.
 *
 * @param options Who takes them.
 */
export function webhooks({ subscribers, longest, failed, unsigned }: WebhooksOptions): Hono {
  const app = new Hono();
  const bodies = new BodyReader(longest);
  const wrong = (context: Context) =>
    problem(
      context,
      401,
      "The signature is missing, wrong, or more than five minutes old; sign as https://www.standardwebhooks.com says",
    );
  const tooLong = (context: Context) =>
    problem(context, 413, `The body, or an event in it, is longer than max_message_bytes = ${longest}`);
  app.post("/subscribers/:name", async (context) => {
    const name = context.req.param("name");
    const subscriber = subscribers.get(name);
    if (!subscriber) return problem(context, 404, "No subscriber of that name takes webhooks here");
    // Before anything is read.
    if (!HEADERS.every((header) => context.req.header(header))) return wrong(context);
    const mediaType = (context.req.header("content-type") ?? "").split(";")[0].trim().toLowerCase();
    if (mediaType !== CLOUD_EVENT && mediaType !== BATCH) {
      return problem(context, 415, `Expected the content type ${CLOUD_EVENT} or ${BATCH}`);
    }
    const body = await bodies.read(context.req.raw);
    if (body === "too long") return tooLong(context);
    if (body === "no text") return problem(context, 400, "The body is not UTF-8");
    if (body === "too slow") return problem(context, 408, "The body did not come in time");
    if (body === "busy") {
      context.header("retry-after", "1");
      return problem(context, 503, "Too much is being received; send it again");
    }
    if (!isSigned(subscriber.secrets, context.req.raw.headers, body.text)) {
      unsigned(name);
      return wrong(context);
    }
    const events = eventsOf(body.text);
    if (typeof events === "string") return problem(context, 400, events);
    // As it is stored, it may be a little longer.
    if (events.some(({ event }) => isLonger(storedText(event), longest))) return tooLong(context);
    let fates: Fate[] | undefined;
    try {
      fates = await within(STORE_PATIENCE, subscriber.intake.take(events));
      if (fates === undefined) throw new Error(`It was not stored within ${STORE_PATIENCE / 1000} s`);
    } catch (error) {
      // What is wrong inside is nobody's business outside.
      failed(name, messageOf(error));
      context.header("retry-after", "1");
      return problem(context, 503, "It could not be stored now; send it again");
    }
    const count = (fate: Fate) => fates.filter((one) => one === fate).length;
    return context.json({ stored: count("stored"), repeated: count("repeated"), passed: count("other type") }, 202);
  });
  app.all("/subscribers/:name", (context) => {
    context.header("allow", "POST");
    return problem(context, 405, "Events are taken by POST");
  });
  app.notFound((context) => problem(context, 404, "There is nothing here"));
  // Most often, whoever sent it has hung up.
  app.onError((_error, context) => problem(context, 503, "The request could not be read; send it again"));
  return app;
}

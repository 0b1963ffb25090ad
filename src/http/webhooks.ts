import { type Context, Hono } from "hono";
import { Webhook } from "standardwebhooks";
import type { Arrived, Fate, Intake } from "../exchange/intake.ts";
import { CLOUD_EVENT } from "../exchange/webhook_courier.ts";
import { messageOf, recoveryOf } from "../lib/annals_error.ts";
import { readCloudEvents } from "../messages/cloud_event.ts";

/** The media type of a list of CloudEvents in JSON. */
const BATCH = "application/cloudevents-batch+json";

/** A subscriber that takes webhooks. */
export interface WebhookSubscriber {
  /** Stores what comes. */
  readonly intake: Intake;
  /** The secrets that a sender may sign with, like `whsec_…`. */
  readonly secrets: readonly string[];
}

/** Whether a body was signed with one of the secrets, within five minutes of now. */
function isSigned(body: string, request: Request, secrets: readonly string[]): boolean {
  const headers = Object.fromEntries(request.headers);
  return secrets.some((secret) => {
    try {
      new Webhook(secret).verify(body, headers);
      return true;
    } catch (error) {
      // It parses what is signed.
      return error instanceof SyntaxError;
    }
  });
}

/** Reads a body as text; `null` if it is longer than allowed. */
async function textOf({ body, headers }: Request, longest: number): Promise<string | null> {
  if (Number(headers.get("content-length") ?? 0) > longest) return null;
  const decoder = new TextDecoder();
  let [text, bytes] = ["", 0];
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > longest) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** An answer that says what is wrong (RFC 9457). */
function problem(context: Context, status: 400 | 401 | 404 | 413 | 415 | 500 | 503, title: string): Response {
  return context.json({ title, status }, status, { "content-type": "application/problem+json" });
}

/**
 * Takes CloudEvents by `POST /subscribers/NAME`, signed as Standard Webhooks says. The signature is over id, time and body,
 * so only events with all their attributes in the body are taken: structured and batch mode, not binary mode. The answer is
 * 202 once all of them are stored.
 *
 * @param subscribers The subscribers, by name.
 * @param longest The longest body, in bytes.
 * @param failed Hears of what could not be stored, with the subscriber's name.
 */
export function webhooks(
  subscribers: ReadonlyMap<string, WebhookSubscriber>,
  longest: number,
  failed: (subscriber: string, error: string) => void,
): Hono {
  const app = new Hono();
  app.post("/subscribers/:name", async (context) => {
    const name = context.req.param("name");
    const subscriber = subscribers.get(name);
    if (!subscriber) return problem(context, 404, "No subscriber of that name takes webhooks here");
    const body = await textOf(context.req.raw, longest);
    if (body === null) return problem(context, 413, `The body is longer than max_message_bytes = ${longest}`);
    if (!isSigned(body, context.req.raw, subscriber.secrets)) {
      return problem(
        context,
        401,
        "The signature is missing, wrong, or more than five minutes old; sign as https://www.standardwebhooks.com says",
      );
    }
    const mediaType = (context.req.header("content-type") ?? "").split(";")[0].trim().toLowerCase();
    if (mediaType !== CLOUD_EVENT && mediaType !== BATCH) {
      return problem(context, 415, `Expected the content type ${CLOUD_EVENT} or ${BATCH}`);
    }
    const events: Arrived[] = [];
    try {
      for (const one of readCloudEvents(body)) {
        if ("fault" in one) return problem(context, 400, `No CloudEvent: ${one.fault}; nothing was stored`);
        events.push(one);
      }
    } catch {
      return problem(context, 400, "The body is not JSON");
    }
    let fates: Fate[];
    try {
      fates = await subscriber.intake.take(events);
    } catch (error) {
      // What is wrong inside is nobody's business outside.
      failed(name, messageOf(error));
      if (recoveryOf(error) === "none") return problem(context, 500, "It could not be stored; send it again");
      context.header("retry-after", "1");
      return problem(context, 503, "The event store is not available; send it again");
    }
    const count = (fate: Fate) => fates.filter((one) => one === fate).length;
    return context.json({ stored: count("stored"), repeated: count("repeated"), passed: count("other type") }, 202);
  });
  app.notFound((context) => problem(context, 404, "There is nothing here"));
  return app;
}

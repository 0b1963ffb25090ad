import { messageOf } from "../lib/annals_error.ts";
import { sign } from "./signature.ts";
import { withoutSecrets } from "../lib/redact_url.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { adviceOnCertificate } from "../lib/tls.ts";
import { within } from "../lib/within.ts";
import { storable } from "../messages/text.ts";
import type { Courier, Delivered, Delivery } from "./courier.ts";

/** How many requests are under way at a time, each for another stream. */
const MOST_AT_ONCE = 64;

/** How long a round waits for those that hang, in milliseconds. */
const PATIENCE = 1_000;

/** How much of an answer that is no success goes into the error, in bytes. */
const LONGEST_ANSWER = 300;

/** The media type of one CloudEvent in JSON. */
export const CLOUD_EVENT = "application/cloudevents+json";

/** Where a webhook is. */
export interface WebhookOptions {
  /** Its URL. */
  readonly url: string;
  /** The secrets that it may know, like `whsec_…`; each signs. */
  readonly secrets: readonly string[];
  /** How long a request may take, in milliseconds. */
  readonly timeout: number;
}

/** What one call of `deliver` has found so far. */
interface Round {
  readonly arrived: Set<number>;
  readonly failed: Map<number, string>;
  readonly signal: AbortSignal;
  /** Whether it has ended, and takes nothing any more. */
  isOver: boolean;
}

/** Reads the beginning of an answer, and lets go of the rest. */
async function beginning(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (!reader) return "";
  const { value } = await reader.read().catch(() => ({ value: undefined }));
  await reader.cancel().catch(() => {});
  return storable(new TextDecoder().decode(value?.slice(0, LONGEST_ANSWER)).trim(), LONGEST_ANSWER);
}

/**
 * Posts CloudEvents to a webhook, in structured mode, signed as Standard Webhooks says
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): the signature is over id,
 * time and body, so that all attributes have to be in the body.
 */
export class WebhookCourier implements Courier {
  readonly place: string;
  #options: WebhookOptions;
  #slots = new Semaphore(MOST_AT_ONCE);
  #requests = new Set<AbortController>();
  /** What is under way, or was when its round was over, by the event's id: positions may be those of others one day. */
  #posted = new Map<string, Promise<string | null>>();

  /** @param options The webhook. */
  constructor(options: WebhookOptions) {
    // As the runtime spells it in its errors.
    this.#options = { ...options, url: new URL(options.url).href };
    this.place = withoutSecrets(options.url);
  }

  async deliver(events: readonly Delivery[], signal: AbortSignal): Promise<Delivered> {
    const round: Round = { arrived: new Set(), failed: new Map(), isOver: false, signal };
    const streams = [...Map.groupBy(events, ({ stream }) => stream).values()];
    const done = Promise.all(streams.map((its) => this.#inOrder(its, round)));
    const over = new AbortController();
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { signal: over.signal });
    });
    // Others must not wait for one that hangs.
    await within(PATIENCE, Promise.race([stopped, done]));
    over.abort("done");
    round.isOver = true;
    return { arrived: round.arrived, failed: round.failed };
  }

  async #inOrder(events: readonly Delivery[], round: Round): Promise<void> {
    for (const event of events) {
      if (round.isOver || round.signal.aborted) return;
      const { position, id } = event;
      const posted = this.#posted.get(id) ??
        this.#slots.run(async () => round.signal.aborted ? "not begun" : await this.#post(event));
      this.#posted.set(id, posted);
      const error = await posted;
      // Then it is heard of when its event comes again, and not posted twice; unless that is elsewhere.
      if (round.isOver && !round.signal.aborted) return;
      if (this.#posted.get(id) === posted) this.#posted.delete(id);
      if (round.isOver) return;
      if (error === "not begun") return;
      if (error !== null) return void round.failed.set(position, error);
      round.arrived.add(position);
    }
  }

  /** Posts an event; returns why it did not arrive, or `null`. */
  async #post({ id, event }: Delivery): Promise<string | null> {
    const { url, secrets, timeout } = this.#options;
    const timestamp = Math.floor(Date.now() / 1000);
    const stop = new AbortController();
    const late = setTimeout(() => stop.abort(new DOMException("It took too long", "TimeoutError")), timeout);
    this.#requests.add(stop);
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": `${CLOUD_EVENT}; charset=utf-8`,
          "user-agent": "Annals",
          "webhook-id": id,
          "webhook-timestamp": String(timestamp),
          "webhook-signature": secrets.map((secret) => sign(secret, { id, timestamp, body: event })).join(" "),
        },
        body: event,
        // What is signed for one place is not sent to another.
        redirect: "manual",
        signal: stop.signal,
      });
      if (response.ok) {
        await response.body?.cancel();
        return null;
      }
      const said = await beginning(response);
      const location = response.headers.get("location");
      return `${this.place} answered ${response.status}${said === "" ? "" : `: ${said}`}${
        location === null ? "" : `; it moved to ${withoutSecrets(location)}: correct the url in [publishers]`
      }`;
    } catch (error) {
      if ((error as Error | null)?.name === "TimeoutError") {
        return `${this.place} did not answer within ${timeout / 1000} s`;
      }
      // What happened is in its cause; the runtime's text has the URL, secrets included.
      const cause = (error as Error | null)?.cause ?? error;
      const advice = adviceOnCertificate(cause);
      const text = messageOf(cause).replace(/ for url \(.*?\)/, "").replaceAll(url, this.place);
      return `Cannot reach ${this.place}: ${text}${advice === null ? "" : `; ${advice}`}`;
    } finally {
      clearTimeout(late);
      this.#requests.delete(stop);
    }
  }

  close(): void {
    for (const request of this.#requests) request.abort("closed");
  }
}

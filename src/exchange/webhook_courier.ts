import { Webhook } from "standardwebhooks";
import { messageOf } from "../lib/annals_error.ts";
import { withoutSecrets } from "../lib/redact_url.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { adviceOnCertificate } from "../lib/tls.ts";
import { storable } from "../messages/text.ts";
import type { Courier, Delivered, Delivery } from "./courier.ts";

/** How many requests are under way at a time, each for another stream. */
const MOST_AT_ONCE = 16;

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
  #signers: readonly Webhook[];
  #slots = new Semaphore(MOST_AT_ONCE);

  /** @param options The webhook. */
  constructor(options: WebhookOptions) {
    this.#options = options;
    this.place = withoutSecrets(options.url);
    this.#signers = options.secrets.map((secret) => new Webhook(secret));
  }

  async deliver(events: readonly Delivery[], signal: AbortSignal): Promise<Delivered> {
    const arrived = new Set<number>();
    const failed = new Map<number, string>();
    const streams = Map.groupBy(events, ({ stream }) => stream);
    await Promise.all([...streams.values()].map(async (its) => {
      for (const event of its) {
        const error = await this.#slots.run(async () => signal.aborted ? "" : await this.#post(event));
        if (error === "") return;
        if (error !== null) return void failed.set(event.position, error);
        arrived.add(event.position);
      }
    }));
    return { arrived, failed };
  }

  /** Posts an event; returns why it did not arrive, or `null`. */
  async #post({ id, event }: Delivery): Promise<string | null> {
    const { url, timeout } = this.#options;
    const now = new Date();
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": `${CLOUD_EVENT}; charset=utf-8`,
          "user-agent": "Annals",
          "webhook-id": id,
          "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
          "webhook-signature": this.#signers.map((signer) => signer.sign(id, now, event)).join(" "),
        },
        body: event,
        // What is signed for one place is not sent to another.
        redirect: "manual",
        signal: AbortSignal.timeout(timeout),
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
      const text = messageOf(cause).replaceAll(url, this.place);
      return `Cannot reach ${this.place}: ${text}${advice === null ? "" : `; ${advice}`}`;
    }
  }

  close(): void {}
}

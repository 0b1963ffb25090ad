import { freezeMessage } from "../domain/freeze.ts";
import type { Publisher } from "../domain/handlers.ts";
import type { CloudEvent } from "../messages/cloud_event.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { whatIs } from "../messages/names.ts";
import { checkLength, jsonFaults } from "../messages/json.ts";
import { type Delivery, type Effects, type HandlerBatch, isThenable, NO_EFFECTS, type Reading } from "./batch.ts";

/** What a publisher makes of an event. */
interface Made {
  readonly type?: unknown;
  readonly subject?: unknown;
  readonly data?: unknown;
}

/** Says what other systems are to hear of events; the engine delivers it. */
export class PublisherBatch implements HandlerBatch {
  #publisher: Publisher;
  #longest: number | undefined;
  #deliveries: Effects["deliveries"][number][] = [];
  #characters = 0;

  /**
   * Creates an empty batch.
   *
   * @param publisher The publisher.
   * @param reading What to read from.
   */
  constructor(publisher: Publisher, { longest }: Reading) {
    this.#publisher = publisher;
    this.#longest = longest;
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  handle({ message }: Delivery): void {
    const { name, source, as } = this.#publisher;
    const made: unknown = as[message.type](freezeMessage(message));
    if (made === null) return;
    if (isThenable(made)) {
      throw new DomainDefinitionError(`"as" of "${name}" returned a promise for "${message.type}"; return the event`);
    }
    const { type, subject = message.aggregateId, data } = Object(made) as Made;
    if (typeof type !== "string" || type === "" || data === undefined) {
      throw new DomainDefinitionError(
        `"as" of "${name}" returned ${
          whatIs(made)
        } for "${message.type}"; return { type: "…", data: … }, or null to keep the event inside`,
      );
    }
    if (typeof subject !== "string" || subject === "") {
      throw new DomainDefinitionError(`"as" of "${name}" returned the subject ${JSON.stringify(subject)}; use a text`);
    }
    const faults = jsonFaults({ type, subject, data });
    if (faults.length > 0) throw new PayloadError(type, faults);
    const event: CloudEvent = {
      specversion: "1.0",
      id: message.id,
      source,
      type,
      subject,
      time: message.time.toISOString(),
      datacontenttype: "application/json",
      data,
    };
    const text = JSON.stringify(event);
    checkLength(type, text, this.#longest);
    this.#characters += text.length;
    this.#deliveries.push({ position: message.position, event: text });
  }

  get characters(): number {
    return this.#characters;
  }

  effects(): Effects {
    return { ...NO_EFFECTS, deliveries: this.#deliveries };
  }

  settle(): void {}
}

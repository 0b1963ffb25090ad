import { deepFreeze, explainFrozen } from "../domain/freeze.ts";
import type { CommandDraft, Subscriber } from "../domain/handlers.ts";
import type { Domain } from "../domain/model.ts";
import type { CloudEvent, Received } from "../messages/cloud_event.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { whatIs } from "../messages/names.ts";
import { parsed, type Schema } from "../messages/schema.ts";
import { type Delivery, type Effects, type HandlerBatch, isThenable, NO_EFFECTS, type Reading } from "./batch.ts";
import { commandRoute } from "./command_route.ts";
import { HopelessInputError } from "./errors.ts";
import { UnitOfWork } from "./unit_of_work.ts";

/** Turns events of other systems into commands. */
export class SubscriberBatch implements HandlerBatch {
  #domain: Domain;
  #subscriber: Subscriber;
  #unit: UnitOfWork;

  /**
   * Creates an empty batch.
   *
   * @param domain The domain.
   * @param subscriber The subscriber.
   * @param reading What to read from.
   */
  constructor(domain: Domain, subscriber: Subscriber, reading: Reading) {
    this.#domain = domain;
    this.#subscriber = subscriber;
    this.#unit = new UnitOfWork(domain, reading);
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  handle({ message }: Delivery): void {
    this.#unit.begin(message);
    for (const command of this.#commands(message.payload as Received)) {
      this.#unit.queue(commandRoute(this.#domain, command), command.aggregateId, command);
    }
    this.#unit.keep();
  }

  #commands(received: Received): readonly CommandDraft[] {
    if (!("event" in received)) {
      throw new HopelessInputError(`It cannot be read as a CloudEvent: ${received.unreadable}`);
    }
    const { event } = received;
    const { name, schema, to } = this.#subscriber;
    const data = this.#data(event.type, schema, event.data);
    const made: unknown = this.#made(to, deepFreeze({ ...event, data }) as CloudEvent);
    if (made === undefined || made === null || isThenable(made)) {
      throw new DomainDefinitionError(
        `"to" of "${name}" returned ${
          isThenable(made) ? "a promise" : made
        } for "${event.type}"; return a command, several, or [] for none`,
      );
    }
    const commands = ([] as unknown[]).concat(made);
    const wrong = commands.find((one) => typeof one !== "object" && typeof one !== "function" || one === null);
    if (wrong !== undefined) {
      throw new DomainDefinitionError(`"to" of "${name}" returned ${whatIs(wrong)}, which is no command`);
    }
    return commands as CommandDraft[];
  }

  #made(to: Subscriber["to"], event: CloudEvent): unknown {
    try {
      return to(event);
    } catch (error) {
      throw explainFrozen(error, `"to" of "${this.#subscriber.name}"`, "return commands, and leave the event as it is");
    }
  }

  #data(type: string, schema: Schema, data: unknown): unknown {
    try {
      // It is not stored: it need not be JSON.
      return parsed(type, schema, data);
    } catch (error) {
      throw error instanceof PayloadError ? new HopelessInputError(error.message) : error;
    }
  }

  get characters(): number {
    return this.#unit.characters;
  }

  effects(): Effects {
    return { ...NO_EFFECTS, appends: this.#unit.appends() };
  }

  settle(): void {}
}

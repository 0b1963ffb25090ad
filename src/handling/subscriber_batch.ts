import { deepFreeze } from "../domain/freeze.ts";
import type { CommandDraft, Subscriber } from "../domain/handlers.ts";
import type { Domain } from "../domain/model.ts";
import type { CloudEvent, Received } from "../messages/cloud_event.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { whatIs } from "../messages/names.ts";
import { type Schema, validate } from "../messages/schema.ts";
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
    if ("unreadable" in received) {
      throw new HopelessInputError(`It cannot be read as a CloudEvent: ${received.unreadable}`);
    }
    const { name, schema, to } = this.#subscriber;
    const data = this.#data(received.type, schema, received.data);
    const made: unknown = to(deepFreeze({ ...received, data }) as CloudEvent);
    if (made === undefined || made === null || isThenable(made)) {
      throw new DomainDefinitionError(
        `"to" of "${name}" returned ${
          isThenable(made) ? "a promise" : made
        } for "${received.type}"; return a command, several, or [] for none`,
      );
    }
    const commands = ([] as unknown[]).concat(made);
    const wrong = commands.find((one) => typeof one !== "object" && typeof one !== "function" || one === null);
    if (wrong !== undefined) {
      throw new DomainDefinitionError(`"to" of "${name}" returned ${whatIs(wrong)}, which is no command`);
    }
    return commands as CommandDraft[];
  }

  #data(type: string, schema: Schema, data: unknown): unknown {
    try {
      return validate(type, schema, data);
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

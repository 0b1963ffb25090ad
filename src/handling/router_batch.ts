import { freezeMessage } from "../domain/freeze.ts";
import type { Domain } from "../domain/model.ts";
import type { Router } from "../domain/handlers.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { idFault } from "../messages/ids.ts";
import { EVENT, inboxCategory } from "../processes/names.ts";
import { type Delivery, type Effects, type HandlerBatch, NO_EFFECTS, type Reading } from "./batch.ts";
import { UnitOfWork } from "./unit_of_work.ts";

/** Puts a reference to each event into the inbox of every instance that it is for. */
export class RouterBatch implements HandlerBatch {
  #router: Router;
  #inbox: string;
  #unit: UnitOfWork;

  /**
   * Creates an empty batch.
   *
   * @param domain The domain.
   * @param router The router.
   * @param reading What to read from.
   */
  constructor(domain: Domain, router: Router, reading: Reading) {
    this.#router = router;
    this.#inbox = inboxCategory(domain.name, router.process);
    this.#unit = new UnitOfWork(domain, reading);
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  handle({ message }: Delivery): void {
    const { process, correlate } = this.#router;
    this.#unit.begin(message);
    const found = correlate[message.type](freezeMessage(message));
    const { position, type } = message;
    for (const id of new Set(found === null ? [] : ([] as unknown[]).concat(found))) {
      const fault = idFault(id);
      if (fault !== null) {
        throw new DomainDefinitionError(
          `"${process}" cannot tell which instance "${type}" is for: ${fault}; return an id, several, or null (missing return?)`,
        );
      }
      const draft = { kind: "event", type: EVENT.type, schemaVersion: 1, payload: { position, type } } as const;
      this.#unit.queue(this.#inbox, id as string, draft);
    }
    this.#unit.keep();
  }

  get characters(): number {
    return this.#unit.characters;
  }

  effects(): Effects {
    return { ...NO_EFFECTS, appends: this.#unit.appends() };
  }

  settle(): void {}
}

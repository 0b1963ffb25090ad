import type { Draft, Message } from "../messages/envelope.ts";
import type { Aggregate } from "../domain/aggregate.ts";
import type { Boundary } from "../domain/boundary.ts";
import type { CommandContext, Loaded } from "../domain/context.ts";
import { refusalOf } from "../domain/errors.ts";
import { explainFrozen } from "../domain/freeze.ts";
import type { CommandHandler } from "../domain/handlers.ts";
import type { Domain } from "../domain/model.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { senderOf } from "../messages/sender.ts";
import { storable } from "../messages/text.ts";
import { commandEnd } from "../processes/command_end.ts";
import { isInbox } from "../processes/names.ts";
import type { CommandOutcome } from "../store/port.ts";
import { type Delivery, type Effects, type HandlerBatch, isThenable, NO_EFFECTS, type Reading } from "./batch.ts";
import { type Decision, decisionOn } from "./decision.ts";
import { UnitOfWork } from "./unit_of_work.ts";

/** A pending append to another aggregate; records whether the handler awaits it. */
class Appending implements Promise<void> {
  readonly [Symbol.toStringTag] = "Promise";
  #work: Promise<void>;
  #awaited = false;

  constructor(work: Promise<void>) {
    this.#work = work;
    work.catch(() => {});
  }

  then<A = void, B = never>(
    done?: ((value: void) => A | PromiseLike<A>) | null,
    failed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#awaited = true;
    return this.#work.then(done, failed);
  }

  catch<B = never>(failed?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<void | B> {
    return this.then(undefined, failed);
  }

  finally(done?: (() => void) | null): Promise<void> {
    this.#awaited = true;
    return this.#work.finally(done);
  }

  /** Resolves when it has finished; throws its error unless the handler has received it. */
  async concluded(): Promise<void> {
    await this.#work.catch((error) => {
      if (!this.#awaited) throw error;
    });
  }
}

/** How much of a broken rule an outcome keeps, in characters, and how many names of events. */
const LONGEST_RULE = 10_000;
const MOST_NAMES = 1_000;

/** How many are loaded at a time: each may have many events. */
const LOADED_TOGETHER = 32;

/** Handles a batch of commands on one unit of work. */
export class CommandBatch implements HandlerBatch {
  #domain: Domain;
  #handler: CommandHandler;
  #unit: UnitOfWork;
  #on: Decision;
  #outcomes: CommandOutcome[] = [];

  /**
   * Creates an empty batch.
   *
   * @param domain The domain.
   * @param handler The command handler.
   * @param reading What to read from, and cached states of earlier batches.
   */
  constructor(domain: Domain, handler: CommandHandler, reading: Reading) {
    this.#domain = domain;
    this.#handler = handler;
    this.#unit = new UnitOfWork(domain, reading);
    this.#on = decisionOn(this.#unit, handler.target);
  }

  async prepare(messages: readonly Message[]): Promise<void> {
    const keys = new Set(messages.map((message) => this.#on.keyOf(message)));
    const room = new Semaphore(LOADED_TOGETHER);
    await Promise.all([...keys].map((key) => room.run(() => this.#on.load(key))));
    this.#unit.keep();
  }

  handle(delivery: Delivery): void | Promise<void> {
    this.#unit.begin(delivery.message);
    const key = this.#on.keyOf(delivery.message);
    try {
      const done = this.#on.has(key) ? this.#decide(delivery) : this.#on.load(key).then(() => this.#decide(delivery));
      if (isThenable(done)) {
        return Promise.resolve(done).then(
          () => this.#accept(delivery.message),
          (error) => this.#refuse(delivery.message, error),
        );
      }
      this.#accept(delivery.message);
    } catch (error) {
      this.#refuse(delivery.message, error);
    }
  }

  #decide(delivery: Delivery): void | Promise<void> {
    const { message } = delivery;
    const { handle } = this.#handler;
    const id = message.aggregateId;
    const reservations: [field: string, value: string, release: boolean][] = [];
    const appending: Appending[] = [];
    let open = true;
    const stillOpen = (): void => {
      if (!open) throw new Error(`The handling of command ${message.type} has ended; its context is closed`);
    };
    const { state, version } = this.#on.state(this.#on.keyOf(message));
    const context: CommandContext = {
      message,
      attempt: delivery.attempt,
      now: message.time,
      log: delivery.log,
      aggregateId: id,
      version,
      load: async (other: Aggregate | Boundary, key: unknown) => {
        stillOpen();
        const on = decisionOn(this.#unit, other);
        await on.load(key);
        return on.state(key) as Loaded<any>;
      },
      append: (other, otherId, events) => {
        stillOpen();
        const append = async () => {
          await this.#unit.load(other, otherId);
          // It would miss the append.
          stillOpen();
          this.#unit.append(other, otherId, ([] as Draft[]).concat(events));
        };
        const one = new Appending(append());
        appending.push(one);
        return one;
      },
      reserve: (field, value) => {
        stillOpen();
        reservations.push([field, value, false]);
      },
      release: (field, value) => {
        stillOpen();
        reservations.push([field, value, true]);
      },
    };
    const conclude = async (drafts: readonly Draft[]): Promise<void> => {
      // Include calls that were not awaited: everything is one append.
      for (const one of appending) await one.concluded();
      this.#on.append(message, drafts);
      for (const [field, value, release] of reservations) await this.#unit.reserve(field, value, id, release);
    };
    const fail = (error: unknown): never => {
      open = false;
      throw explainFrozen(
        error,
        `The handler of "${message.type}"`,
        "return events, and let evolve compute the new state",
      );
    };
    const finish = (decision: unknown): void | Promise<void> => {
      if (decision === undefined || decision === null) {
        fail(
          new DomainDefinitionError(
            `The handler of "${message.type}" returned ${decision}; return an event, several, or [] (missing return?)`,
          ),
        );
      }
      const drafts = ([] as Draft[]).concat(decision as Draft | Draft[]);
      if (reservations.length + appending.length > 0) return conclude(drafts).finally(() => open = false);
      open = false;
      this.#on.append(message, drafts);
    };
    try {
      const decision = handle[message.type](state, message, context);
      return isThenable(decision) ? Promise.resolve(decision).then(finish, fail) : finish(decision);
    } catch (error) {
      fail(error);
    }
  }

  #accept(command: Message): void {
    const detail = JSON.stringify({
      aggregateId: command.aggregateId,
      events: this.#unit.made.slice(0, MOST_NAMES),
    });
    this.#tell(command, "accepted", "");
    this.#unit.keep();
    this.#outcomes.push({ commandId: command.id, status: "accepted", detail });
  }

  #refuse(command: Message, error: unknown): void {
    this.#unit.drop();
    const refusal = refusalOf(error);
    if (!refusal) throw error;
    const { field, rule, message } = refusal;
    const cut = (text: string): string => storable(text, LONGEST_RULE);
    const detail = JSON.stringify({
      aggregateId: command.aggregateId,
      field: cut(field),
      rule: cut(rule),
      message: cut(message),
    });
    this.#tell(command, "refused", cut(message));
    this.#unit.keep();
    this.#outcomes.push({ commandId: command.id, status: "refused", detail });
  }

  /** Tells the instance of a process that has sent a command how it ended. */
  #tell(command: Message, status: "accepted" | "refused", rule: string): void {
    const told = commandEnd(command, senderOf(command.metadata), status, rule);
    // In the middle of a deploy, it may be an inbox that only newer code reads.
    if (told && isInbox(this.#domain.name, told.inbox)) this.#unit.queue(told.inbox, told.id, told.draft);
  }

  get characters(): number {
    return this.#unit.characters;
  }

  effects(): Effects {
    const unit = this.#unit;
    const [appends, conditions, snapshots] = [unit.appends(), unit.conditions(), unit.snapshots()];
    return { ...NO_EFFECTS, appends, conditions, snapshots, outcomes: this.#outcomes };
  }

  settle(written: boolean): void {
    this.#unit.settle(written);
  }
}

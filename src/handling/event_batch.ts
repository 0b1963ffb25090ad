import type { EventContext } from "../domain/context.ts";
import type { CommandDraft, EventHandler } from "../domain/handlers.ts";
import type { Domain } from "../domain/model.ts";
import { checkKey, checkProjection, type Projection } from "../domain/projection.ts";
import { dueOf, scheduleKey, type SendOptions } from "../domain/scheduling.ts";
import { decode } from "../messages/codec.ts";
import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { Sender } from "../messages/sender.ts";
import { COMMAND_END, type CommandEnd, inboxCategory } from "../processes/names.ts";
import { checkLength } from "../messages/json.ts";
import { validate } from "../messages/schema.ts";
import type { ProjectionRow, Statement } from "../store/port.ts";
import {
  type Delivery,
  type Effects,
  type HandlerBatch,
  isThenable,
  NO_EFFECTS,
  type Reading,
  type ReadRows,
} from "./batch.ts";
import { commandRoute } from "./command_route.ts";
import { UnitOfWork } from "./unit_of_work.ts";

function lengthOf(values: readonly unknown[]): number {
  return values.reduce<number>((sum, value) => sum + (typeof value === "string" ? value.length : 0), 0);
}

function isDraft(value: unknown): boolean {
  const kind = (value as { kind?: unknown } | null | undefined)?.kind;
  return typeof value === "object" && (kind === "command" || kind === "event");
}

/** Handles a batch of events; the commands, rows and statements of handlers are written with the checkpoint. */
export class EventBatch implements HandlerBatch {
  #domain: Domain;
  #handler: EventHandler;
  #reading: Reading;
  #readRows: ReadRows;
  /** Commands that have ended, by position. */
  #commands = new Map<number, Message>();
  #longest: number | undefined;
  #sql: boolean;
  #unit: UnitOfWork;
  #characters = 0;
  #kept: { readonly rows: readonly ProjectionRow[]; readonly statements: readonly Statement[] }[] = [];

  /**
   * Creates an empty batch.
   *
   * @param domain The domain.
   * @param handler The event handler.
   * @param reading What to read from.
   */
  constructor(domain: Domain, handler: EventHandler, reading: Reading) {
    this.#domain = domain;
    this.#handler = handler;
    this.#reading = reading;
    this.#readRows = reading.readRows;
    this.#longest = reading.longest;
    this.#sql = reading.sql ?? true;
    this.#unit = new UnitOfWork(domain, reading);
  }

  async prepare(messages: readonly Message[]): Promise<void> {
    const ends = messages.filter(({ type }) => type === COMMAND_END.type).map(({ payload }) => payload as CommandEnd);
    if (ends.length === 0) return;
    for (const record of await this.#reading.readAt!(ends.map(({ position }) => position))) {
      this.#commands.set(record.position, decode(record, this.#domain.types));
    }
  }

  /** Lets the handler handle a message, or the end of a command that it has sent. */
  #call(message: Message, context: EventContext): unknown {
    const { name, on, refused } = this.#handler;
    if (message.type !== COMMAND_END.type) return on[message.type](message, context);
    const { position, type: command, status, rule } = message.payload as CommandEnd;
    if (status === "accepted") return;
    if (!Object.hasOwn(refused, command)) {
      throw new DomainDefinitionError(
        `"${command}" was ${status} (${rule}), and "${name}" does not say what to do then`,
      );
    }
    const sent = this.#commands.get(position);
    if (!sent) throw new Error(`Cannot read "${command}" at ${position}, which was ${status}`);
    return refused[command](Object.freeze({ command, payload: sent.payload, status, rule }), context);
  }

  /** Who is to hear how a command ends. */
  #senderOf(command: CommandDraft, { aggregateId: id }: Message): Sender | undefined {
    const { name, refused } = this.#handler;
    if (!Object.hasOwn(refused, command.type)) return undefined;
    return { inbox: inboxCategory(this.#domain.name, name), id, run: 0 };
  }

  handle(delivery: Delivery): void | Promise<void> {
    const { message } = delivery;
    this.#unit.begin(message);
    const step: ProjectionRow[] = [];
    const statements: Statement[] = [];
    let open = true;
    const stillOpen = (): void => {
      if (!open || delivery.givenUp.aborted) {
        throw new Error(`The handling of message ${message.position} has ended; its context is closed`);
      }
    };
    const write = (projection: Projection, key: string, row: string | null): void => {
      stillOpen();
      checkProjection(projection);
      checkKey(projection.name, key, `"${this.#handler.name}"`);
      const { projections } = this.#handler;
      if (projections !== null && !projections.includes(projection)) {
        throw new DomainDefinitionError(
          `"${this.#handler.name}" cannot write rows of projection "${projection.name}", which is not one of its "projections"; add it there`,
        );
      }
      const keeper = this.#domain.keeperOf(projection.name);
      if (keeper && keeper !== this.#handler) {
        throw new DomainDefinitionError(
          `"${this.#handler.name}" cannot write rows of projection "${projection.name}": "${keeper.name}" keeps them, and they would overwrite each other's; write to a projection of its own`,
        );
      }
      step.push({ projection: projection.name, key, row, position: message.position });
    };
    const context: EventContext = {
      message,
      attempt: delivery.attempt,
      now: message.time,
      log: delivery.log,
      signal: delivery.signal,
      send: (command, when) => {
        stillOpen();
        this.#send(command, message, when);
      },
      cancel: (key) => {
        stillOpen();
        this.#unit.unschedule(scheduleKey(key));
      },
      put: (projection, row) => {
        checkProjection(projection);
        const checked = validate(projection.name, projection.schema, row);
        const key = (checked as Record<string, unknown>)[projection.key];
        const text = JSON.stringify(checked);
        checkLength(projection.name, text, this.#longest);
        this.#characters += text.length;
        // What is no key is refused there.
        write(projection, typeof key === "number" ? String(key) : key as string, text);
      },
      remove: (projection, key) => write(projection, key, null),
      sql: (parts, ...values) => {
        stillOpen();
        if (!this.#sql) {
          throw new Error(
            `context.sql needs a grant, because it runs with the server's rights in the database: ${
              sqlGrant(this.#handler.name)
            }`,
          );
        }
        statements.push({ parts: [...parts], values });
        this.#characters += lengthOf(parts) + lengthOf(values);
      },
      get: async (projection, key) => {
        checkProjection(projection);
        checkKey(projection.name, key, `get in "${this.#handler.name}"`, "read");
        return await this.#get(projection, key, step);
      },
    };
    const keep = (returned: unknown): void => {
      if (isDraft(returned) || (Array.isArray(returned) && returned.some(isDraft))) {
        return drop(
          new DomainDefinitionError(
            `"${this.#handler.name}" returned a message for "${message.type}", which has no effect: pass it to context.send`,
          ),
        );
      }
      open = false;
      this.#unit.keep();
      // At once: a time limit that is over must not find half of it kept.
      this.#kept.push({ rows: step, statements });
    };
    const drop = (error: unknown): never => {
      open = false;
      this.#unit.drop();
      throw error;
    };
    try {
      const done = this.#call(message, context);
      if (isThenable(done)) return Promise.resolve(done).then(keep).catch(drop);
      keep(done);
    } catch (error) {
      drop(error);
    }
  }

  #send(command: CommandDraft, cause: Message, when: SendOptions = {}): void {
    const category = commandRoute(this.#domain, command);
    const due = dueOf(when);
    const key = when.key === undefined ? undefined : scheduleKey(when.key);
    const sender = this.#senderOf(command, cause);
    if (due === null) this.#unit.queue(category, command.aggregateId, command, sender);
    else this.#unit.schedule(category, command.aggregateId, command, due, key, sender);
  }

  async #get(projection: Projection, key: string, step: readonly ProjectionRow[]): Promise<any> {
    const isIt = (row: ProjectionRow): boolean => row.projection === projection.name && row.key === key;
    let own = step.findLast(isIt);
    for (let i = this.#kept.length - 1; i >= 0 && !own; i--) own = this.#kept[i].rows.findLast(isIt);
    const row = own ? own.row : (await this.#readRows(projection.name, [key]))[0]?.row ?? null;
    return row === null ? null : JSON.parse(row);
  }

  get characters(): number {
    return this.#unit.characters + this.#characters;
  }

  effects(): Effects {
    const rows = new Map<string, ProjectionRow>();
    for (const kept of this.#kept) {
      for (const row of kept.rows) rows.set(JSON.stringify([row.projection, row.key]), row);
    }
    return {
      ...NO_EFFECTS,
      appends: this.#unit.appends(),
      rows: [...rows.values()],
      statements: this.#kept.flatMap(({ statements }) => statements),
      ...this.#unit.scheduling(),
    };
  }

  settle(_written: boolean): void {}
}

/** The configuration to add for a handler that records SQL statements. */
export function sqlGrant(group: string): string {
  return `set sql = true under [server.permissions.${group}] in domain.toml, if you agree`;
}

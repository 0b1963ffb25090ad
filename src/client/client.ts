import { AnnalsError } from "../lib/annals_error.ts";
import { REAL_CLOCK } from "../lib/clock.ts";
import { CONFLICT_BACKOFF, pauseBefore } from "../lib/retry.ts";
import type { Config } from "../config/config.ts";
import type { Aggregate, StateOf } from "../domain/aggregate.ts";
import { commandStream } from "../domain/command_handler.ts";
import type { Loaded } from "../domain/context.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain, Handler } from "../domain/model.ts";
import type { Projection, RowOf } from "../domain/projection.ts";
import { locate, openStore } from "../adapters/open.ts";
import { socketPath } from "../adapters/socket.ts";
import { hasPassed } from "../groups/progress.ts";
import { decode } from "../messages/codec.ts";
import type { Message, NewMessage } from "../messages/envelope.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { idFault, newId } from "../messages/ids.ts";
import { jsonFaults } from "../messages/json.ts";
import { WrongExpectedVersionError } from "../store/errors.ts";
import type { CommandOutcome, EventStore } from "../store/port.ts";
import { handleInline } from "./sync.ts";
import { reconnecting } from "./reconnect.ts";

/** What became of a command. */
export type Outcome =
  | {
    /** Its events are stored. */
    readonly status: "accepted";
    /** Their types, in order. */
    readonly events: readonly string[];
  }
  | {
    /** It broke a rule: nothing was written. */
    readonly status: "refused";
    /** The field, or the aggregate, that the rule is about. */
    readonly field: string;
    /** The rule. */
    readonly rule: string;
    /** Both, as a sentence. */
    readonly message: string;
  }
  | {
    /** Its handler gave up: it is a dead letter, and may be replayed. */
    readonly status: "failed";
    /** The last error. */
    readonly message: string;
  };

/** What `process()` answers. */
export interface Receipt {
  /** The command's id. */
  readonly commandId: string;
  /** The aggregate that it is for. */
  readonly aggregateId: string;
  /** Where the command is in the log; 0 when it was handled at once, or had been sent before. */
  readonly position: number;
  /** What became of it; `null` when nobody waited. */
  readonly outcome: Outcome | null;
}

/** Settings of {@linkcode Client.process}. */
export interface ProcessOptions {
  /** Whether to wait until the command is decided. @default {false} */
  readonly wait?: boolean;
  /** How long to wait, in milliseconds. @default {30_000} */
  readonly timeout?: number;
  /** A command with a key that was used before is not stored again: its first id is answered. */
  readonly idempotencyKey?: string;
  /** What to attach to the command, and to all that follows from it. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** Nobody decided on a command in time: it is stored, and will be handled. */
export class OutcomeTimeoutError extends AnnalsError {
  /** Always `OutcomeTimeoutError`. */
  override readonly name = "OutcomeTimeoutError";

  /**
   * Makes the error.
   *
   * @param message What is known.
   * @param commandId The command.
   */
  constructor(message: string, readonly commandId: string) {
    super(message);
  }
}

/** How often a command that is handled at once is rerun on fresh state. */
const MOST_RERUNS = 10;

/** How long to wait before asking whether there is a server at all, in milliseconds. */
const SERVER_PATIENCE = 3_000;

/** Sends commands to a domain, and reads what became of them. */
export class Client {
  /** The domain. */
  readonly domain: Domain;
  /** The store. */
  readonly store: EventStore;
  #config: Config;
  #handling: Promise<void> = Promise.resolve();

  /**
   * Makes a client of an open store; mostly {@linkcode connect} does.
   *
   * @param domain The domain.
   * @param store Its store.
   * @param config How commands and events are processed.
   */
  constructor(domain: Domain, store: EventStore, config: Config) {
    this.domain = domain;
    this.store = store;
    this.#config = config;
  }

  /**
   * Sends a command. With `command_processing` = `async` it is stored and its id answered at once; with `sync` it is
   * decided here, and with `event_processing` = `sync` what follows is handled here too.
   *
   * @param command The command.
   * @param options Whether to wait, and more.
   * @returns Its id, and its outcome when it is known.
   * @throws {OutcomeTimeoutError} When nobody decided in time.
   * @throws {DomainDefinitionError} When the domain has no handler for it.
   */
  async process(command: CommandDraft, options: ProcessOptions = {}): Promise<Receipt> {
    if (typeof command === "function" || command?.kind !== "command") {
      const what = typeof command === "function" ? "a command type; call it with a payload" : "not a command";
      throw new DomainDefinitionError(`Cannot process ${what}, like process(Deposit({ … }))`);
    }
    const handler = this.domain.handlerOf(command.type);
    if (!handler) throw new DomainDefinitionError(`No handler of domain "${this.domain.name}" takes "${command.type}"`);
    const faults = jsonFaults(options.metadata ?? {});
    if (faults.length > 0) throw new PayloadError("metadata", faults);
    const key = options.idempotencyKey;
    const fault = key === undefined ? null : idFault(key);
    if (fault !== null) throw new DomainDefinitionError(`Cannot use this idempotencyKey: ${fault}`);
    const id = newId();
    const message: NewMessage = {
      id,
      type: command.type,
      schemaVersion: command.schemaVersion,
      time: Date.now(),
      correlationId: id,
      causationId: null,
      data: JSON.stringify(command.payload),
      metadata: options.metadata ? JSON.stringify(options.metadata) : null,
    };
    const { aggregateId } = command;
    const once = key === undefined
      ? {}
      : { once: { key: `${this.domain.name}:command:${key}`, value: JSON.stringify({ id, aggregateId }) } };
    if (this.#config.commandProcessing === "sync") return await this.#decide(handler, command, message, once);
    const { category, stream } = commandStream(this.domain, handler, aggregateId);
    const publish = this.#config.enableOutbox;
    const append = { category, stream, expected: "any" as const, messages: [message], publish };
    const { lastPosition, repeated } = await this.store.commit({ appends: [append], ...once });
    const sent = repeated === null ? { id, aggregateId } : JSON.parse(repeated) as { id: string; aggregateId: string };
    const outcome = options.wait ? await this.#wait(sent.id, handler, options.timeout ?? 30_000) : null;
    return { commandId: sent.id, aggregateId: sent.aggregateId, position: lastPosition, outcome };
  }

  /** Decides on a command here and now. */
  async #decide(
    handler: Handler,
    { aggregateId }: CommandDraft,
    message: NewMessage,
    once: { once?: { key: string; value: string } },
  ): Promise<Receipt> {
    const { category, stream } = commandStream(this.domain, handler, aggregateId);
    const command: Message = decode({ ...message, category, stream, version: 0, position: 0 }, this.domain.types);
    const never = new AbortController().signal;
    const silent = { debug() {}, info() {}, warn() {}, error() {} };
    for (let rerun = 1;; rerun++) {
      const batch = handler.kind.begin(this.domain, handler, {
        readStream: (name, from) => this.store.readStream(name, { from }),
        readRows: (projection, keys) => this.store.readRows(projection, keys),
      });
      await batch.prepare([command]);
      await batch.handle({ message: command, attempt: rerun, signal: never, givenUp: never, log: silent });
      const { appends, outcomes } = batch.effects();
      try {
        const publish = this.#config.enableOutbox;
        const { lastPosition, repeated } = await this.store.commit({
          appends: appends.map((append) => ({ ...append, publish: publish && append.publish })),
          outcomes,
          ...once,
        });
        const sent = repeated === null ? { id: message.id, aggregateId } : JSON.parse(repeated);
        if (this.#config.eventProcessing === "sync" && lastPosition > 0) {
          await this.#handle(lastPosition);
        }
        const outcome = await this.outcome(sent.id);
        return { commandId: sent.id, aggregateId: sent.aggregateId, position: 0, outcome };
      } catch (error) {
        if (!(error instanceof WrongExpectedVersionError) || rerun >= MOST_RERUNS) throw error;
        await REAL_CLOCK.sleep(pauseBefore(rerun, CONFLICT_BACKOFF, Math.random()));
      }
    }
  }

  /** Runs what follows here, one run at a time: what was stored in the meantime is handled by the next. */
  async #handle(position: number): Promise<void> {
    const before = this.#handling;
    const run = async (): Promise<void> => {
      await before.catch(() => {});
      await handleInline(this.domain, this.store, this.#config, position);
    };
    await (this.#handling = run());
  }

  /**
   * What became of a command.
   *
   * @param commandId Its id.
   * @returns `null` while it is not decided.
   */
  async outcome(commandId: string): Promise<Outcome | null> {
    const found = await this.store.outcome(commandId);
    return found && outcomeOf(found);
  }

  async #wait(commandId: string, handler: Handler, timeout: number): Promise<Outcome> {
    const until = performance.now() + timeout;
    const askAt = performance.now() + SERVER_PATIENCE;
    let asked = false;
    while (true) {
      const found = await this.outcome(commandId);
      if (found) return found;
      const now = performance.now();
      if (now > until) {
        throw new OutcomeTimeoutError(
          `Command ${commandId} was not decided within ${timeout / 1000} s; it is stored and will be`,
          commandId,
        );
      }
      if (!asked && now > askAt) {
        asked = true;
        if (!await this.isServed(handler.name)) {
          throw new OutcomeTimeoutError(
            `Command ${commandId} is stored, but no server handles it; start one: deno run -A server.ts --domain=${this.domain.name}`,
            commandId,
          );
        }
      }
      await this.store.changed(Math.min(until - now, asked ? 1_000 : SERVER_PATIENCE));
    }
  }

  /** Whether some server runs a group right now. */
  async isServed(group: string): Promise<boolean> {
    const leases = await this.store.leases();
    return leases.some((lease) => lease.group === group && lease.expiresAt > Date.now());
  }

  /**
   * The state of an aggregate, from its events.
   *
   * @param aggregate The aggregate.
   * @param id Its id.
   * @param options Up to which version, or which time; all of it when neither is given.
   * @returns State and version; version -1 when there is no such aggregate (yet).
   */
  async load<A extends Aggregate>(
    aggregate: A,
    id: string,
    options: { readonly atVersion?: number; readonly asOf?: Date } = {},
  ): Promise<Loaded<StateOf<A>>> {
    const stream = this.domain.streamOf(aggregate, id);
    const { atVersion, asOf } = options;
    const records = await this.store.readStream(stream, atVersion === undefined ? {} : { to: atVersion });
    let state = aggregate.initial();
    let version = -1;
    for (const record of records) {
      if (asOf !== undefined && record.time > asOf.getTime()) break;
      state = aggregate.apply(state, decode(record, this.domain.types));
      version = record.version;
    }
    return { state, version };
  }

  /**
   * Waits until every handler has passed what is stored now, so that projections show it. A message that failed and
   * waits for its next attempt counts as passed; what handlers send on in the meantime is not waited for.
   *
   * @param options How long to wait, in milliseconds (30 000), and up to which position.
   * @returns Whether that was reached in time.
   */
  async caughtUp(options: { readonly timeout?: number; readonly position?: number } = {}): Promise<boolean> {
    const until = performance.now() + (options.timeout ?? 30_000);
    const position = options.position ?? await this.store.lastPosition();
    for (const handler of this.domain.handlers.values()) {
      while (!await hasPassed(this.store, handler.name, this.domain.categoriesOf(handler), position)) {
        const left = until - performance.now();
        if (left <= 0) return false;
        await this.store.changed(Math.min(left, 250));
      }
    }
    return true;
  }

  /** One row of a projection; `null` when there is none. */
  async row<P extends Projection>(projection: P, key: string): Promise<RowOf<P> | null> {
    const found = await this.store.readRow(projection.name, key);
    return found?.row ? JSON.parse(found.row) : null;
  }

  /** All rows of a projection, by key. */
  async rows<P extends Projection>(projection: P): Promise<RowOf<P>[]> {
    return (await this.store.listRows(projection.name)).map(({ row }) => JSON.parse(row!));
  }

  /** Lets go of the store. */
  async close(): Promise<void> {
    await this.store.close();
  }

  /** Lets go of the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function outcomeOf({ status, detail }: CommandOutcome): Outcome {
  const { events, field, rule, message } = JSON.parse(detail);
  switch (status) {
    case "accepted":
      return { status, events };
    case "refused":
      return { status, field, rule, message };
    case "failed":
      return { status, message };
  }
}

/**
 * Connects to the store of a domain.
 *
 * @param domain The domain.
 * @param options The configuration: the same as the server's.
 * @returns A client.
 * @throws {StoreUnavailableError} When the store cannot be opened; for SQLite, when the server has not made it yet; for
 *   a store in memory, when no server of this machine has it.
 */
export async function connect(domain: Domain, options: { readonly config: Config }): Promise<Client> {
  const { config } = options;
  const store = await openStore(locate(config.store, domain.name), {
    create: config.commandProcessing === "sync",
    domain: domain.name,
    // Where everything is handled at once, by whoever asks, there need not be a server.
    ...(config.commandProcessing === "async" && { socket: socketPath(config.folder, domain.name) }),
    // A server's checkpointer thread keeps the write-ahead log short; this bounds it where none runs.
    autoCheckpoint: 8_000,
  });
  return new Client(domain, reconnecting(store), config);
}

import { AnnalsError } from "../lib/annals_error.ts";
import { REAL_CLOCK } from "../lib/clock.ts";
import { CONFLICT_BACKOFF, pauseBefore } from "../lib/retry.ts";
import type { Config } from "../config/config.ts";
import type { Aggregate, StateOf } from "../domain/aggregate.ts";
import type { Boundary, KeyOf } from "../domain/boundary.ts";
import { commandStream } from "../domain/command_handler.ts";
import type { Loaded } from "../domain/context.ts";
import { taggedBy } from "../domain/known.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain, Handler } from "../domain/model.ts";
import { checkKey, checkProjection, type Projection, type RowOf } from "../domain/projection.ts";
import { dueOf, keyless, scheduleKey, type SendOptions } from "../domain/scheduling.ts";
import { locate, openStore } from "../adapters/open.ts";
import { socketPath } from "../adapters/socket.ts";
import { awaitsFirstAttempts, hasPassed, reachedBy } from "../groups/progress.ts";
import { untaggedTypes } from "../groups/tagged.ts";
import type { Reading } from "../handling/batch.ts";
import { decisionOn } from "../handling/decision.ts";
import { UnitOfWork } from "../handling/unit_of_work.ts";
import { decode } from "../messages/codec.ts";
import type { Message, MessageRecord, NewMessage } from "../messages/envelope.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { newId } from "../messages/ids.ts";
import { checkLength, jsonFaults } from "../messages/json.ts";
import { isReserved } from "../messages/sender.ts";
import { isConflict, ScheduleChangedError } from "../store/errors.ts";
import type { CommandOutcome, Due, EventStore, ScheduledMessage } from "../store/port.ts";
import { handleInline, placeInline } from "./sync.ts";
import { planCount, planQuery, type QueryOptions } from "../domain/queries.ts";
import {
  type Behind,
  explainBehind,
  groupOf,
  keeperOf,
  lastOf,
  lookBehind,
  ProjectionBehindError,
  type Seen,
} from "./catching_up.ts";
import { stoppable } from "../lib/stoppable.ts";
import { type EventsOptions, followEvents, type LiveEvent, Watchers } from "./live.ts";
import { Once } from "./once.ts";
import { rowAsOf } from "./past.ts";
import { decodeToken, encodeToken, type Token } from "./token.ts";
import { findRecent, reconnecting } from "./reconnect.ts";

/** The outcome of a command. */
export type Outcome =
  | {
    /** The command was accepted and its events are stored. */
    readonly status: "accepted";
    /** The types of its events, in order. */
    readonly events: readonly string[];
  }
  | {
    /** The command broke a rule; nothing was written. */
    readonly status: "refused";
    /** The field or aggregate that the rule concerns. */
    readonly field: string;
    /** The rule. */
    readonly rule: string;
    /** Field and rule, as a message. */
    readonly message: string;
  }
  | {
    /** Its handler kept failing; the command is a dead letter and can be replayed. */
    readonly status: "failed";
    /** The last error. */
    readonly message: string;
  };

/** The result of {@linkcode Client.process}. */
export interface Receipt {
  /** The command's id. */
  readonly commandId: string;
  /** The target aggregate's id. */
  readonly aggregateId: string;
  /** The command's position in the log; 0 if it was handled at once, is scheduled, or had been sent before. */
  readonly position: number;
  /** Its outcome; `null` unless `wait` was set. */
  readonly outcome: Outcome | null;
  /** Whether it had been sent before with the same `idempotencyKey`: then nothing was sent. */
  readonly repeated: boolean;
  /** What reads are to be `after` to see what came of it; text that can go through a cookie or a header. */
  readonly token: Token;
  /** Whether all projections of `until` show what came of it; `true` if there are none. */
  readonly reached: boolean;
  /** Those of `until` that do not show it yet. */
  readonly behind: readonly Behind[];
}

/** What a command was sent as. */
type Sent = Omit<Receipt, "token" | "reached" | "behind">;

/** Up to where a read has to see the log. */
export interface AfterOptions {
  /** A token of `process()`: what came of that command is seen. @default {as it is now} */
  readonly after?: Token;
  /** How long to wait for that, in milliseconds. @default {5_000} */
  readonly timeout?: number;
}

/** A page of rows. */
export interface QueryPage<Row> {
  /** The rows, in order. */
  readonly rows: readonly Row[];
  /** What to pass for the next page; `null` if this is the last one. */
  readonly cursor: string | null;
}

/** Settings of {@linkcode Client.process}. With `after`, `at` or `key`, the command is scheduled. */
export interface ProcessOptions extends SendOptions {
  /** Whether to wait until the command is decided. @default {false} */
  readonly wait?: boolean;
  /** Projections that have to show what came of it; waits also for its outcome. @default {none} */
  readonly until?: readonly Projection[];
  /** How long to wait, in milliseconds. @default {30_000} */
  readonly timeout?: number;
  /**
   * A key that makes sending idempotent: if it was used before for this command, the first one's id is returned, and with
   * `wait` its outcome. For another command it is an error.
   */
  readonly idempotencyKey?: string;
  /** Metadata for the command and everything that follows from it. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** Thrown when a command was not decided in time; it is stored and will be handled. */
export class OutcomeTimeoutError extends AnnalsError {
  /** Always `OutcomeTimeoutError`. */
  override readonly name = "OutcomeTimeoutError";

  /**
   * Creates the error.
   *
   * @param message What was found.
   * @param commandId The command.
   */
  constructor(message: string, readonly commandId: string) {
    super(message);
  }
}

/** The number of reruns on fresh state of a command handled in this process. */
const MOST_RERUNS = 10;

/** How long to wait before checking whether a server is running, in milliseconds. */
const SERVER_PATIENCE = 3_000;

/** Sends commands to a domain and reads its state. */
export class Client {
  /** The domain. */
  readonly domain: Domain;
  /** The store. */
  readonly store: EventStore;
  #config: Config;
  #handling: Promise<void> = Promise.resolve();
  #hasTags = false;
  #placed: Promise<void> | undefined;
  #watchers: Watchers;
  #log: Promise<string> | undefined;

  /**
   * Creates a client of an open store; usually called by {@linkcode connect}.
   *
   * @param domain The domain.
   * @param store Its store.
   * @param config How commands and events are processed.
   */
  constructor(domain: Domain, store: EventStore, config: Config) {
    this.domain = domain;
    this.store = store;
    this.#watchers = new Watchers(store);
    this.#config = config;
  }

  /**
   * Sends a command. With `command_processing` = `async`, it is stored and its id returned at once; with `sync`, it is
   * decided in this process. With `event_processing` = `sync`, the resulting events are handled here as well.
   *
   * @param command The command.
   * @param options Whether to wait, and other settings.
   * @returns Its id, and its outcome if known.
   * @throws {OutcomeTimeoutError} If it was not decided in time.
   * @throws {IdempotencyKeyError} If its key was used for another command.
   * @throws {DomainDefinitionError} If the domain has no handler for it.
   */
  async process(command: CommandDraft, options: ProcessOptions = {}): Promise<Receipt> {
    const { until = [], timeout = 30_000 } = options;
    // Before anything is stored.
    checkTimeout(timeout);
    if (!Array.isArray(until)) throw new DomainDefinitionError("Cannot wait until what is no list of projections");
    for (const projection of until) keeperOf(this.domain, projection);
    const end = performance.now() + timeout;
    const sent = await this.#send(command, until.length > 0 ? { ...options, wait: true } : options);
    const { commandId, position, outcome } = sent;
    // What came of it is looked up when somebody wants to see it.
    const token = encodeToken({ log: await this.#logId(), position, command: commandId });
    const behind: Behind[] = [];
    // What was refused shows nowhere.
    const wanted = outcome?.status === "accepted" ? until : [];
    const events = wanted.length > 0 ? await this.#eventsOf(commandId) : [];
    for (const projection of wanted) {
      const found = await this.#catchUp(projection, events, Math.max(0, end - performance.now()));
      if (found) behind.push(found);
    }
    return { ...sent, token, reached: behind.length === 0, behind };
  }

  /** The log that tokens are of; asked for once. */
  #logId(): Promise<string> {
    return this.#log ??= this.store.logId().catch((error) => {
      this.#log = undefined;
      throw error;
    });
  }

  /** What a command has led to itself. */
  async #eventsOf(commandId: string): Promise<MessageRecord[]> {
    // They were appended together, before anything that follows from them.
    const found = await this.store.readLog({ correlationId: commandId, largest: 0 });
    return found.filter(({ causationId }) => causationId === commandId);
  }

  /** Waits until readers of a projection see some messages; says why not, if they do not in time. */
  async #catchUp(
    projection: Projection,
    messages: readonly Seen[],
    timeout: number,
  ): Promise<Behind | null> {
    const until = performance.now() + timeout;
    while (true) {
      let found: Awaited<ReturnType<typeof lookBehind>> = null;
      const look = async (): Promise<true | null> => {
        found = await lookBehind(this.store, this.domain, projection, messages);
        return found === null ? true : null;
      };
      const left = until - performance.now();
      if (await this.#watching(Math.min(left, 250), look)) return null;
      if (left <= 0) return await explainBehind(this.store, projection.name, found!);
    }
  }

  /** Waits until a read may begin. */
  async #after(projection: Projection, { after, timeout = 5_000 }: AfterOptions): Promise<void> {
    if (after === undefined) return;
    checkTimeout(timeout);
    const end = performance.now() + timeout;
    const messages = await this.#seenBy(after, timeout);
    const behind = await this.#catchUp(projection, messages, Math.max(0, end - performance.now()));
    if (behind === null) return;
    throw new ProjectionBehindError(
      `Projection "${projection.name}" did not show position ${lastOf(messages)} within ${
        timeout / 1000
      } s: it is ${behind.why}`,
      behind,
    );
  }

  /** The messages that a token stands for; waits for the outcome of a command that is not decided yet. */
  async #seenBy(token: Token, timeout: number): Promise<Seen[]> {
    const { position, command } = decodeToken(token, await this.#logId());
    if (command === undefined) return [{ position, stream: null }];
    const events = await this.#eventsOf(command);
    // It may have no events, or not be decided yet.
    if (events.length > 0 || (await this.#wait(command, timeout)).status !== "accepted") return events;
    return await this.#eventsOf(command);
  }

  /** Sends a command, and waits for its outcome if that is asked for. */
  async #send(command: CommandDraft, options: ProcessOptions): Promise<Sent> {
    if (typeof command === "function" || command?.kind !== "command") {
      const what = typeof command === "function" ? "a command type; call it with a payload" : "not a command";
      throw new DomainDefinitionError(`Cannot process ${what}, like process(Deposit({ … }))`);
    }
    const handler = this.domain.handlerOf(command.type);
    if (!handler) throw new DomainDefinitionError(`No handler of domain "${this.domain.name}" takes "${command.type}"`);
    const faults = jsonFaults(options.metadata ?? {});
    if (faults.length > 0) throw new PayloadError("metadata", faults);
    if (isReserved(options.metadata ?? {})) {
      throw new DomainDefinitionError("Cannot use these metadata: names of fields that start with $ are reserved");
    }
    const id = newId();
    const once = new Once(this.domain.name, command, id, options.idempotencyKey);
    const data = JSON.stringify(command.payload);
    checkLength(command.type, data, this.#config.store.maxMessageBytes);
    const message: NewMessage = {
      id,
      type: command.type,
      schemaVersion: command.schemaVersion,
      time: Date.now(),
      correlationId: id,
      causationId: null,
      data,
      metadata: options.metadata ? JSON.stringify(options.metadata) : null,
    };
    const { aggregateId } = command;
    const due = dueOf(options);
    if (due !== null) return await this.#schedule(handler, command, message, due, options, once);
    if (this.#config.commandProcessing === "sync") return await this.#decide(handler, command, message, once);
    const { category, stream } = commandStream(this.domain, handler, aggregateId);
    const publish = this.#config.enableOutbox;
    const append = { category, stream, expected: "any" as const, messages: [message], publish };
    const { lastPosition, ...result } = await this.store.commit({ appends: [append], ...once.commit });
    const { repeated, ...sent } = once.sent(result.repeated);
    const outcome = options.wait ? await this.#wait(sent.id, options.timeout ?? 30_000) : null;
    return { commandId: sent.id, aggregateId: sent.aggregateId, position: lastPosition, outcome, repeated };
  }

  /** What is decided and loaded in this process is read from. */
  get #reading(): Reading {
    return {
      readStream: (name, from) => this.store.readStream(name, { from }),
      readRows: (projection, keys) => this.store.readRows(projection, keys),
      readTagged: (among, after) => this.store.readTagged(among, { after }),
      readSnapshot: (stream, fingerprint) => this.store.readSnapshot(stream, fingerprint),
      longest: this.#config.store.maxMessageBytes,
    };
  }

  /** Stores a command that a server will send when it is due. */
  async #schedule(
    handler: Handler,
    { aggregateId }: CommandDraft,
    message: NewMessage,
    due: Due,
    { key, wait }: ProcessOptions,
    once: Once,
  ): Promise<Sent> {
    if (wait) {
      throw new DomainDefinitionError(
        `Cannot wait for "${message.type}", which is sent later; ask for its outcome() when it was`,
      );
    }
    const { category, stream } = commandStream(this.domain, handler, aggregateId);
    const entry = { key: key === undefined ? keyless(message.id) : scheduleKey(key), due, category, stream, message };
    const result = await this.store.commit({ schedule: [entry], ...once.commit });
    const { repeated, ...sent } = once.sent(result.repeated);
    return { commandId: sent.id, aggregateId: sent.aggregateId, position: 0, outcome: null, repeated };
  }

  /**
   * Cancels a scheduled command.
   *
   * @param key Its key.
   * @returns Whether there was one; `false` also if it was sent already.
   */
  async cancel(key: string): Promise<boolean> {
    const name = scheduleKey(key);
    let tried: ScheduledMessage | undefined;
    while (true) {
      const [found] = await this.store.scheduled({ key: name });
      if (!found) return tried !== undefined && !await findRecent(this.store, tried.stream, tried.message.id);
      tried = found;
      try {
        await this.store.commit({ release: [{ key: name, dueAt: found.dueAt, id: found.message.id }] });
        return true;
      } catch (error) {
        // It was replaced or sent meanwhile; or cancelled, and the answer was lost.
        if (!(error instanceof ScheduleChangedError)) throw error;
      }
    }
  }

  /** Handles a command in this process. */
  async #decide(
    handler: Handler,
    { aggregateId }: CommandDraft,
    message: NewMessage,
    once: Once,
  ): Promise<Sent> {
    const { category, stream } = commandStream(this.domain, handler, aggregateId);
    const command: Message = decode({ ...message, category, stream, version: 0, position: 0 }, this.domain.types);
    const never = new AbortController().signal;
    const silent = { debug() {}, info() {}, warn() {}, error() {} };
    await this.#checkTags();
    for (let rerun = 1;; rerun++) {
      const batch = handler.kind.begin(this.domain, handler, this.#reading);
      await batch.prepare([command]);
      await batch.handle({ message: command, attempt: rerun, signal: never, givenUp: never, log: silent });
      const { appends, snapshots, ...effects } = batch.effects();
      try {
        const publish = this.#config.enableOutbox;
        const { lastPosition, ...result } = await this.store.commit({
          appends: appends.map((append) => ({ ...append, publish: publish && append.publish })),
          ...effects,
          ...once.commit,
        });
        const { repeated, ...sent } = once.sent(result.repeated);
        if (snapshots.length > 0) await this.store.writeSnapshots(snapshots).catch(() => {});
        if (this.#config.eventProcessing === "sync" && lastPosition > 0) {
          await this.#handle(lastPosition);
        }
        const outcome = await this.outcome(sent.id);
        return { commandId: sent.id, aggregateId: sent.aggregateId, position: 0, outcome, repeated };
      } catch (error) {
        if (!isConflict(error) || rerun >= MOST_RERUNS) throw error;
        await REAL_CLOCK.sleep(pauseBefore(rerun, CONFLICT_BACKOFF, Math.random()));
      }
    }
  }

  /** Handles the resulting events here, one run at a time; messages stored meanwhile are handled by the next run. */
  async #handle(position: number): Promise<void> {
    const before = this.#handling;
    const run = async (): Promise<void> => {
      await before.catch(() => {});
      await this.#place();
      await handleInline(this.domain, this.store, this.#config, position);
    };
    await (this.#handling = run());
  }

  /**
   * The outcome of a command.
   *
   * @param commandId Its id.
   * @returns The outcome; `null` if it is not decided yet.
   */
  async outcome(commandId: string): Promise<Outcome | null> {
    const found = await this.store.outcome(commandId);
    return found && outcomeOf(found);
  }

  async #wait(commandId: string, timeout: number): Promise<Outcome> {
    checkTimeout(timeout);
    const until = performance.now() + timeout;
    let servedAt = performance.now();
    while (true) {
      const now = performance.now();
      const found = await this.#watching(Math.min(until - now, SERVER_PATIENCE), () => this.outcome(commandId));
      if (found) return found;
      if (now > until) {
        throw new OutcomeTimeoutError(
          `Command ${commandId} was not decided within ${timeout / 1000} s; it is stored and will be handled`,
          commandId,
        );
      }
      if (now > servedAt + SERVER_PATIENCE) {
        if (await this.isServed()) servedAt = now;
        else {
          throw new OutcomeTimeoutError(
            `Command ${commandId} is stored, but no server is running; start one: deno run -A server.ts --domain=${this.domain.name}`,
            commandId,
          );
        }
      }
    }
  }

  /** Looks for something; if it is not there, waits for the next change. A write in between is not missed. */
  async #watching<T>(wait: number, look: () => Promise<T | null>): Promise<T | null> {
    const stop = new AbortController();
    const changed = this.store.changed(Math.max(0, wait), stop.signal);
    // The promise may never be awaited.
    changed.catch(() => {});
    try {
      const found = await look();
      if (found === null) await changed;
      return found;
    } finally {
      // Without a reason, `abort()` creates an exception with a stack each time.
      stop.abort("done");
    }
  }

  /** Whether a server is running the domain, by the store's clock. While a group moves to another server, none has it. */
  async isServed(): Promise<boolean> {
    return (await this.store.members()).length > 0;
  }

  /**
   * Loads the state of an aggregate from its events.
   *
   * @param aggregate The aggregate.
   * @param id Its id.
   * @param options Up to which version or time; the latest by default.
   * @returns State and version; version -1 if the aggregate does not exist (yet).
   */
  async load<A extends Aggregate>(
    aggregate: A,
    id: string,
    options?: { readonly atVersion?: number; readonly asOf?: Date },
  ): Promise<Loaded<StateOf<A>>>;
  /**
   * Folds what counts within a boundary.
   *
   * @param boundary The boundary.
   * @param key Its key.
   * @returns The state, and the position up to which the log was read.
   */
  async load<B extends Boundary>(boundary: B, key: KeyOf<B>): Promise<Loaded<StateOf<B>>>;
  async load(
    target: Aggregate | Boundary,
    key: unknown,
    options: { readonly atVersion?: number; readonly asOf?: Date } = {},
  ): Promise<Loaded<any>> {
    const { atVersion, asOf } = options;
    if (atVersion !== undefined || asOf !== undefined) {
      return await this.#loadPast(target as Aggregate, key as string, atVersion, asOf);
    }
    await this.#checkTags();
    const decision = decisionOn(new UnitOfWork(this.domain, this.#reading), target);
    await decision.load(key);
    const { state, version } = decision.state(key);
    return { state, version };
  }

  /** Refuses to look within boundaries while events that count there have no tags yet; once. */
  async #checkTags(): Promise<void> {
    if (this.domain.boundaries.size === 0 || this.#hasTags) return;
    const sought = taggedBy(this.domain).filter(({ isSought }) => isSought);
    const [found] = await untaggedTypes(this.store, sought);
    if (found) {
      throw new DomainDefinitionError(
        `Cannot look within boundaries of domain "${this.domain.name}": "${found.type}" at position ${found.position} is from before its type had tags; run annals store tag`,
      );
    }
    this.#hasTags = true;
  }

  /** Loads an aggregate as it was. */
  async #loadPast(aggregate: Aggregate, id: string, atVersion?: number, asOf?: Date): Promise<Loaded<any>> {
    const stream = this.domain.streamOf(aggregate, id);
    if (atVersion !== undefined && !(Number.isSafeInteger(atVersion) && atVersion >= 0)) {
      throw new DomainDefinitionError(`Cannot load at version ${atVersion}: versions are whole numbers from 0`);
    }
    if (asOf !== undefined && !(asOf instanceof Date && Number.isFinite(asOf.getTime()))) {
      throw new DomainDefinitionError(`Cannot load as of ${String(asOf)}: it is no valid Date`);
    }
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
   * Returns the events of an aggregate, each with the state after it.
   *
   * @param aggregate The aggregate.
   * @param id Its id.
   * @returns The events, the first one first; none if the aggregate does not exist (yet).
   */
  async history<A extends Aggregate>(
    aggregate: A,
    id: string,
  ): Promise<readonly { readonly event: Message; readonly state: StateOf<A> }[]> {
    let state = aggregate.initial();
    return (await this.store.readStream(this.domain.streamOf(aggregate, id))).map((record) => {
      const event = decode(record, this.domain.types);
      state = aggregate.apply(state, event);
      return { event, state };
    });
  }

  /**
   * Waits until every handler has passed what is stored now, so that projections show it. A message waiting for a retry
   * counts as passed; messages that handlers send meanwhile are not waited for.
   *
   * @param options The timeout in milliseconds (default 30,000) and the position to reach.
   * @returns Whether the position was reached in time.
   */
  async caughtUp(options: { readonly timeout?: number; readonly position?: number } = {}): Promise<boolean> {
    const { timeout = 30_000 } = options;
    checkTimeout(timeout);
    const until = performance.now() + timeout;
    const position = options.position ?? await this.store.lastPosition();
    const active = (await this.store.generations()).filter(({ isActive }) => isActive);
    for (const handler of this.domain.handlers.values()) {
      const categories = this.domain.categoriesOf(handler);
      const [kept] = handler.kind.keeps(handler);
      // Of a projection, what readers see counts.
      if (kept && this.domain.keeperOf(kept.name) !== handler) continue;
      const group = active.find(({ projection }) => projection === kept?.name)?.group ?? handler.name;
      const look = async () =>
        await hasPassed(this.store, group, categories, position) &&
          !await awaitsFirstAttempts(this.store, group, position)
          ? true
          : null;
      for (let left = until - performance.now(); !await this.#watching(Math.min(left, 250), look);) {
        if (left <= 0) return false;
        left = until - performance.now();
      }
    }
    return true;
  }

  /**
   * Returns how far the rows are that readers see of a projection.
   *
   * @param projection The projection.
   * @returns The position up to which its events are in them, or have failed and will be tried again.
   */
  async progress(projection: Projection): Promise<number> {
    const keeper = keeperOf(this.domain, projection);
    const checkpoints = await this.store.checkpoints(await groupOf(this.store, keeper, projection));
    return Math.min(...this.domain.categoriesOf(keeper).map((category) => reachedBy(checkpoints, category)));
  }

  /**
   * Returns a row of a projection.
   *
   * @param projection The projection.
   * @param key The row's key.
   * @param options What it has to show.
   * @returns The row; `null` if there is none.
   * @throws {ProjectionBehindError} If the projection does not show in time what it is to be `after`.
   */
  async row<P extends Projection>(
    projection: P,
    key: string,
    options: AfterOptions & {
      /** The row as it was at a time, or a position of the log: all its projector's events are read for it. @default {now} */
      readonly asOf?: Date | number;
    } = {},
  ): Promise<RowOf<P> | null> {
    checkProjection(projection);
    checkKey(projection.name, key, "row()", "read");
    if (options.asOf !== undefined) {
      return await rowAsOf(this.store, this.domain, projection, key, options.asOf) as RowOf<P> | null;
    }
    await this.#place();
    await this.#after(projection, options);
    const found = await this.store.readRow(projection.name, key);
    return found?.row ? JSON.parse(found.row) : null;
  }

  /** Returns all rows of a projection, by key. */
  async rows<P extends Projection>(projection: P): Promise<RowOf<P>[]> {
    checkProjection(projection);
    await this.#place();
    return (await this.store.listRows(projection.name)).map(({ row }) => JSON.parse(row!));
  }

  /**
   * Returns the rows of a projection that meet conditions, in order, a page at a time.
   *
   * @param projection The projection.
   * @param options Which rows, in which order; what they have to show.
   * @returns A page, and the cursor of the next one. Cursors name a row, so rows that come and go shift no page.
   * @throws {DomainDefinitionError} If the query asks for what there is not, or no index of the projection answers it.
   * @throws {ProjectionBehindError} If the projection does not show in time what it is to be `after`.
   *
   * @example The three largest balances
   * ```ts
   * import { domain, projection } from "@annals/annals";
   * import { inMemory } from "@annals/annals/testing";
   * import { z } from "zod";
   *
   * const Balance = projection("Balance", {
   *   key: "accountId",
   *   schema: z.object({ accountId: z.string(), cents: z.number() }),
   *   indexes: ["cents"],
   * });
   * await using client = await inMemory(domain("bank", { aggregates: [], handlers: [] }));
   * const { rows } = await client.query(Balance, { where: { cents: { gt: 0 } }, orderBy: [["cents", "desc"]], limit: 3 });
   * console.log(rows); // []
   * ```
   */
  async query<P extends Projection>(
    projection: P,
    options: QueryOptions<RowOf<P>> & AfterOptions = {},
  ): Promise<QueryPage<RowOf<P>>> {
    checkProjection(projection);
    const { query, cursorOf } = planQuery(projection, options);
    await this.#place();
    await this.#after(projection, options);
    // One more than asked for tells whether there is another page.
    const found = await this.store.queryRows({ ...query, limit: query.limit + 1 });
    const rows = found.slice(0, query.limit).map(({ row }) => JSON.parse(row!));
    const last = found[query.limit - 1];
    return { rows, cursor: found.length > query.limit ? cursorOf(last.key, rows.at(-1)) : null };
  }

  /** Returns the first row that a query selects; `null` if there is none. */
  async first<P extends Projection>(
    projection: P,
    options: Omit<QueryOptions<RowOf<P>>, "limit" | "cursor"> & AfterOptions = {},
  ): Promise<RowOf<P> | null> {
    return (await this.query(projection, { ...options, limit: 1 })).rows[0] ?? null;
  }

  /** Returns the number of rows that meet conditions; without any, of all rows. */
  async count<P extends Projection>(
    projection: P,
    options: Pick<QueryOptions<RowOf<P>>, "where" | "scan"> & AfterOptions = {},
  ): Promise<number> {
    checkProjection(projection);
    const query = planCount(projection, options);
    await this.#place();
    await this.#after(projection, options);
    return await this.store.countRows(query);
  }

  /**
   * Follows a row, or the rows that a query selects: yields what there is now, and again after each change. Who reads
   * slowly sees the latest state, not every one in between. All that watch the same share one reader.
   *
   * @param projection The projection.
   * @param options Which row, by its key, or which rows; and what they have to show first.
   * @returns The row (`null` if there is none), or the rows.
   * @throws {DomainDefinitionError} If it asks for what there is not.
   * @throws {ProjectionBehindError} If the projection does not show in time what it is to be `after`.
   *
   * @example Telling a browser
   * ```ts ignore
   * for await (const row of client.watch(Balance, { key: "a1", signal: request.signal })) {
   *   controller.enqueue(`data: ${JSON.stringify(row)}\n\n`);
   * }
   * ```
   */
  watch<P extends Projection>(
    projection: P,
    options: AfterOptions & { readonly key: string; readonly signal?: AbortSignal },
  ): AsyncGenerator<RowOf<P> | null, void, undefined>;
  /**
   * Follows the rows that a query selects, in the same way.
   *
   * @param projection The projection.
   * @param options Which rows, in which order; and what they have to show first.
   * @returns The rows.
   * @throws {DomainDefinitionError} If it asks for what there is not.
   * @throws {ProjectionBehindError} If the projection does not show in time what it is to be `after`.
   */
  watch<P extends Projection>(
    projection: P,
    options?: Omit<QueryOptions<RowOf<P>>, "cursor"> & AfterOptions & { readonly signal?: AbortSignal },
  ): AsyncGenerator<readonly RowOf<P>[], void, undefined>;
  watch(
    projection: Projection,
    { signal, ...options }: QueryOptions<any> & AfterOptions & {
      readonly key?: string;
      readonly signal?: AbortSignal;
    } = {},
  ): AsyncGenerator<any, void, undefined> {
    return stoppable((stopped) => this.#watch(projection, options, stopped), signal);
  }

  async *#watch(
    projection: Projection,
    options: QueryOptions<any> & AfterOptions & { readonly key?: string },
    signal: AbortSignal,
  ): AsyncGenerator<any, void, undefined> {
    checkProjection(projection);
    const { key, after, timeout, ...query } = options;
    // An undefined key is a mistake, and no wish for all rows.
    const isOne = "key" in options;
    if (isOne) checkKey(projection.name, key, "watch()", "read");
    if (isOne && Object.keys(query).length > 0) {
      throw new DomainDefinitionError(
        `Cannot watch projection "${projection.name}" by key and by ${Object.keys(query).join(", ")}; use one of them`,
      );
    }
    const what = isOne ? { key } : planQuery(projection, query).query;
    await this.#place();
    await this.#after(projection, { ...(after !== undefined && { after }), ...(timeout !== undefined && { timeout }) });
    const read = isOne ? () => this.row(projection, key!) : async () => (await this.query(projection, query)).rows;
    yield* this.#watchers.watch(JSON.stringify([projection.name, what]), read, signal);
  }

  /**
   * Follows the events of the domain: for programs that are not handlers, like one that fills a search index. Where it goes
   * on is up to the program, which keeps the token of the last event that it has dealt with.
   *
   * @param options Where to begin, and which events.
   * @returns The events in the order of the log, each once.
   * @throws {UndecodableMessageError} If this code does not know an event.
   *
   * @example Everything since the beginning
   * ```ts ignore
   * for await (const { event, token } of client.events({ after: "start", types: ["Deposited"] })) {
   *   await index(event);
   *   await save(token);
   * }
   * ```
   */
  events(options: EventsOptions = {}): AsyncGenerator<LiveEvent, void, undefined> {
    const placeOf = async (token: Token) => lastOf(await this.#seenBy(token, 30_000));
    const { signal, ...which } = options;
    return stoppable(
      (stopped) => followEvents(this.store, this.domain, placeOf, { ...which, signal: stopped }),
      signal,
    );
  }

  /** Where no server runs, this client sees to the generations of projections. */
  async #place(): Promise<void> {
    if (this.#config.eventProcessing !== "sync") return;
    await (this.#placed ??= placeInline(this.domain, this.store));
  }

  /** Closes the store. */
  async close(): Promise<void> {
    await this.store.close();
  }

  /** Closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function checkTimeout(timeout: unknown): void {
  if (typeof timeout === "number" && timeout >= 0) return;
  throw new DomainDefinitionError(
    `Cannot wait for ${String(timeout)}: a timeout is a number of milliseconds, 0 or more`,
  );
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
 * @param options The configuration, which must match the server's.
 * @returns A client.
 * @throws {StoreUnavailableError} If the store cannot be opened: for SQLite, if no server has created it yet;
 *   for an in-memory store, if no local server has it.
 */
export async function connect(domain: Domain, options: { readonly config: Config }): Promise<Client> {
  const { config } = options;
  const store = await openStore(locate(config.store, domain.name), {
    create: config.commandProcessing === "sync",
    domain: domain.name,
    // With sync processing, no server is needed.
    ...(config.commandProcessing === "async" && { socket: socketPath(config.folder, domain.name) }),
    // A server's checkpointer thread keeps the WAL short; this bounds it if none is running.
    autoCheckpoint: 8_000,
  });
  return new Client(domain, reconnecting(store), config);
}

import type { Config } from "../config/config.ts";
import type { Aggregate, StateOf } from "../domain/aggregate.ts";
import type { Boundary, KeyOf } from "../domain/boundary.ts";
import type { Loaded } from "../domain/context.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain } from "../domain/model.ts";
import { checkKey, checkProjection, type Projection, type RowOf } from "../domain/projection.ts";
import { locate, openStore } from "../adapters/open.ts";
import { socketPath } from "../adapters/socket.ts";
import { awaitsFirstAttempts, hasPassed, reachedBy } from "../groups/progress.ts";
import { decisionOn } from "../handling/decision.ts";
import { UnitOfWork } from "../handling/unit_of_work.ts";
import { decode } from "../messages/codec.ts";
import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { EventStore } from "../store/port.ts";
import { planCount, planQuery, type QueryOptions } from "../domain/queries.ts";
import { type Behind, groupOf, keeperOf, keepingOf, lastOf } from "./catching_up.ts";
import { stoppable } from "../lib/stoppable.ts";
import { type EventsOptions, followEvents, type LiveEvent, Watchers } from "./live.ts";
import { rowAsOf } from "./past.ts";
import { encodeToken, type Token } from "./token.ts";
import { reconnecting } from "./reconnect.ts";
import { lookOrWait } from "../store/changes.ts";
import { CommandSender, type ProcessOptions, type Receipt } from "./command_sender.ts";
import { checkTimeout, type Outcome } from "./outcome.ts";
import { tracedStore } from "../telemetry/traced_ports.ts";
import { tracingOf } from "../telemetry/tracing.ts";
import { type AfterOptions, LOOK_EVERY, Waits } from "./waits.ts";
import { whileStored } from "./while_stored.ts";

/** A page of rows. */
export interface QueryPage<Row> {
  /** The rows, in order. */
  readonly rows: readonly Row[];
  /** What to pass for the next page; `null` if this is the last one. */
  readonly cursor: string | null;
}

/** Sends commands to a domain and reads its state. */
export class Client {
  /** The domain. */
  readonly domain: Domain;
  /** The store. */
  readonly store: EventStore;
  #sender: CommandSender;
  #waits: Waits;
  #watchers: Watchers;

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
    this.#waits = new Waits(store, keepingOf(domain));
    this.#sender = new CommandSender(store, domain, config, this.#waits);
  }

  /**
   * Sends a command. With `command_processing` = `async`, it is stored and its id returned at once; with `sync`, it is
   * decided in this process. With `event_processing` = `sync`, the resulting events are handled here as well.
   *
   * @param command The command.
   * @param options Whether to wait, and other settings.
   * @returns Its id, and its outcome if known.
   * @throws {OutcomeTimeoutError} If it was not decided in time, or the store went away meanwhile. It is stored.
   * @throws {IdempotencyKeyError} If its key was used for another command.
   * @throws {DomainDefinitionError} If the domain has no handler for it.
   */
  async process(command: CommandDraft, options: ProcessOptions = {}): Promise<Receipt> {
    const { until = [], timeout = 30_000 } = options;
    // Before anything is stored.
    checkTimeout(timeout);
    if (!Array.isArray(until)) throw new DomainDefinitionError("Cannot wait until what is no list of projections");
    for (const projection of until) {
      checkProjection(projection);
      keeperOf(keepingOf(this.domain), projection);
    }
    const end = performance.now() + timeout;
    const sent = await this.#sender.send(command, until.length > 0 ? { ...options, wait: true } : options);
    const { commandId, position, outcome } = sent;
    // What came of it is looked up when somebody wants to see it.
    const token = encodeToken({
      log: await whileStored(commandId, () => this.#waits.logId()),
      position,
      command: commandId,
    });
    // What was refused shows nowhere.
    const wanted = outcome?.status === "accepted" ? until : [];
    const behind = await whileStored(commandId, () => this.#behind(commandId, wanted, end));
    return { ...sent, token, reached: behind.length === 0, behind };
  }

  /** The projections that do not show in time what came of a command. */
  async #behind(commandId: string, projections: readonly Projection[], end: number): Promise<Behind[]> {
    const events = projections.length > 0 ? await this.#waits.eventsOf(commandId) : [];
    const behind: Behind[] = [];
    for (const projection of projections) {
      const found = await this.#waits.catchUp(projection, events, Math.max(0, end - performance.now()));
      if (found) behind.push(found);
    }
    return behind;
  }

  /**
   * Cancels a scheduled command.
   *
   * @param key Its key.
   * @returns Whether there was one; `false` also if it was sent already.
   */
  cancel(key: string): Promise<boolean> {
    return this.#sender.cancel(key);
  }

  /**
   * The outcome of a command.
   *
   * @param commandId Its id.
   * @returns The outcome; `null` if it is not decided yet.
   */
  outcome(commandId: string): Promise<Outcome | null> {
    return this.#waits.outcome(commandId);
  }

  /** Whether a server is running the domain, by the store's clock. While a group moves to another server, none has it. */
  isServed(): Promise<boolean> {
    return this.#waits.isServed();
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
    await this.#sender.checkTags();
    const decision = decisionOn(new UnitOfWork(this.domain, this.#sender.reading), target);
    await decision.load(key);
    const { state, version } = decision.state(key);
    return { state, version };
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
      for (
        let left = until - performance.now();
        !await lookOrWait(this.store, look, { wait: Math.min(left, LOOK_EVERY) });
      ) {
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
    checkProjection(projection);
    const keeper = keeperOf(keepingOf(this.domain), projection);
    const checkpoints = await this.store.checkpoints(await groupOf(this.store, keeper, projection));
    return Math.min(...keeper.categories.map((category) => reachedBy(checkpoints, category)));
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
    await this.#sender.place();
    await this.#waits.after(projection, options);
    const found = await this.store.readRow(projection.name, key);
    return found?.row ? JSON.parse(found.row) : null;
  }

  /** Returns all rows of a projection, by key. */
  async rows<P extends Projection>(projection: P): Promise<RowOf<P>[]> {
    checkProjection(projection);
    await this.#sender.place();
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
    await this.#sender.place();
    await this.#waits.after(projection, options);
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
    await this.#sender.place();
    await this.#waits.after(projection, options);
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
    await this.#sender.place();
    await this.#waits.after(projection, {
      ...(after !== undefined && { after }),
      ...(timeout !== undefined && { timeout }),
    });
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
    const placeOf = async (token: Token) => lastOf(await this.#waits.seenBy(token, 30_000));
    const { signal, ...which } = options;
    return stoppable(
      (stopped) => followEvents(this.store, this.domain, placeOf, { ...which, signal: stopped }),
      signal,
    );
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
  const tracing = await tracingOf(config.telemetry);
  const reached = reconnecting(store);
  return new Client(domain, tracing ? tracedStore(tracing, reached) : reached, config);
}

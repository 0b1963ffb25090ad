import type { CommandDraft } from "../../domain/handlers.ts";
import type { Domain } from "../../domain/model.ts";
import { checkKey, checkProjection, type Projection, type RowOf } from "../../domain/projection.ts";
import { planQuery, type QueryOptions } from "../../domain/queries.ts";
import { sleep } from "../../lib/sleep.ts";
import { stoppable } from "../../lib/stoppable.ts";
import { DomainDefinitionError, PayloadError } from "../../messages/errors.ts";
import { idFault } from "../../messages/ids.ts";
import { type Behind, keeperOf, keepingOf, ProjectionBehindError } from "../catching_up.ts";
import type { QueryPage } from "../client.ts";
import type { ProcessOptions, Receipt } from "../command_sender.ts";
import type { LiveEvent } from "../live.ts";
import { IdempotencyKeyError } from "../once.ts";
import { checkTimeout, type Outcome, OutcomeTimeoutError } from "../outcome.ts";
import type { AfterOptions } from "../waits.ts";
import { whileStored } from "../while_stored.ts";
import { fieldOf, type HttpAnswer, refused, titleOf } from "./answer.ts";
import { HttpConnection, type HttpOptions } from "./connection.ts";
import { HttpError } from "./errors.ts";
import { followHttpEvents, type HttpEventsOptions } from "./events.ts";
import { checkToken, headerText, queryText } from "./request.ts";
import { behindOf, faultsOf, readCount, readOutcome, readPage, readRow, readSent, type Sent } from "./shapes.ts";

/** Settings of {@linkcode HttpClient.process}: those of a client of the store that HTTP has as well. */
export type HttpProcessOptions = Pick<ProcessOptions, "wait" | "until" | "timeout" | "idempotencyKey">;

/** The longest that one request waits, in milliseconds: proxies end what is silent for a minute. */
const LONGEST_WAIT = 30_000;

/** How long to wait before asking again a server that has not waited, in milliseconds. */
const PAUSE = 250;

/** Refuses options that HTTP has not: to leave them out in silence would change what was meant. */
function checkOptions(doing: string, options: object, known: readonly string[]): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || known.includes(name)) continue;
    throw new DomainDefinitionError(`Cannot ${doing} with "${name}" over HTTP; connect to the store for that`);
  }
}

/** The condition that a row has a key. */
function whereKey(projection: Projection, key: string): any {
  return { [projection.key]: key };
}

/** The error for an answer that cannot be read: unless it is a refusal, the command may be stored. */
function maybeStored(error: unknown): unknown {
  if (!(error instanceof HttpError) || error.recovery !== "none" || error.status === null) return error;
  if (error.status >= 300 && error.status < 500) return error;
  return new HttpError(`${error.message}; it is not known whether the command was stored`, error.status, "unsure");
}

/** Asks about a command that is stored: whatever goes wrong then is no reason to send it again. */
function asking<T>({ commandId }: Sent, ask: () => Promise<T>): Promise<T> {
  return whileStored(commandId, ask, (error) => error instanceof HttpError);
}

/** Sends commands to a domain and reads its state over HTTP. What it has in common with `Client` is the same. */
export class HttpClient {
  /** The domain. */
  readonly domain: Domain;
  #connection: HttpConnection;

  /**
   * Creates a client; usually called by {@linkcode connect}.
   *
   * @param domain The domain.
   * @param options Where its server is.
   * @throws {DomainDefinitionError} If that cannot be.
   */
  constructor(domain: Domain, options: HttpOptions) {
    this.domain = domain;
    this.#connection = new HttpConnection(options);
  }

  /**
   * Sends a command. If the connection is lost before the answer has come, it is sent again only with an
   * `idempotencyKey`: without one, it could be stored twice.
   *
   * @param command The command.
   * @param options Whether to wait, and the key that makes sending idempotent.
   * @returns Its id, and its outcome if known.
   * @throws {OutcomeTimeoutError} If it was not decided in time, or the server went away before it said how. It is stored.
   * @throws {IdempotencyKeyError} If its key was used for another command.
   * @throws {PayloadError} If the server refuses its payload: its schema may be of another version than this code's.
   * @throws {DomainDefinitionError} If the domain, here or at the server, has no handler for it.
   * @throws {HttpError} If there is no answer. With `recovery` = `unsure`, it is not known whether it was stored; else it
   *   was not.
   */
  async process(command: CommandDraft, options: HttpProcessOptions = {}): Promise<Receipt> {
    if (typeof command === "function" || command?.kind !== "command") {
      const what = typeof command === "function" ? "a command type; call it with a payload" : "not a command";
      throw new DomainDefinitionError(`Cannot process ${what}, like process(Deposit({ … }))`);
    }
    const { type } = command;
    if (!this.domain.handlerOf(type)) {
      throw new DomainDefinitionError(`No handler of domain "${this.domain.name}" takes "${type}"`);
    }
    checkOptions(`send "${type}"`, options, ["wait", "until", "timeout", "idempotencyKey"]);
    const { until = [], timeout = 30_000, idempotencyKey } = options;
    checkTimeout(timeout);
    if (!Array.isArray(until)) throw new DomainDefinitionError("Cannot wait until what is no list of projections");
    for (const projection of until) keeperOf(keepingOf(this.domain), projection);
    const fault = idempotencyKey === undefined ? null : idFault(idempotencyKey);
    if (fault !== null) throw new DomainDefinitionError(`Cannot use this idempotencyKey: ${fault}`);
    const end = performance.now() + timeout;
    const isAwaited = options.wait === true || until.length > 0;
    const sent = await this.#store(command, options, isAwaited ? Math.min(timeout, LONGEST_WAIT) : null);
    const outcome = sent.outcome ??
      (isAwaited ? await asking(sent, () => this.#decided(sent.commandId, end, timeout)) : null);
    const behind: Behind[] = [];
    // What was refused shows nowhere.
    for (const projection of outcome?.status === "accepted" ? until : []) {
      const found = await asking(sent, () => this.#behind(projection, { ...sent, end }));
      if (found) behind.push(found);
    }
    return { ...sent, outcome, reached: behind.length === 0, behind };
  }

  /** Has a command stored; waits for its outcome as long as the server does. */
  async #store(
    { type, payload }: CommandDraft,
    { idempotencyKey: key }: HttpProcessOptions,
    wait: number | null,
  ): Promise<Sent> {
    try {
      const answer = await this.#connection.send({
        method: "POST",
        path: `/commands/${encodeURIComponent(type)}`,
        headers: key === undefined ? {} : { "idempotency-key": headerText("idempotencyKey", key) },
        body: JSON.stringify(payload),
        ...(wait !== null && { wait }),
        isRepeatable: key !== undefined,
      });
      return this.#sent(answer, type, key);
    } catch (error) {
      throw maybeStored(error);
    }
  }

  #sent(answer: HttpAnswer, type: string, key: string | undefined): Sent {
    const { status, body } = answer;
    const { where } = this.#connection;
    // A refusal is an answer as well, with the status of one.
    const isDecided = fieldOf(body, "outcome") !== undefined;
    if (status === 200 || status === 202 || isDecided) return readSent(body, where);
    const title = titleOf(answer);
    const faults = faultsOf(fieldOf(body, "faults"));
    if (status === 409 && key !== undefined) {
      throw new IdempotencyKeyError(title, key, String(fieldOf(body, "commandId") ?? ""));
    }
    if (status === 422 && faults !== null) throw new PayloadError(type, faults);
    if (status === 413) throw new PayloadError(type, [{ path: "", message: title }]);
    if (status === 400 || status === 404 || status === 422) {
      throw new DomainDefinitionError(`${where} answers: ${title}`);
    }
    throw refused(answer, where);
  }

  /** Waits for an outcome until some time. */
  async #decided(commandId: string, end: number, timeout: number): Promise<Outcome> {
    for (let left = end - performance.now(); left > 0; left = end - performance.now()) {
      const asked = performance.now();
      const wait = Math.min(left, LONGEST_WAIT);
      const outcome = await this.#outcome(commandId, wait);
      if (outcome) return outcome;
      await this.#pause(asked, wait);
    }
    throw new OutcomeTimeoutError(
      `Command ${commandId} was not decided within ${timeout / 1000} s; it is stored and will be handled`,
      commandId,
    );
  }

  /** Does not ask all the time who should have waited and did not. */
  async #pause(asked: number, wait: number): Promise<void> {
    const early = asked + wait - performance.now();
    if (early > 0) await sleep(Math.min(early, PAUSE));
  }

  /**
   * The outcome of a command.
   *
   * @param commandId Its id.
   * @returns The outcome; `null` if it is not decided yet.
   * @throws {HttpError} If there is no answer.
   */
  outcome(commandId: string): Promise<Outcome | null> {
    return this.#outcome(commandId);
  }

  async #outcome(commandId: string, wait?: number): Promise<Outcome | null> {
    const path = `/outcomes/${encodeURIComponent(commandId)}`;
    const answer = await this.#connection.send({ path, ...(wait !== undefined && { wait }) });
    if (answer.status !== 200) throw refused(answer, this.#connection.where);
    return readOutcome(answer.body, this.#connection.where);
  }

  /** Whether a projection shows what came of a command, or why not. */
  async #behind(
    projection: Projection,
    { token, end }: Pick<Sent, "token"> & { readonly end: number },
  ): Promise<Behind | null> {
    try {
      // The server waits before it looks for a row: any will do.
      await this.#ask(projection, queryText({ key: "-" }), {
        after: token,
        timeout: Math.max(0, end - performance.now()),
      });
      return null;
    } catch (error) {
      if (error instanceof ProjectionBehindError) return error.behind;
      throw error;
    }
  }

  /** Asks for what a projection shows, as soon as it shows what it is to be after. */
  async #ask(
    projection: Projection,
    path: string,
    { after, timeout = 5_000 }: AfterOptions,
  ): Promise<HttpAnswer> {
    checkTimeout(timeout);
    if (after !== undefined) checkToken(after);
    const request = { path: `/projections/${encodeURIComponent(projection.name)}${path}` };
    if (after === undefined) return await this.#connection.send(request);
    const end = performance.now() + timeout;
    while (true) {
      const asked = performance.now();
      const wait = Math.min(Math.max(0, end - asked), LONGEST_WAIT);
      const answer = await this.#connection.send({ ...request, headers: { after }, wait });
      const behind = answer.status === 503 ? behindOf(fieldOf(answer.body, "behind")) : null;
      if (behind === null) return answer;
      if (performance.now() >= end || wait === 0) throw new ProjectionBehindError(titleOf(answer), behind);
      await this.#pause(asked, wait);
    }
  }

  /** What a query was answered, if it could be. */
  async #found(projection: Projection, path: string, options: AfterOptions): Promise<unknown> {
    const answer = await this.#ask(projection, path, options);
    if (answer.status === 200) return answer.body;
    if (answer.status === 400 || answer.status === 404) {
      throw new DomainDefinitionError(`${this.#connection.where} answers: ${titleOf(answer)}`);
    }
    throw refused(answer, this.#connection.where);
  }

  /**
   * Returns a row of a projection.
   *
   * @param projection The projection.
   * @param key The row's key.
   * @param options What it has to show.
   * @returns The row; `null` if there is none.
   * @throws {ProjectionBehindError} If the projection does not show in time what it is to be `after`.
   * @throws {HttpError} If there is no answer, or the row is none of this projection.
   */
  async row<P extends Projection>(projection: P, key: string, options: AfterOptions = {}): Promise<RowOf<P> | null> {
    checkProjection(projection);
    checkKey(projection.name, key, "row()", "read");
    checkOptions(`read a row of projection "${projection.name}"`, options, ["after", "timeout"]);
    // These two have a meaning of their own in paths, however they are spelled.
    if (key === "." || key === "..") {
      return await this.first(projection, { ...options, where: whereKey(projection, key) });
    }
    const { where } = this.#connection;
    const answer = await this.#ask(projection, queryText({ key }), options);
    if (answer.status === 404 && fieldOf(answer.body, "row") === null) return null;
    if (answer.status === 200) return readRow(projection, answer.body, where);
    if (answer.status === 404) throw new DomainDefinitionError(`${where} answers: ${titleOf(answer)}`);
    throw refused(answer, where);
  }

  /**
   * Returns the rows of a projection that meet conditions, in order, a page at a time.
   *
   * @param projection The projection.
   * @param options Which rows, in which order; what they have to show.
   * @returns A page, and the cursor of the next one.
   * @throws {DomainDefinitionError} If the query asks for what there is not, or no index of the projection answers it.
   * @throws {ProjectionBehindError} If the projection does not show in time what it is to be `after`.
   * @throws {HttpError} If there is no answer, or the rows are none of this projection.
   */
  async query<P extends Projection>(
    projection: P,
    options: QueryOptions<RowOf<P>> & AfterOptions = {},
  ): Promise<QueryPage<RowOf<P>>> {
    checkProjection(projection);
    const { cursor, ...rest } = options;
    // Whose cursor it is, the server knows.
    planQuery(projection, rest);
    const body = await this.#found(projection, queryText({ ...rest, cursor }), options);
    const page = readPage(body, this.#connection.where);
    return { ...page, rows: page.rows.map((row) => readRow(projection, row, this.#connection.where)) };
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
    planQuery(projection, options);
    const body = await this.#found(projection, queryText({ ...options, count: true }), options);
    return readCount(body, this.#connection.where);
  }

  /**
   * Follows the events of the domain. A lost connection is taken up again behind the last event, so each comes once.
   *
   * @param options Where to begin, and which events.
   * @returns The events in the order of the log.
   * @throws {UndecodableMessageError} If this code does not know an event.
   * @throws {HttpError} If the server cannot be reached for too long.
   */
  events(options: HttpEventsOptions = {}): AsyncGenerator<LiveEvent, void, undefined> {
    checkOptions("follow events", options, ["after", "types", "signal"]);
    const { signal, ...which } = options;
    return stoppable(
      (stopped) => followHttpEvents(this.#connection, this.domain, { ...which, signal: stopped }),
      signal,
    );
  }
}

/**
 * Makes a client of a server, which has to have `[server.http] api = true`. Nothing is sent yet.
 *
 * @param domain The domain.
 * @param options Where its server is, and the token of its `[server.http]`.
 * @returns A client.
 * @throws {DomainDefinitionError} If the URL or the token cannot be one.
 *
 * @example Sending a command from anywhere
 * ```ts ignore
 * const client = connect(bank, { url: "https://bank.example.com", token: process.env.ANNALS_TOKEN });
 * const { token } = await client.process(Deposit({ accountId: "a1", amount: 5 }), { wait: true });
 * const row = await client.row(Balance, "a1", { after: token });
 * ```
 */
export function connect(domain: Domain, options: HttpOptions): HttpClient {
  return new HttpClient(domain, options);
}

import type { Config } from "../config/config.ts";
import { commandStream } from "../domain/command_handler.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import { taggedBy } from "../domain/known.ts";
import type { Domain, Handler } from "../domain/model.ts";
import type { Projection } from "../domain/projection.ts";
import { dueOf, keyless, scheduleKey, type SendOptions } from "../domain/scheduling.ts";
import { untaggedTypes } from "../groups/tagged.ts";
import type { Reading } from "../handling/batch.ts";
import { REAL_CLOCK } from "../lib/clock.ts";
import { CONFLICT_BACKOFF, pauseBefore } from "../lib/retry.ts";
import { decode } from "../messages/codec.ts";
import type { Message, NewMessage } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { newId } from "../messages/ids.ts";
import { isConflict, ScheduleChangedError } from "../store/errors.ts";
import type { Due, EventStore, ScheduledMessage } from "../store/port.ts";
import type { Behind } from "./catching_up.ts";
import { commandMessage } from "./command_message.ts";
import { Once } from "./once.ts";
import type { Outcome } from "./outcome.ts";
import { findRecent } from "./reconnect.ts";
import { handleInline, placeInline } from "./sync.ts";
import type { Token } from "./token.ts";
import type { Waits } from "./waits.ts";
import { whileStored } from "./while_stored.ts";

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

/** The number of reruns on fresh state of a command handled in this process. */
const MOST_RERUNS = 10;

/** Stores commands for servers; or decides them here, and handles what follows, where that is configured. */
export class CommandSender {
  #store: EventStore;
  #domain: Domain;
  #config: Config;
  #waits: Waits;
  #handling: Promise<void> = Promise.resolve();
  #hasTags = false;
  #placed: Promise<void> | undefined;

  /**
   * @param store The store.
   * @param domain The domain.
   * @param config How commands and events are processed.
   * @param waits Waits for outcomes.
   */
  constructor(store: EventStore, domain: Domain, config: Config, waits: Waits) {
    this.#store = store;
    this.#domain = domain;
    this.#config = config;
    this.#waits = waits;
  }

  /** Sends a command, and waits for its outcome if that is asked for. */
  async send(command: CommandDraft, options: ProcessOptions): Promise<Sent> {
    if (typeof command === "function" || command?.kind !== "command") {
      const what = typeof command === "function" ? "a command type; call it with a payload" : "not a command";
      throw new DomainDefinitionError(`Cannot process ${what}, like process(Deposit({ … }))`);
    }
    const handler = this.#domain.handlerOf(command.type);
    if (!handler) {
      throw new DomainDefinitionError(`No handler of domain "${this.#domain.name}" takes "${command.type}"`);
    }
    const id = newId();
    const { metadata, idempotencyKey } = options;
    const message = commandMessage(id, command, { longest: this.#config.store.maxMessageBytes, metadata });
    const once = new Once(this.#domain.name, command, id, idempotencyKey);
    const { aggregateId } = command;
    const due = dueOf(options);
    if (due !== null) return await this.#schedule(handler, command, message, due, options, once);
    if (this.#config.commandProcessing === "sync") return await this.#decide(handler, command, message, once);
    const { category, stream } = commandStream(this.#domain, handler, aggregateId);
    const publish = this.#config.enableOutbox;
    const append = { category, stream, expected: "any" as const, messages: [message], publish };
    const { lastPosition, ...result } = await this.#store.commit({ appends: [append], ...once.commit });
    const { repeated, ...sent } = once.sent(result.repeated);
    const { wait, timeout = 30_000 } = options;
    const outcome = wait ? await whileStored(sent.id, () => this.#waits.wait(sent.id, timeout)) : null;
    return { commandId: sent.id, aggregateId: sent.aggregateId, position: lastPosition, outcome, repeated };
  }

  /** What is decided and loaded in this process is read from. */
  get reading(): Reading {
    return {
      readStream: (name, from) => this.#store.readStream(name, { from }),
      readRows: (projection, keys) => this.#store.readRows(projection, keys),
      readTagged: (among, after) => this.#store.readTagged(among, { after }),
      readSnapshot: (stream, fingerprint) => this.#store.readSnapshot(stream, fingerprint),
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
    const { category, stream } = commandStream(this.#domain, handler, aggregateId);
    const entry = { key: key === undefined ? keyless(message.id) : scheduleKey(key), due, category, stream, message };
    const result = await this.#store.commit({ schedule: [entry], ...once.commit });
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
      const [found] = await this.#store.scheduled({ key: name });
      if (!found) return tried !== undefined && !await findRecent(this.#store, tried.stream, tried.message.id);
      tried = found;
      try {
        await this.#store.commit({ release: [{ key: name, dueAt: found.dueAt, id: found.message.id }] });
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
    const { category, stream } = commandStream(this.#domain, handler, aggregateId);
    const command: Message = decode({ ...message, category, stream, version: 0, position: 0 }, this.#domain.types);
    const never = new AbortController().signal;
    const silent = { debug() {}, info() {}, warn() {}, error() {} };
    await this.checkTags();
    for (let rerun = 1;; rerun++) {
      const batch = handler.kind.begin(this.#domain, handler, this.reading);
      await batch.prepare([command]);
      await batch.handle({ message: command, attempt: rerun, signal: never, givenUp: never, log: silent });
      const { appends, snapshots, ...effects } = batch.effects();
      try {
        const publish = this.#config.enableOutbox;
        const { lastPosition, ...result } = await this.#store.commit({
          appends: appends.map((append) => ({ ...append, publish: publish && append.publish })),
          ...effects,
          ...once.commit,
        });
        const { repeated, ...sent } = once.sent(result.repeated);
        if (snapshots.length > 0) await this.#store.writeSnapshots(snapshots).catch(() => {});
        if (this.#config.eventProcessing === "sync" && lastPosition > 0) {
          await whileStored(sent.id, () => this.#handle(lastPosition));
        }
        const outcome = await whileStored(sent.id, () => this.#waits.outcome(sent.id));
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
      await this.place();
      await handleInline(this.#domain, this.#store, this.#config, position);
    };
    await (this.#handling = run());
  }

  /** Refuses to look within boundaries while events that count there have no tags yet; once. */
  async checkTags(): Promise<void> {
    if (this.#domain.boundaries.size === 0 || this.#hasTags) return;
    const sought = taggedBy(this.#domain).filter(({ isSought }) => isSought);
    const [found] = await untaggedTypes(this.#store, sought);
    if (found) {
      throw new DomainDefinitionError(
        `Cannot look within boundaries of domain "${this.#domain.name}": "${found.type}" at position ${found.position} is from before its type had tags; run annals store tag`,
      );
    }
    this.#hasTags = true;
  }

  /** Where no server runs, this client sees to the generations of projections. */
  async place(): Promise<void> {
    if (this.#config.eventProcessing !== "sync") return;
    await (this.#placed ??= placeInline(this.#domain, this.#store));
  }
}

import type { z } from "zod";
import type { Effects } from "../handling/batch.ts";
import type { BatchItem, BatchResult } from "../handling/executor.ts";
import { isGivenKey, keyless } from "../domain/scheduling.ts";
import {
  isInternal,
  type MessageRecord,
  type NewMessage,
  reservationCategory,
  streamName,
} from "../messages/envelope.ts";
import { inherited, senderOf, withSender } from "../messages/sender.ts";
import { COMMAND_END, isInbox, timerKeys } from "../processes/names.ts";
import { isStorable, storable } from "../messages/text.ts";
import type { Tagged } from "../store/port.ts";
import { DEEPEST, depthOf, isLonger, jsonFaults, LONGEST_JSON } from "../messages/json.ts";
import { idFault } from "../messages/ids.ts";
import { generationOf } from "../store/generations.ts";
import type { answerSchema, DomainDescription, HandlerDescription } from "./protocol.ts";

/** A worker's answer to a batch; only its shape has been checked. */
export type Answer = z.infer<typeof answerSchema>;

/**
 * Largest accepted difference between message times and the engine's clock, in milliseconds; hosts share its machine.
 */
const CLOCK_TOLERANCE = 86_400_000;

/** Thrown when an answer from a host is not allowed. */
class Refusal extends Error {}

function refuse(what: string): never {
  throw new Refusal(what);
}

/** Whether a text is JSON that can be stored, and read in views: U+0000 and halves of characters come as escapes. */
function isJson(text: string): boolean {
  try {
    if (depthOf(text) > DEEPEST) return false;
    const value = JSON.parse(text);
    return !text.includes("\\u") || jsonFaults(value).length === 0;
  } catch {
    return false;
  }
}

/** The category that a stream belongs to: the longest matching prefix of its name. */
function categoryOf(stream: string, categories: Iterable<string>): string | undefined {
  let found: string | undefined;
  for (const category of categories) {
    if (stream.startsWith(`${category}-`) && category.length > (found?.length ?? 0)) found = category;
  }
  return found;
}

/** Checks that a sender is told of the end of a command that it has sent, and of nothing else. */
function checkEnd(
  stream: string,
  category: string,
  { type, causationId, data }: NewMessage,
  causes: ReadonlyMap<string, MessageRecord>,
): void {
  const cause = causes.get(causationId ?? "");
  const sender = cause ? senderOf(cause.metadata) : null;
  const isSender = sender !== null && sender.inbox === category && streamName(sender.inbox, sender.id) === stream;
  if (!isSender || type !== COMMAND_END.type) refuse(`an append to "${stream}", which has not sent the command`);
  const { position, id, run } = Object(isJson(data) ? JSON.parse(data) : null);
  if (position !== cause!.position || id !== cause!.id || run !== sender.run) refuse("the end of another command");
}

/** What a group may read and write, derived from its handler's description at startup. Answers are untrusted input. */
export class Capability {
  #domain: DomainDescription;
  #handler: HandlerDescription;
  #sql: boolean;
  #longest: number;
  #events: ReadonlySet<string>;
  #commands: ReadonlySet<string>;
  #reservations: string;
  #unversioned: ReadonlySet<string>;
  /** Its own categories, and whether appends to them expect a version. */
  #parts: ReadonlyMap<string, boolean>;
  #referred: ReadonlySet<string>;
  #tagged: ReadonlySet<string>;
  #sought: ReadonlySet<string>;
  #all: readonly string[];
  #keptByOthers: ReadonlySet<string>;

  /**
   * @param domain The domain.
   * @param handler The handler.
   * @param sql Whether SQL statements were granted.
   * @param longest The longest payload or row, in bytes of JSON.
   */
  constructor(domain: DomainDescription, handler: HandlerDescription, sql: boolean, longest: number = LONGEST_JSON) {
    this.#longest = longest;
    this.#domain = domain;
    this.#handler = handler;
    this.#sql = sql && handler.writes.statements;
    this.#reservations = reservationCategory(domain.name);
    this.#unversioned = new Set(domain.unversioned);
    this.#tagged = new Set(domain.tagged.map(({ type }) => type));
    this.#sought = new Set(domain.tagged.filter(({ isSought }) => isSought).map(({ type }) => type));
    const commands = domain.handlers.filter(({ writes }) => writes.outcomes).flatMap(({ categories }) => categories);
    this.#commands = new Set(commands);
    const parts = new Set(domain.parts);
    this.#events = new Set(
      Object.keys(domain.categories).filter((category) => !this.#commands.has(category) && !parts.has(category)),
    );
    this.#parts = new Map(handler.appends.map(({ category, isVersioned }) => [category, isVersioned]));
    this.#referred = new Set(handler.refersTo);
    this.#all = [...Object.keys(domain.categories), this.#reservations];
    const others = domain.handlers.filter(({ name }) => name !== handler.name);
    this.#keptByOthers = new Set(others.flatMap(({ keeps }) => keeps.map((rows) => generationOf(rows).projection)));
  }

  /** Whether it may read a stream. */
  mayRead(stream: string): boolean {
    const category = categoryOf(stream, this.#all);
    if (category === undefined) return false;
    if (this.#parts.get(category)) return true;
    return this.#handler.writes.events && (this.#events.has(category) || category === this.#reservations);
  }

  /** Whether it may read how commands ended: it hears of their ends. */
  get mayReadOutcomes(): boolean {
    return this.#handler.handles.includes(COMMAND_END.type);
  }

  /** Whether it may read a message by its position. */
  mayReadAt({ category }: MessageRecord): boolean {
    return this.#referred.has(category);
  }

  /** Whether it may read messages by their tags. */
  mayReadTagged(among: readonly Tagged[]): boolean {
    return this.#handler.writes.events && among.every(({ types }) => types.every((type) => this.#sought.has(type)));
  }

  /** Whether it may read rows of a projection. */
  mayReadRows(projection: string): boolean {
    const { rows } = this.#handler.writes;
    return rows === "any" || (rows === "kept" && this.#handler.keeps.includes(projection));
  }

  #mayWriteRows(projection: string): boolean {
    const { writes: { rows }, keeps } = this.#handler;
    // A handler of any rows has none of a generation.
    if (rows === "any") return !projection.includes("@") && !this.#keptByOthers.has(projection);
    return rows === "kept" && keeps.includes(projection);
  }

  /**
   * Checks an answer.
   *
   * @param answer What a worker answered.
   * @param items What it was asked to handle.
   * @param now The current time, in milliseconds since 1970.
   * @returns The batch's result, or a text that says why the answer is rejected.
   */
  check(answer: Answer, items: readonly BatchItem[], now: number): BatchResult | string {
    try {
      const seen = new Set<number>();
      for (const i of [...answer.handled, ...answer.failures.map(([i]) => i)]) {
        if (i >= items.length) refuse(`message index ${i} in a batch of ${items.length}`);
        if (seen.has(i)) refuse(`message ${i} twice`);
        seen.add(i);
      }
      const failing = new Set<string>();
      const failed = new Set(answer.failures.map(([i]) => i));
      for (const [i, { record }] of items.entries()) {
        if (failed.has(i)) failing.add(record.stream);
        else if (!seen.has(i) && !answer.stuck && !failing.has(record.stream)) refuse(`no result for message ${i}`);
      }
      if (answer.stuck && answer.failures.length === 0) refuse("a timeout without a failed message");
      const effects = this.#effects(answer, items, now);
      const failures = new Map(answer.failures.map(([i, { error, stack, ...failure }]) => [i, {
        ...failure,
        error: storable(error, error.length),
        stack: stack === null ? null : storable(stack, stack.length),
      }]));
      return { effects, handled: answer.handled, failures, stuck: answer.stuck };
    } catch (error) {
      if (error instanceof Refusal) return error.message;
      throw error;
    }
  }

  #effects({ effects, handled }: Answer, items: readonly BatchItem[], now: number): Effects {
    const { writes } = this.#handler;
    if (Object.values(effects).every(({ length }) => length === 0)) return effects;
    const causes = new Map(handled.map((i) => [items[i].record.id, items[i].record]));
    const positions = new Set(handled.map((i) => items[i].record.position));
    const checked = (category: string, message: NewMessage): NewMessage => {
      const { type, schemaVersion, causationId, data, time, metadata } = message;
      this.#checkType(category, type, schemaVersion);
      const cause = causes.get(causationId ?? "") ?? refuse(`a message not caused by any message of the batch`);
      if (Math.abs(time - now) > CLOCK_TOLERANCE) {
        refuse(`a message dated ${time}, more than a day from this machine's clock`);
      }
      if (!isJson(data)) refuse("a payload that is not JSON");
      this.#checkLength("a payload", data);
      if (message.tags && !this.#tagged.has(type)) refuse(`tags of a "${type}", which has none`);
      if (message.tags && !message.tags.every(isStorable)) refuse("a tag that cannot be stored");
      return { ...message, correlationId: cause.correlationId, metadata: this.#metadata(category, metadata, cause) };
    };
    const appends = effects.appends.map((append) => {
      const { stream, category, expected, messages, publish } = append;
      this.#checkStream(stream, category, expected, publish);
      if (this.#isTelling(category)) { for (const message of messages) checkEnd(stream, category, message, causes); }
      return { ...append, messages: messages.map((message) => checked(category, message)) };
    });
    const schedule = effects.schedule.map((entry) => {
      const { key, category, stream, message } = entry;
      this.#checkStream(stream, category, "any", true);
      const isOwn = this.#parts.has(category) ? this.#isTimer(key) : this.#isOwnKey(key) || key === keyless(message.id);
      if (!isOwn) refuse(`a scheduled message with the key "${key}"`);
      return { ...entry, message: checked(category, message) };
    });
    for (const key of effects.unschedule) {
      if (!this.#isOwnKey(key) && !this.#isTimer(key)) refuse(`the cancellation of what is scheduled as "${key}"`);
    }
    for (const { projection, key, row, position } of effects.rows) {
      if (!this.#mayWriteRows(projection)) refuse(`a row of projection "${projection}", which it may not write`);
      if (idFault(key) !== null) refuse(`a row with the key ${JSON.stringify(key.slice(0, 40))}`);
      if (!positions.has(position)) refuse(`a row at position ${position}, which is not in the batch`);
      if (row !== null && !isJson(row)) refuse("a row that is not JSON");
      if (row !== null) this.#checkLength("a row", row);
    }
    for (const { stream, state } of effects.snapshots) {
      if (!this.mayRead(stream)) refuse(`a snapshot of stream "${stream}", which it may not read`);
      if (!isJson(state)) refuse("a snapshot that is not JSON");
      this.#checkLength("a snapshot", state);
    }
    const decided = new Set<string>();
    for (const { commandId, detail } of effects.outcomes) {
      if (!writes.outcomes || !causes.has(commandId)) refuse("the outcome of a command that is not in the batch");
      if (decided.has(commandId)) refuse("two outcomes of one command");
      if (!isJson(detail)) refuse("an outcome that is not JSON");
      decided.add(commandId);
    }
    if (effects.deliveries.length > 0 && !writes.deliveries) refuse("an event for another system");
    for (const { position, event } of effects.deliveries) {
      if (!positions.has(position)) refuse(`an event of position ${position}, which is not in the batch`);
      if (!isJson(event)) refuse("an event that is not JSON");
      this.#checkLength("an event", event);
    }
    if (effects.statements.length > 0 && !this.#sql) refuse("an SQL statement, which was not granted");
    for (const { parts, values } of effects.statements) {
      if (parts.length !== values.length + 1) refuse("an SQL statement with the wrong number of values");
    }
    return { ...effects, appends, schedule };
  }

  /** Whether it may schedule something by a key, or cancel it. */
  #isOwnKey(key: string): boolean {
    return this.#handler.writes.commands && isGivenKey(key);
  }

  /** Whether a key in the schedule is that of one of its timers. */
  #isTimer(key: string): boolean {
    return this.#parts.size > 0 && this.#handler.writes.commands && key.startsWith(timerKeys(this.#handler.name));
  }

  /** Whether it is only by telling the senders of commands how these ended that it appends to a category. */
  #isTelling(category: string): boolean {
    return this.#handler.writes.outcomes && isInbox(this.#domain.name, category);
  }

  /** What a message inherits, and who is to hear how it ends: an instance whose input it follows from. */
  #metadata(category: string, metadata: string | null, cause: MessageRecord): string | null {
    const inheritance = inherited(cause.metadata);
    const sender = this.#commands.has(category) ? senderOf(metadata) : null;
    if (sender === null) return inheritance;
    const isOwn = this.#handler.categories.includes(sender.inbox) && this.#domain.parts.includes(sender.inbox);
    if (!isOwn || cause.stream !== streamName(cause.category, sender.id)) refuse("a command in the name of another");
    return withSender(inheritance, sender);
  }

  #checkLength(what: string, text: string): void {
    if (isLonger(text, this.#longest)) refuse(`${what} of more than max_message_bytes = ${this.#longest}`);
  }

  #checkStream(stream: string, category: string, expected: number | "any", publish: boolean): void {
    const { writes } = this.#handler;
    const isCommand = this.#commands.has(category);
    const isEvent = this.#events.has(category) || category === this.#reservations;
    const isVersioned = this.#parts.get(category);
    const isPart = isVersioned !== undefined || this.#isTelling(category);
    if (!(isCommand && writes.commands) && !(isEvent && writes.events) && !isPart) {
      refuse(`an append to category "${category}", which it may not write`);
    }
    // Whom a command's end is told, the command says.
    if (!this.#isTelling(category) && categoryOf(stream, this.#all) !== category) {
      refuse(`an append to stream "${stream}", which is not of category "${category}"`);
    }
    const id = stream.slice(category.length + 1);
    // A unique value stands behind its field.
    if (idFault(category === this.#reservations ? id.slice(id.indexOf(":") + 1) : id) !== null) {
      refuse("an append to a stream whose name cannot be stored");
    }
    const isAny = isCommand || this.#unversioned.has(category) || (isPart && !isVersioned);
    if ((expected === "any") !== isAny) refuse(`an append to "${stream}" that expects ${expected}`);
    if (publish === isInternal(category)) refuse(`an append to "${stream}" that is${publish ? "" : " not"} published`);
  }

  #checkType(category: string, type: string, schemaVersion: number): void {
    if (category === this.#reservations) {
      if (/^Value(Reserved|Released)$/.test(type) && schemaVersion === 1) return;
    } else if (this.#isTelling(category)) {
      if (type === COMMAND_END.type && schemaVersion === COMMAND_END.version) return;
    } else if (this.#domain.categories[category]?.includes(type) && this.#domain.types[type] === schemaVersion) return;
    refuse(`version ${schemaVersion} of "${type}" in category "${category}"`);
  }
}

import type { Aggregate } from "../domain/aggregate.ts";
import { commandStream } from "../domain/command_handler.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain, Handler } from "../domain/model.ts";
import type { Projection } from "../domain/projection.ts";
import { LocalRunner } from "../handling/runner.ts";
import type { Effects, Reading } from "../handling/batch.ts";
import { decode } from "../messages/codec.ts";
import { type Draft, isInternal, type Message, type MessageRecord, type NewMessage } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { newId } from "../messages/ids.ts";

/** How a command ended. */
export type Decided =
  | { readonly status: "accepted" }
  | { readonly status: "refused"; readonly field: string; readonly rule: string; readonly message: string };

/** What a handler may take: nothing takes long here, but a promise that never resolves must end. */
const TIMEOUT = 10_000;

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** Copies a payload as it would be stored and read. */
export function stored(payload: unknown): unknown {
  return JSON.parse(JSON.stringify(payload));
}

/** When a test begins, unless it says otherwise. */
export const BEGIN: number = Date.UTC(2026, 0, 1);

/** Creates a message as a client would store it. */
export function newMessage({ type, schemaVersion, payload }: Draft, now: number): NewMessage {
  const id = newId();
  const data = JSON.stringify(payload);
  return { id, type, schemaVersion, time: now, correlationId: id, causationId: null, data, metadata: null };
}

/** Creates what runs a handler as on a server. */
export function runnerOf(
  domain: Domain,
  handler: Handler,
  reading: Pick<Reading, "readStream" | "readRows" | "readAt" | "now">,
): LocalRunner {
  return new LocalRunner(domain, handler, { reading, timeout: TIMEOUT, log: SILENT });
}

/** Lets a handler handle one message; throws if that fails other than by a refusal. */
export async function handleOne(runner: LocalRunner, { name }: Handler, record: MessageRecord): Promise<Effects> {
  const result = await runner.run([{ record, attempt: 1 }], new AbortController().signal);
  if (result === "apart") throw new Error(`"${name}" has no result for "${record.type}"`);
  for (const { error, stack } of result.failures.values()) {
    const failure = new Error(`"${name}" failed on "${record.type}": ${error}`);
    if (stack !== null) failure.stack = `Error: ${failure.message}\n${stack}`;
    throw failure;
  }
  return result.effects;
}

/** The streams and rows of a domain in plain maps. Handlers run as on a server, one message at a time. */
export class World {
  #domain: Domain;
  #log: MessageRecord[] = [];
  #streams = new Map<string, MessageRecord[]>();
  #rows = new Map<string, string>();
  /** How many messages of the log each projector has seen. */
  #projected = new Map<Handler, number>();
  /** The time, in milliseconds since 1970. */
  now: number;

  /**
   * Creates an empty world.
   *
   * @param domain The domain.
   * @param now The time to begin with.
   */
  constructor(domain: Domain, now: number) {
    this.#domain = domain;
    this.now = now;
  }

  /** Returns the aggregate that an event belongs to. */
  aggregateOf({ kind, type }: Draft): Aggregate {
    const found = [...this.#domain.aggregates.values()].find(({ events }) =>
      events.some((event) => event.type === type)
    );
    if (kind === "event" && found) return found;
    throw new DomainDefinitionError(`"${type}" is not an event of domain "${this.#domain.name}"`);
  }

  /** Appends events that have happened. */
  happened(id: string, drafts: readonly Draft[]): Message[] {
    return drafts.flatMap((draft) => {
      const aggregate = this.aggregateOf(draft);
      const stream = this.#domain.streamOf(aggregate, id);
      return this.#append(this.#domain.categoryOf(aggregate), stream, [newMessage(draft, this.now)]);
    });
  }

  /** Lets the domain decide a command. */
  async decide(command: CommandDraft): Promise<{ readonly decided: Decided; readonly events: readonly Message[] }> {
    const handler = this.#domain.handlerOf(command.type);
    if (!handler) {
      throw new DomainDefinitionError(`No handler of domain "${this.#domain.name}" takes "${command.type}"`);
    }
    const { category, stream } = commandStream(this.#domain, handler, command.aggregateId);
    const { appends, outcomes } = await this.#run(handler, {
      ...newMessage(command, this.now),
      category,
      stream,
      version: 0,
      position: this.#log.length + 1,
    });
    const [{ status, detail }] = outcomes;
    const { field, rule, message } = JSON.parse(detail);
    const decided: Decided = status === "refused" ? { status, field, rule, message } : { status: "accepted" };
    return { decided, events: this.#write(appends) };
  }

  /** Lets a handler react to an event; returns the commands that it sends. */
  async react(handler: Handler, event: Message): Promise<readonly Message[]> {
    const record = this.#log[event.position - 1];
    const { appends, rows } = await this.#run(handler, record);
    this.#keep(rows);
    const commands = appends.flatMap(({ category, stream, messages }) =>
      messages.map((message) => ({ ...message, category, stream, version: 0, position: 0 }))
    );
    return commands.map((command) => decode(command, this.#domain.types));
  }

  /** Returns a row of a projection; whoever keeps it has seen everything. */
  async row(projection: Projection, key: string): Promise<unknown> {
    const keeper = this.#domain.keeperOf(projection.name);
    if (keeper) await this.#project(keeper);
    const row = this.#rows.get(rowName(projection.name, key));
    return row === undefined ? null : JSON.parse(row);
  }

  async #project(projector: Handler): Promise<void> {
    const categories = new Set(this.#domain.categoriesOf(projector));
    const handles = new Set(projector.kind.handles(projector).map(({ type }) => type));
    const from = this.#projected.get(projector) ?? 0;
    this.#projected.set(projector, this.#log.length);
    for (const record of this.#log.slice(from)) {
      if (!categories.has(record.category) || !handles.has(record.type)) continue;
      this.#keep((await this.#run(projector, record)).rows);
    }
  }

  #keep(rows: Effects["rows"]): void {
    for (const { projection, key, row } of rows) {
      if (row === null) this.#rows.delete(rowName(projection, key));
      else this.#rows.set(rowName(projection, key), row);
    }
  }

  async #run(handler: Handler, record: MessageRecord): Promise<Effects> {
    const runner = runnerOf(this.#domain, handler, {
      readStream: (stream, from) => Promise.resolve(this.#streams.get(stream)?.slice(from) ?? []),
      readRows: (projection, keys) =>
        Promise.resolve(keys.flatMap((key) => {
          const row = this.#rows.get(rowName(projection, key));
          return row === undefined ? [] : [{ key, row }];
        })),
      now: () => this.now,
    });
    return await handleOne(runner, handler, record);
  }

  #write(appends: Effects["appends"]): Message[] {
    return appends.flatMap(({ category, stream, messages }) => {
      const added = this.#append(category, stream, messages);
      return isInternal(category) ? [] : added;
    });
  }

  #append(category: string, stream: string, messages: readonly NewMessage[]): Message[] {
    const before = this.#streams.get(stream) ?? [];
    this.#streams.set(stream, before);
    return messages.map((message) => {
      const record = { ...message, category, stream, version: before.length, position: this.#log.length + 1 };
      before.push(record);
      this.#log.push(record);
      // Unique values are no message of the domain.
      return isInternal(category) ? record as never : decode(record, this.#domain.types);
    });
  }
}

function rowName(projection: string, key: string): string {
  return JSON.stringify([projection, key]);
}

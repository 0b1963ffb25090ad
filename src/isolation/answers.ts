import { commandStream } from "../domain/command_handler.ts";
import type { CommandDraft } from "../domain/handlers.ts";
import type { Domain } from "../domain/model.ts";
import { keptBy } from "../projections/place.ts";
import { decode } from "../messages/codec.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { DomainDefinitionError, PayloadError } from "../messages/errors.ts";
import { jsonSchemaOf } from "../messages/schema_fields.ts";
import { tagsFor } from "../messages/tags.ts";
import { storable } from "../messages/text.ts";
import { read, textOf } from "../messages/thrown.ts";
import { describe } from "./describe.ts";
import type { createGuard } from "./timeout.ts";
import type {
  DomainQuestion,
  DomainSchemas,
  DraftAnswer,
  Drafted,
  FromWorker,
  JsonSchema,
  ReadPayload,
} from "./protocol.ts";

/** The longest state that is shown, as JSON text, in characters. */
const LONGEST_STATE = 100_000;

/** The most faults of a payload that are named. */
const MOST_FAULTS = 100;

/** How long the domain's code may take for one message, in milliseconds, and how many may take longer before none is tried. */
const TIMEOUT = 3_000;
const MOST_LATE = 3;

/** Why there is no answer. */
const LATE = `the domain's code did not finish within ${TIMEOUT / 1000} s`;

/** The answer to a question of its type, without the number of the question. */
type Answer = FromWorker extends infer M ? M extends { readonly id: number } ? Omit<M, "id"> : never : never;

/** Answers what the engine asks a domain's code outside of any session. It writes nothing. */
export class DomainAnswers {
  #guard: ReturnType<typeof createGuard>;
  /** What was folded last, to go on with. */
  #folded: { readonly stream: string; readonly state: unknown } | undefined;

  /** @param guard Runs code under a time limit. */
  constructor(guard: ReturnType<typeof createGuard>) {
    this.#guard = guard;
  }

  /** Answers a question. */
  answer(domain: Domain, question: DomainQuestion): Answer {
    switch (question.t) {
      case "describe":
        return { t: "described", description: describe(domain) };
      case "decode":
        return { t: "decoded", payloads: this.#decode(domain, question.records) };
      case "fold":
        return { t: "folded", states: this.#fold(domain, question) };
      case "draft":
        return { t: "drafted", answer: (this.#within(() => draftOf(domain, question)) ?? { late: LATE }) as never };
      case "schemas":
        return { t: "schemas", schemas: schemasOf(domain) as never };
    }
  }

  /** Returns what `work` does; `undefined` if it takes too long. A loop ends, and the worker goes on. */
  #within<T>(work: () => T): T | undefined {
    try {
      return this.#guard(work, TIMEOUT);
    } catch (error) {
      if (read(error, "code") === "ERR_SCRIPT_EXECUTION_TIMEOUT") return undefined;
      throw error;
    }
  }

  #decode(domain: Domain, records: readonly MessageRecord[]): ReadPayload[] {
    const payloads: ReadPayload[] = [];
    const unreadable = { payload: null, unreadable: LATE };
    for (let late = 0; payloads.length < records.length && late < MOST_LATE;) {
      // All under one limit, which is enough for nearly all; whoever was in hand gets one of its own.
      const done = this.#within(() => {
        while (payloads.length < records.length) payloads.push(payloadOf(domain, records[payloads.length]));
        return true;
      });
      if (done) break;
      const payload = this.#within(() => payloadOf(domain, records[payloads.length]));
      if (payload === undefined) late++;
      payloads.push(payload ?? unreadable);
    }
    return [...payloads, ...records.slice(payloads.length).map(() => unreadable)];
  }

  /** The state after each message, as JSON text; `null` from the first one on that cannot be applied. */
  #fold(domain: Domain, { records, isFirst }: DomainQuestion & { t: "fold" }): (string | null)[] {
    const [first] = records;
    const aggregate = first && [...domain.aggregates.values()].find((one) => domain.categoryOf(one) === first.category);
    const before = this.#folded;
    this.#folded = undefined;
    if (!aggregate || !(isFirst || before?.stream === first.stream)) return records.map(() => null);
    const states: (string | null)[] = [];
    try {
      this.#within(() => {
        let state = isFirst ? aggregate.initial() : before!.state;
        for (const record of records) {
          state = aggregate.apply(state, decode(record, domain.types));
          const text = JSON.stringify(state) ?? "null";
          states.push(text.length > LONGEST_STATE ? JSON.stringify(`${text.slice(0, 1_000)}…`) : text);
        }
        this.#folded = { stream: first.stream, state };
      });
    } catch {
      // What does not decode, or breaks `evolve`, has no state after it.
    }
    return [...states, ...Array<null>(records.length - states.length).fill(null)];
  }
}

function payloadOf({ types }: Domain, record: MessageRecord): ReadPayload {
  try {
    const { payload } = decode(record, types);
    const tags = tagsFor(types.get(record.type)!, payload);
    return { payload, ...(tags.length > 0 && { tags: [...tags] }) };
  } catch (error) {
    return { payload: null, unreadable: String(read(error, "reason") ?? textOf(error)) };
  }
}

function draftOf(domain: Domain, { type, payload }: DomainQuestion & { t: "draft" }): DraftAnswer {
  const handler = domain.handlerOf(type);
  if (!handler) return { known: [...domain.types.keys()].filter((name) => domain.handlerOf(name)) };
  try {
    const make = domain.types.get(type) as unknown as (payload: unknown) => CommandDraft;
    const { schemaVersion, payload: checked, aggregateId } = make(JSON.parse(payload));
    const at = commandStream(domain, handler, aggregateId);
    const draft: Drafted = { type, schemaVersion, payload: JSON.stringify(checked), aggregateId, ...at };
    return { draft };
  } catch (error) {
    if (error instanceof PayloadError) return { faults: error.faults.slice(0, MOST_FAULTS) };
    // A `target` that throws, or returns no id.
    const text = error instanceof DomainDefinitionError ? error.message : textOf(error);
    return { error: storable(text, 2_000) };
  }
}

function schemasOf(domain: Domain): DomainSchemas {
  const types = [...domain.types.values()];
  const [commands, events]: Record<string, JsonSchema>[] = [{}, {}];
  for (const { type, schema } of types) {
    const category = domain.categoryOfEvent(type);
    if (domain.handlerOf(type)) commands[type] = jsonSchemaOf(schema, "input");
    // Others are of parts of handlers.
    else if (category !== undefined && !domain.parts.has(category)) events[type] = jsonSchemaOf(schema, "output");
  }
  const projections: Record<string, JsonSchema> = {};
  // The newest version is the last one.
  for (const { projection } of keptBy(domain)) projections[projection.name] = jsonSchemaOf(projection.schema, "output");
  return { commands, events, projections };
}

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

/** The answer to a question of its type, without the number of the question. */
type Answer = FromWorker extends infer M ? M extends { readonly id: number } ? Omit<M, "id"> : never : never;

/** Answers what the engine asks a domain's code outside of any session. It writes nothing. */
export class DomainAnswers {
  /** What was folded last, to go on with. */
  #folded: { readonly stream: string; readonly state: unknown } | undefined;

  /** Answers a question. */
  answer(domain: Domain, question: DomainQuestion): Answer {
    switch (question.t) {
      case "describe":
        return { t: "described", description: describe(domain) };
      case "decode":
        return { t: "decoded", payloads: question.records.map((record) => payloadOf(domain, record)) };
      case "fold":
        return { t: "folded", states: this.#fold(domain, question) };
      case "draft":
        return { t: "drafted", answer: draftOf(domain, question) as never };
      case "schemas":
        return { t: "schemas", schemas: schemasOf(domain) as never };
    }
  }

  /** The state after each message, as JSON text; `null` from the first one on that cannot be applied. */
  #fold(domain: Domain, { records, isFirst }: DomainQuestion & { t: "fold" }): (string | null)[] {
    const [first] = records;
    const aggregate = first && [...domain.aggregates.values()].find((one) => domain.categoryOf(one) === first.category);
    const before = this.#folded;
    this.#folded = undefined;
    if (!aggregate || !(isFirst || before?.stream === first.stream)) return records.map(() => null);
    let state = isFirst ? aggregate.initial() : before!.state;
    const states: (string | null)[] = [];
    try {
      for (const record of records) {
        state = aggregate.apply(state, decode(record, domain.types));
        const text = JSON.stringify(state) ?? "null";
        states.push(text.length > LONGEST_STATE ? JSON.stringify(`${text.slice(0, 1_000)}…`) : text);
      }
      this.#folded = { stream: first.stream, state };
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

import type { Message } from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import type { EventType, NameOf, PayloadOf } from "../messages/message_type.ts";
import { whatIs } from "../messages/names.ts";
import { tagFault } from "../messages/tags.ts";
import type { Tagged } from "../store/port.ts";
import type { Named } from "./aggregate.ts";
import { evolution } from "./evolution.ts";

/** The part of an event that a boundary's `evolve` sees, identical for a new event and one read from the log. */
export type BoundaryEvent<Name extends string = string, Payload = unknown> = Pick<
  Message<Name, Payload>,
  "type" | "payload" | "aggregateId" | "time"
>;

/** One pure function per event that returns the next state. */
export type BoundaryEvolve<Key, State, Events extends readonly EventType[]> = {
  readonly [Name in NameOf<Events[number]>]: (
    state: State,
    event: BoundaryEvent<Name, PayloadOf<Named<Events[number], Name>>>,
    key: Key,
  ) => State;
};

/** Events with a tag; of all types of the boundary, or of some. */
export interface Among<Name extends string = string> {
  /** The tag. */
  readonly tag: string;
  /** The names of the event types. @default {all of the boundary} */
  readonly types?: readonly Name[];
}

/** Settings of {@linkcode boundary}. */
export interface BoundaryOptions<Key, State, Events extends readonly EventType[]> {
  /** The event types that it looks at; each has `tags`. */
  readonly events: Events;
  /** Which events count for a key: those that have one of these tags, and one of its types. */
  readonly among: (key: Key) => readonly Among<NameOf<NoInfer<Events>[number]>>[];
  /** The state before the first event. */
  readonly initial: () => State;
  /** One pure function per event that returns the next state. */
  readonly evolve: NoInfer<BoundaryEvolve<Key, State, Events>>;
}

/** A consistency boundary across aggregates: the events with certain tags, whatever streams they are in. */
export interface Boundary<
  Name extends string = string,
  Key = any,
  State = any,
  Events extends readonly EventType[] = readonly EventType[],
> {
  /** The discriminator of domain parts. */
  readonly kind: "boundary";
  /** Its name, unique in the domain. */
  readonly name: Name;
  /** The event types that it looks at. */
  readonly events: Events;
  /** Which events count for a key. */
  readonly among: (key: Key) => readonly Tagged[];
  /** The state before the first event. */
  readonly initial: () => State;
  /** Applies an event and returns the next state. */
  readonly apply: (state: State, event: BoundaryEvent, key: Key) => State;
}

/** What the key of a boundary is made of: commands whose payloads have it are decided within the boundary. */
export type KeyOf<B> = B extends Boundary<string, infer Key> ? Key : never;

/** The most tags that a decision may look for. */
const MOST_TAGS = 100;

/**
 * Defines a consistency boundary across aggregates. A command that is decided within it looks at all events with certain
 * tags; if another one comes in between, it is decided again.
 *
 * The technique is the [dynamic consistency boundary](https://dcb.events).
 *
 * @param name Its name, unique in the domain.
 * @param options Its events, which of them count, and how the state is folded from them.
 * @returns The boundary, to be passed to {@linkcode domain} and {@linkcode commandHandler}.
 * @throws {DomainDefinitionError} If `evolve` and `events` do not match, or an event has no tags.
 *
 * @example A course has seats, and a student takes three courses at most
 * ```ts
 * import { boundary, event, type } from "@annals/annals";
 *
 * const CourseOpened = event("CourseOpened", {
 *   schema: type<{ courseId: string; seats: number }>(),
 *   tags: ({ courseId }) => [`course:${courseId}`],
 * });
 * const Subscribed = event("Subscribed", {
 *   schema: type<{ courseId: string; studentId: string }>(),
 *   tags: ({ courseId, studentId }) => [`course:${courseId}`, `student:${studentId}`],
 * });
 * const Seat = boundary("Seat", {
 *   events: [CourseOpened, Subscribed],
 *   among: (key: { courseId: string; studentId: string }) => [
 *     { tag: `course:${key.courseId}` },
 *     { tag: `student:${key.studentId}`, types: ["Subscribed"] },
 *   ],
 *   initial: () => ({ free: 0, taken: 0 }),
 *   evolve: {
 *     CourseOpened: (state, { payload }) => ({ ...state, free: state.free + payload.seats }),
 *     Subscribed: ({ free, taken }, { payload }, key) => ({
 *       free: payload.courseId === key.courseId ? free - 1 : free,
 *       taken: payload.studentId === key.studentId ? taken + 1 : taken,
 *     }),
 *   },
 * });
 * console.log(Seat.among({ courseId: "c", studentId: "s" }).length); // 2
 * ```
 */
export function boundary<const Name extends string, Key, State, const Events extends readonly EventType[]>(
  name: Name,
  options: BoundaryOptions<Key, State, Events>,
): Boundary<Name, Key, State, Events> {
  const { events, among } = options;
  const { initial, apply } = evolution("boundary", name, options);
  if (typeof among !== "function") {
    throw new DomainDefinitionError(
      `Cannot define boundary "${name}": "among" is no function; write among: (key) => [{ tag: … }]`,
    );
  }
  for (const { type, tags } of events) {
    if (tags) continue;
    throw new DomainDefinitionError(
      `Cannot define boundary "${name}": event "${type}" has no tags, so it would never be found; give it some, like event("${type}", { …, tags: ({ id }) => [\`id:\${id}\`] })`,
    );
  }
  const all = events.map(({ type }) => type);
  return Object.freeze({
    kind: "boundary" as const,
    name,
    events,
    among: (key: Key) => selected(name, all, among(key)),
    initial,
    apply,
  });
}

/** Checks what a boundary looks for. */
function selected(name: string, all: readonly string[], among: unknown): readonly Tagged[] {
  const refuse = (fault: string) => new DomainDefinitionError(`among of boundary "${name}" ${fault}`);
  if (!Array.isArray(among) || among.length === 0) {
    throw refuse(`returned ${Array.isArray(among) ? "no tags" : whatIs(among)}; return a list, like [{ tag: … }]`);
  }
  if (among.length > MOST_TAGS) throw refuse(`returned ${among.length} tags; at most ${MOST_TAGS} are allowed`);
  return among.map((one) => {
    const { tag, types = all } = Object(one) as { tag?: unknown; types?: readonly string[] };
    const fault = tagFault(tag);
    if (fault !== null) throw refuse(`returned a tag that cannot be: ${fault}`);
    const stranger = types.find((type) => !all.includes(type));
    if (stranger !== undefined) throw refuse(`names "${stranger}", which is not one of its events`);
    return { tag: tag as string, types };
  });
}

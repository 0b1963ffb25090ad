import type { Boundary, BoundaryEvent } from "../domain/boundary.ts";
import type { Loaded } from "../domain/context.ts";
import type { Domain } from "../domain/model.ts";
import { deepFreeze } from "../domain/freeze.ts";
import { decode } from "../messages/codec.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { jsonFaults } from "../messages/json.ts";
import { tagsFor } from "../messages/tags.ts";
import type { AppendCondition, Tagged } from "../store/port.ts";
import type { Reading } from "./batch.ts";

/** An event with its tags: new, or read. */
interface TaggedEvent {
  readonly event: BoundaryEvent;
  readonly tags: readonly string[];
}

/** What is known within a boundary for a key. */
interface Known {
  readonly boundary: Boundary;
  readonly key: unknown;
  readonly among: readonly Tagged[];
  /** The state as of the position that the log was read up to. */
  readonly read: Loaded<unknown>;
  /** The same with the first so many new events that were kept. */
  state: unknown;
  seen: number;
  /** Whether a step that was kept was decided on it. */
  isUsed: boolean;
}

/** What one tag selects. */
interface Part {
  readonly events: readonly (TaggedEvent & { readonly position: number })[];
  /** The log's last position when it was read. */
  readonly last: number;
}

function matches(among: readonly Tagged[], { event: { type }, tags }: TaggedEvent): boolean {
  return among.some(({ tag, types }) => types.includes(type) && tags.includes(tag));
}

/** The states within boundaries that the steps of a unit of work are decided on, with the new events of these steps. */
export class BoundaryStates {
  #domain: Domain;
  #reading: Reading;
  #known = new Map<string, Known>();
  /** What was read, by what selects it. */
  #parts = new Map<string, Promise<Part>>();
  #kept: TaggedEvent[] = [];
  #step: TaggedEvent[] = [];
  #used = new Set<Known>();

  /**
   * Knows nothing yet.
   *
   * @param domain The domain.
   * @param reading What to read from.
   */
  constructor(domain: Domain, reading: Reading) {
    this.#domain = domain;
    this.#reading = reading;
  }

  /** By what a state is known: a key has to be JSON, so that two of them are the same only if they are. */
  #name(boundary: Boundary, key: unknown): string {
    const [fault] = jsonFaults(key);
    if (!fault) return `boundary ${boundary.name} ${JSON.stringify(key)}`;
    throw new DomainDefinitionError(
      `Cannot look within boundary "${boundary.name}": its key is not JSON (${
        fault.path || "the key"
      }: ${fault.message})`,
    );
  }

  /** Whether a boundary is loaded for a key, so that {@linkcode BoundaryStates.state} can be used. */
  has(boundary: Boundary, key: unknown): boolean {
    return this.#known.has(this.#name(boundary, key));
  }

  /** Reads what counts, beyond what earlier batches have read. */
  async load(boundary: Boundary, key: unknown): Promise<void> {
    const { name: domain, boundaries } = this.#domain;
    if (boundaries.get(boundary.name) !== boundary) {
      throw new DomainDefinitionError(
        `Boundary "${boundary.name}" is not one of domain "${domain}"; add it to "boundaries"`,
      );
    }
    const name = this.#name(boundary, key);
    if (this.#known.has(name)) return;
    const { cache, guard = (work) => work() } = this.#reading;
    // A copy that nobody can change: it may be the payload of a command.
    const frozen = deepFreeze(JSON.parse(JSON.stringify(key)));
    const among = guard(() => boundary.among(frozen));
    const cached = cache?.get(name);
    // Others append all the time: unlike that of a stream, a state is never taken for the newest.
    const parts = await Promise.all(among.map((one) => this.#read(one, cached?.version ?? 0)));
    // Each was read at its own moment: what is known is what was known at the first of them.
    const last = Math.min(...parts.map(({ last }) => last));
    const found = new Map(parts.flatMap(({ events }) => events).map((one) => [one.position, one]));
    const events = [...found.values()].filter(({ position }) => position <= last)
      .sort((a, b) => a.position - b.position);
    const state = guard(() => {
      let state = cached?.state ?? boundary.initial();
      for (const one of events) if (matches(among, one)) state = boundary.apply(state, one.event, frozen);
      return state;
    });
    if (this.#known.has(name)) return;
    const read = { state, version: Math.max(last, cached?.version ?? 0) };
    this.#known.set(name, { boundary, key: frozen, among, read, state, seen: 0, isUsed: false });
  }

  /** Reads what one tag selects; once for all keys that look for it. */
  #read(one: Tagged, after: number): Promise<Part> {
    const name = JSON.stringify([one, after]);
    let part = this.#parts.get(name);
    if (!part) this.#parts.set(name, part = this.#fetch(one, after));
    return part;
  }

  async #fetch(one: Tagged, after: number): Promise<Part> {
    const { readTagged, guard = (work) => work() } = this.#reading;
    const { messages, last } = await readTagged!([one], after);
    const { types } = this.#domain;
    const events = guard(() =>
      messages.map((record) => {
        const event = decode(record, types);
        // It may have had other tags once.
        const tags = tagsFor(types.get(event.type)!, structuredClone(event.payload));
        return { position: record.position, event: deepFreeze(seenOf(event)), tags };
      })
    );
    return { events, last };
  }

  /** Returns the state that a step is decided on. */
  state(boundary: Boundary, key: unknown): Loaded<unknown> {
    const known = this.#known.get(this.#name(boundary, key));
    if (!known) throw new Error(`Boundary "${boundary.name}" was not loaded`);
    this.#used.add(known);
    known.state = this.#fold(known, known.state, this.#kept, known.seen);
    known.seen = this.#kept.length;
    return { state: this.#fold(known, known.state, this.#step, 0), version: known.read.version };
  }

  #fold({ boundary, key, among }: Known, state: unknown, events: readonly TaggedEvent[], from: number): unknown {
    for (let i = from; i < events.length; i++) {
      if (matches(among, events[i])) state = boundary.apply(state, events[i].event, key);
    }
    return state;
  }

  /** Notes a new event of the current step. */
  add(event: BoundaryEvent, tags: readonly string[]): void {
    if (tags.length > 0) this.#step.push({ event: seenOf(event), tags });
  }

  /** Keeps the events of the current step, and what they were decided on. */
  keep(): void {
    this.#kept.push(...this.#step);
    for (const known of this.#used) known.isUsed = true;
    this.drop();
  }

  /** Drops the events of the current step. */
  drop(): void {
    this.#step = [];
    this.#used = new Set();
  }

  /** What has to hold for what was kept. */
  conditions(): AppendCondition[] {
    return [...this.#known.values()].filter(({ isUsed }) => isUsed)
      .map(({ among, read: { version } }) => ({ among, after: version }));
  }

  /** Remembers what was read. */
  settle(): void {
    for (const [name, { read }] of this.#known) this.#reading.cache?.set(name, read);
  }
}

/** What `evolve` sees of an event. */
function seenOf({ type, payload, aggregateId, time }: BoundaryEvent): BoundaryEvent {
  return { type, payload, aggregateId, time };
}

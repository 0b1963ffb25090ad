import type { Aggregate } from "../domain/aggregate.ts";
import type { Boundary } from "../domain/boundary.ts";
import type { Loaded } from "../domain/context.ts";
import type { Draft, Message } from "../messages/envelope.ts";
import type { UnitOfWork } from "./unit_of_work.ts";

/** What a command is decided on: how to find, load and change it. */
export interface Decision {
  /** Which one a command is for. */
  keyOf(command: Message): unknown;
  /** Whether it is loaded, so that `state()` can be used. */
  has(key: unknown): boolean;
  /** Loads it. */
  load(key: unknown): Promise<unknown>;
  /** Returns its state, with what was appended so far. */
  state(key: unknown): Loaded<unknown>;
  /** Appends what a command led to. */
  append(command: Message, drafts: readonly Draft[]): void;
}

/** On an aggregate: the one that the command is for. */
function onAggregate(unit: UnitOfWork, aggregate: Aggregate): Decision {
  return {
    keyOf: ({ aggregateId }) => aggregateId,
    has: (id) => unit.has(aggregate, id as string),
    load: (id) => unit.load(aggregate, id as string),
    state: (id) => unit.state(aggregate, id as string),
    append: ({ aggregateId }, drafts) => unit.append(aggregate, aggregateId, drafts),
  };
}

/** Within a boundary: the command's payload says which events count. */
function withinBoundary(unit: UnitOfWork, boundary: Boundary): Decision {
  return {
    keyOf: ({ payload }) => payload,
    has: (key) => unit.boundaries.has(boundary, key),
    load: (key) => unit.boundaries.load(boundary, key),
    state: (key) => unit.boundaries.state(boundary, key),
    append: ({ aggregateId }, drafts) => unit.appendWithin(boundary, aggregateId, drafts),
  };
}

/** How commands are decided, by what on. */
const DECISIONS: Record<(Aggregate | Boundary)["kind"], (unit: UnitOfWork, target: any) => Decision> = {
  aggregate: onAggregate,
  boundary: withinBoundary,
};

/**
 * Returns how a command is decided.
 *
 * @param unit Where what follows is collected.
 * @param target What it is decided on.
 */
export function decisionOn(unit: UnitOfWork, target: Aggregate | Boundary): Decision {
  // What is neither is refused like an aggregate that is not the domain's.
  return (DECISIONS[target?.kind] ?? onAggregate)(unit, target);
}

import {
  boundaryCategory,
  categoryName,
  commandCategory,
  factCategory,
  partCategory,
  streamName,
} from "../messages/envelope.ts";
import { DomainDefinitionError } from "../messages/errors.ts";
import { idFault } from "../messages/ids.ts";
import { checkParts } from "../messages/names.ts";
import type { EventType, MessageType } from "../messages/message_type.ts";
import type { Aggregate } from "./aggregate.ts";
import type { Boundary } from "./boundary.ts";
import { generationOf, rowsOf } from "../store/generations.ts";
import type { Domain, Handler } from "./model.ts";

/** Settings of {@linkcode domain}. */
export interface DomainOptions {
  /** Its aggregates. */
  readonly aggregates: readonly Aggregate[];
  /** Its boundaries. @default {none} */
  readonly boundaries?: readonly Boundary[];
  /** Its handlers; each is a consumer group. */
  readonly handlers: readonly Handler[];
}

/** Where the parts of a domain are listed that commands are decided on. */
const LISTS = { aggregate: "aggregates", boundary: "boundaries" } as const;

function addUnique<T>(map: Map<string, T>, what: string, name: string, value: T): void {
  const found = map.get(name);
  if (found !== undefined && found !== value) {
    throw new DomainDefinitionError(`Cannot define the domain: two ${what}s are called "${name}"`);
  }
  map.set(name, value);
}

/**
 * Defines a domain.
 *
 * @param name Its name, in lower case, which prefixes the names of its streams.
 * @param options Its aggregates and handlers.
 * @returns The domain, to be the default export of its module.
 * @throws {DomainDefinitionError} If names collide, or a handler uses an event that no aggregate has.
 *
 * @example The smallest domain
 * ```ts
 * import { aggregate, domain, event, type } from "@annals/annals";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Counter = aggregate("Counter", {
 *   events: [Counted],
 *   initial: () => 0,
 *   evolve: { Counted: (state, event) => state + event.payload.by },
 * });
 * const counting = domain("counting", { aggregates: [Counter], handlers: [] });
 * console.log(counting.categoryOf(Counter)); // counting::counter
 * ```
 */
export function domain(name: string, options: DomainOptions): Domain {
  if (!/^[a-z][a-z0-9-]*$/.test(name)) {
    throw new DomainDefinitionError(
      `Cannot define domain "${name}": a name starts with a lower-case letter and has only a-z, 0-9 and "-"`,
    );
  }
  const aggregates = new Map<string, Aggregate>();
  const handlers = new Map<string, Handler>();
  const types = new Map<string, MessageType>();
  const owners = new Map<EventType, Aggregate>();
  const deciders = new Map<string, Handler>();
  const categories = new Set<string>();

  checkParts(`domain "${name}"`, "aggregates", options.aggregates, ({ kind }) => kind === "aggregate");
  checkParts(`domain "${name}"`, "handlers", options.handlers, ({ kind }) => typeof kind?.begin === "function");
  for (const aggregate of options.aggregates) {
    addUnique(aggregates, "aggregate", aggregate.name, aggregate);
    const category = categoryName(name, aggregate.name);
    if (categories.has(category)) {
      throw new DomainDefinitionError(
        `Cannot define domain "${name}": two aggregates share the category "${category}"`,
      );
    }
    categories.add(category);
    for (const event of aggregate.events) {
      addUnique(types, "message type", event.type, event);
      const owner = owners.get(event);
      if (owner && owner !== aggregate) {
        throw new DomainDefinitionError(
          `Cannot define domain "${name}": event "${event.type}" is of both "${owner.name}" and "${aggregate.name}"`,
        );
      }
      owners.set(event, aggregate);
    }
  }
  const factsOf = new Map<EventType, string>();
  for (const { name: owner, facts } of options.aggregates) {
    if (!facts) continue;
    const category = factCategory(categoryName(name, owner));
    const { type } = facts.event;
    if (categories.has(category)) {
      throw new DomainDefinitionError(
        `Cannot define domain "${name}": the facts of "${owner}" would share the category "${category}" with an aggregate; rename that`,
      );
    }
    if (owners.has(facts.event) || factsOf.has(facts.event)) {
      throw new DomainDefinitionError(
        `Cannot define domain "${name}": "${type}" is the fact of "${owner}", and an event or fact of another aggregate; define one for each`,
      );
    }
    addUnique(types, "message type", type, facts.event);
    categories.add(category);
    factsOf.set(facts.event, category);
  }
  const facts = new Set(factsOf.values());
  const boundaries = new Map<string, Boundary>();
  checkParts(`domain "${name}"`, "boundaries", options.boundaries ?? [], ({ kind }) => kind === "boundary");
  for (const boundary of options.boundaries ?? []) {
    addUnique(boundaries, "boundary", boundary.name, boundary);
    const category = categoryName(name, boundary.name);
    if (categories.has(category)) {
      throw new DomainDefinitionError(
        `Cannot define domain "${name}": boundary "${boundary.name}" has the name of an aggregate or another boundary; rename one`,
      );
    }
    categories.add(category);
    for (const event of boundary.events) {
      addUnique(types, "message type", event.type, event);
      if (!factsOf.has(event)) continue;
      throw new DomainDefinitionError(
        `Cannot define domain "${name}": boundary "${boundary.name}" looks for "${event.type}", which is a fact: it follows from events, so look for those`,
      );
    }
  }
  /** Events that no aggregate has are in a category of their own: several boundaries may look at them. */
  const free = new Set(
    [...boundaries.values()].flatMap(({ events }) => events).filter((event) =>
      !owners.has(event) && !factsOf.has(event)
    ),
  );

  const categoryOf = (aggregate: Aggregate): string => categoryName(name, aggregate.name);
  // Loan "application-7" and LoanApplication "7" would be one stream.
  const sharedPrefixes = new Map<Aggregate, readonly (readonly [prefix: string, other: string])[]>();
  for (const aggregate of aggregates.values()) {
    const own = `${categoryOf(aggregate)}-`;
    const longer = [...aggregates.values()].filter((other) => categoryOf(other).startsWith(own));
    const itsFacts = facts.has(factCategory(categoryOf(aggregate)))
      ? [["fact-", `the facts of ${aggregate.name}`] as const]
      : [];
    sharedPrefixes.set(aggregate, [
      ...longer.map((other) => [`${categoryOf(other).slice(own.length)}-`, other.name] as const),
      ...itsFacts,
    ]);
  }
  const streamOf = (aggregate: Aggregate, id: string): string => {
    if (aggregates.get(aggregate?.name) !== aggregate) {
      throw new DomainDefinitionError(
        aggregate?.kind === "aggregate"
          ? `Aggregate "${aggregate.name}" is not one of domain "${name}"; add it to "aggregates"`
          : `Cannot use ${
            JSON.stringify(aggregate) ?? String(aggregate)
          } as an aggregate; pass what aggregate() returned`,
      );
    }
    const fault = idFault(id);
    if (fault !== null) {
      throw new DomainDefinitionError(`Cannot use this id for aggregate "${aggregate.name}": ${fault}`);
    }
    for (const [prefix, other] of sharedPrefixes.get(aggregate) ?? []) {
      if (!id.startsWith(prefix)) continue;
      throw new DomainDefinitionError(
        `Cannot use id ${JSON.stringify(id)} for aggregate "${aggregate.name}": its stream would be that of ${other} ${
          JSON.stringify(id.slice(prefix.length))
        }; use ids that do not start with ${JSON.stringify(prefix)}`,
      );
    }
    return streamName(categoryOf(aggregate), id);
  };
  const categoryOfEvent = (event: MessageType): string | undefined => {
    const owner = owners.get(event as EventType);
    if (owner) return categoryOf(owner);
    return factsOf.get(event as EventType) ?? (free.has(event as EventType) ? boundaryCategory(name) : undefined);
  };
  const refuseUse = (handler: Handler, what: string, kind: keyof typeof LISTS): never => {
    throw new DomainDefinitionError(
      `Cannot define domain "${name}": handler "${handler.name}" needs ${what}; add the ${kind} to "${LISTS[kind]}"`,
    );
  };
  const categoryRead = (handler: Handler, event: MessageType): string =>
    categoryOfEvent(event) ?? refuseUse(handler, `event "${event.type}", which no aggregate has`, "aggregate");
  const read = new Map<Handler, readonly string[]>();
  const parts = new Map<string, readonly string[]>();
  const partOwners = new Map<string, string>();
  /** By rows. */
  const keepers = new Map<string, Handler>();
  const newest = new Map<string, number>();
  for (const handler of options.handlers.flatMap((one) => [one, ...one.kind.companions?.(one) ?? []])) {
    if (handlers.has(handler.name)) {
      throw new DomainDefinitionError(`Cannot define domain "${name}": two handlers are called "${handler.name}"`);
    }
    handlers.set(handler.name, handler);
    for (const { name: projection, version } of handler.kind.keeps(handler)) {
      const rows = rowsOf(projection, version);
      const other = keepers.get(rows);
      newest.set(projection, Math.max(newest.get(projection) ?? 0, version));
      if (other) {
        throw new DomainDefinitionError(
          `Cannot define domain "${name}": "${other.name}" and "${handler.name}" both keep the rows of projection "${projection}" and would overwrite each other's; make them one projector, or give each a projection of its own`,
        );
      }
      keepers.set(rows, handler);
      // Of one handler, there are only versions of one projection.
      const same = generationOf(handler.name).projection;
      const another = [...keepers].find(([kept, keeper]) =>
        generationOf(keeper.name).projection === same && generationOf(kept).projection !== projection
      );
      if (another) {
        throw new DomainDefinitionError(
          `Cannot define domain "${name}": two projectors are called "${same}", of projections "${projection}" and "${
            generationOf(another[0]).projection
          }"; rename one`,
        );
      }
    }
    const partsRead = handler.kind.reads?.(handler) ?? [];
    for (const { owner, part, types: its } of [...partsRead, ...handler.kind.appends?.(handler) ?? []]) {
      const category = partCategory(name, owner, part);
      const other = partOwners.get(category) ?? owner;
      if (other !== owner) {
        throw new DomainDefinitionError(
          `Cannot define domain "${name}": handlers "${other}" and "${owner}" would share the category "${category}"; rename one`,
        );
      }
      partOwners.set(category, owner);
      parts.set(category, [...new Set([...parts.get(category) ?? [], ...its.map(({ type }) => type)])]);
      for (const type of its) addUnique(types, "message type", type.type, type);
    }
    for (const event of handler.kind.refersTo?.(handler) ?? []) {
      categoryRead(handler, event);
    }
    const decidedFor = handler.kind.decidesFor(handler);
    if (decidedFor) {
      const isAggregate = aggregates.get(decidedFor.name) === decidedFor;
      if (!isAggregate && boundaries.get(decidedFor.name) !== decidedFor) {
        refuseUse(handler, `${decidedFor.kind} "${decidedFor.name}"`, decidedFor.kind);
      }
      read.set(handler, [commandCategory(categoryName(name, decidedFor.name))]);
      for (const command of handler.kind.handles(handler)) {
        addUnique(types, "message type", command.type, command);
        const other = deciders.get(command.type);
        if (other) {
          throw new DomainDefinitionError(
            `Cannot define domain "${name}": command "${command.type}" is handled by both "${other.name}" and "${handler.name}"`,
          );
        }
        deciders.set(command.type, handler);
      }
    } else {
      const inParts = new Set(partsRead.flatMap(({ types }) => types));
      const found = handler.kind.handles(handler).filter((event) => !inParts.has(event)).map((event) =>
        categoryRead(handler, event)
      );
      const itsParts = partsRead.map(({ owner, part }) => partCategory(name, owner, part));
      read.set(handler, [...new Set([...found, ...itsParts])]);
    }
  }
  const writers = new Map<string, Handler>();
  for (const handler of handlers.values()) {
    for (const { name: rows } of handler.kind.puts?.(handler) ?? []) {
      const other = keepers.get(rowsOf(rows, newest.get(rows) ?? 1)) ?? writers.get(rows);
      if (other) {
        throw new DomainDefinitionError(
          `Cannot define domain "${name}": "${handler.name}" writes rows of projection "${rows}", and so does "${other.name}": they would overwrite each other's; write to a projection of its own`,
        );
      }
      writers.set(rows, handler);
    }
    for (const { type } of handler.kind.sends?.(handler) ?? []) {
      if (deciders.has(type)) continue;
      throw new DomainDefinitionError(
        `Cannot define domain "${name}": "${handler.name}" sends "${type}", and no handler takes this command`,
      );
    }
  }
  return Object.freeze({
    kind: "domain" as const,
    name,
    aggregates,
    boundaries,
    handlers,
    types,
    categoryOf,
    facts,
    categoryOfEvent: (event: string) => {
      const type = types.get(event);
      return type && categoryOfEvent(type);
    },
    streamOf,
    parts,
    categoriesOf: (handler: Handler) => read.get(handler) ?? [],
    handlerOf: (command: string) => deciders.get(command),
    keeperOf: (projection: string) => keepers.get(rowsOf(projection, newest.get(projection) ?? 1)),
    rowsOf: (projection: string) => newest.has(projection) ? rowsOf(projection, newest.get(projection)!) : projection,
  });
}

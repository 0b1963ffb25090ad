import type { Draft } from "./envelope.ts";
import { DomainDefinitionError } from "./errors.ts";
import { idFault, newId } from "./ids.ts";
import { checkName } from "./names.ts";
import { checkSchema, type InputOf, type OutputOf, type Schema, validate } from "./schema.ts";

/** Converts a payload from one version to the next; must be pure. */
export type Upcaster = (payload: any) => unknown;

/** The properties common to event and command types. */
export interface MessageType<Name extends string = string, Payload = any> {
  /** Its name, unique in the domain. */
  readonly type: Name;
  /** The current version of its schema, from 1. */
  readonly version: number;
  /** The schema of the current version. */
  readonly schema: Schema;
  /** Upcasts from version n to n + 1, keyed by n. */
  readonly upcast: Readonly<Record<number, Upcaster>>;
  /** What boundaries find a message by; pure. */
  readonly tags?: (payload: any) => readonly string[];
  /** Carries the payload's type; absent at run time. */
  readonly payloadType?: Payload;
}

/** An event type; call it with a payload to create an event. */
export interface EventType<Name extends string = string, Payload = any, Input = any>
  extends MessageType<Name, Payload> {
  /** Validates the payload and creates an event. */
  (payload: Input): Draft<Name, Payload>;
  /** The discriminator between events and commands. */
  readonly kind: "event";
}

/** A command type; call it with a payload to create a command. */
export interface CommandType<Name extends string = string, Payload = any, Input = any>
  extends MessageType<Name, Payload> {
  /** Validates the payload and creates a command. */
  (payload: Input): Draft<Name, Payload> & { readonly aggregateId: string };
  /** The discriminator between commands and events. */
  readonly kind: "command";
}

/** The payload of an event or command type. */
export type PayloadOf<T> = T extends MessageType<string, infer Payload> ? Payload : never;

/** The name of an event or command type. */
export type NameOf<T> = T extends MessageType<infer Name> ? Name : never;

/** The version before, for those that types can count. */
export interface VersionBefore {
  /** Version 1. */
  readonly 2: 1;
  /** Version 2. */
  readonly 3: 2;
  /** Version 3. */
  readonly 4: 3;
  /** Version 4. */
  readonly 5: 4;
  /** Version 5. */
  readonly 6: 5;
  /** Version 6. */
  readonly 7: 6;
  /** Version 7. */
  readonly 8: 7;
  /** Version 8. */
  readonly 9: 8;
}

/** All versions before one. */
export type VersionsBelow<V> = V extends keyof VersionBefore ? VersionBefore[V] | VersionsBelow<VersionBefore[V]>
  : never;

/** An upcaster for each older version: the last one has to return what the schema takes. */
export type Upcasts<V extends number, Newest> = V extends keyof VersionBefore
  ? { readonly [From in VersionsBelow<V>]: (payload: any) => From extends VersionBefore[V] ? Newest : unknown }
  : Readonly<Record<number, Upcaster>>;

/** Settings common to events and commands. */
export interface MessageOptions<S extends Schema, V extends number = number> {
  /** The newest version of the schema. @default {1} */
  readonly version?: V;
  /** What the payload looks like: any Standard Schema, or {@linkcode type} for a plain TypeScript type. */
  readonly schema: S;
  /**
   * From version n to n + 1, keyed by n: a payload of version 1 passes all of them on its way up. What the last one
   * returns is checked by the schema.
   */
  readonly upcast?: Upcasts<V, InputOf<S>>;
}

/** Settings of {@linkcode event}. */
export interface EventOptions<S extends Schema, V extends number = number> extends MessageOptions<S, V> {
  /**
   * What boundaries find the event by, like `({ courseId }) => ["course:" + courseId]`: at most 50 texts of 200
   * characters. Must be pure. Events that are stored already get theirs by `annals store tag`.
   */
  readonly tags?: (payload: OutputOf<S>) => readonly string[];
}

/** Settings of {@linkcode command}. */
export interface CommandOptions<S extends Schema, V extends number = number> extends MessageOptions<S, V> {
  /**
   * Returns the id of the target aggregate.
   *
   * @default A new id, so that the command creates an aggregate.
   */
  readonly target?: (payload: OutputOf<S>) => string;
}

function checkVersions(kind: string, name: string, version: number, upcast: Readonly<Record<number, Upcaster>>): void {
  checkName(kind, name, ".");
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new DomainDefinitionError(`Cannot define ${kind} "${name}": version ${version} is not a whole number from 1`);
  }
  for (let v = 1; v < version; v++) {
    if (typeof upcast[v] !== "function") {
      throw new DomainDefinitionError(
        `Cannot define ${kind} "${name}" version ${version}: no upcast from version ${v} to ${
          v + 1
        }; add "upcast: { ${v}: (payload) => … }"`,
      );
    }
  }
  for (const key of Object.keys(upcast)) {
    if (!/^[1-9]\d*$/.test(key) || Number(key) >= version) {
      throw new DomainDefinitionError(
        `Cannot define ${kind} "${name}" version ${version}: the upcast from version ${key} leads past it`,
      );
    }
  }
}

function define<F extends object>(
  make: F,
  kind: string,
  name: string,
  options: MessageOptions<Schema> & Pick<EventOptions<Schema>, "tags">,
): F {
  const { version = 1, schema, upcast = {}, tags } = options;
  checkVersions(kind, name, version, upcast);
  checkSchema(`${kind} "${name}"`, schema);
  if (tags !== undefined && typeof tags !== "function") {
    throw new DomainDefinitionError(
      `Cannot define ${kind} "${name}": "tags" is no function; write tags: (payload) => […]`,
    );
  }
  return Object.freeze(
    Object.assign(make, {
      kind,
      type: name,
      version,
      schema,
      upcast: Object.freeze({ ...upcast }),
      ...(tags && { tags }),
    }),
  );
}

/**
 * Defines an event type.
 *
 * @param name Its name, unique in the domain.
 * @param options Its schema and version.
 * @returns The event type, which is also a function that creates such events.
 * @throws {DomainDefinitionError} If the chain of upcasts has a gap.
 *
 * @example An event whose second version added a field
 * ```ts
 * import { event } from "@annals/annals";
 * import { z } from "zod";
 *
 * const DepositMade = event("DepositMade", {
 *   version: 2,
 *   schema: z.object({ amount: z.int(), sourceType: z.string() }),
 *   upcast: { 1: (v1: { amount: number }) => ({ ...v1, sourceType: "unknown" }) },
 * });
 * DepositMade({ amount: 500, sourceType: "salary" });
 * ```
 */
export function event<const Name extends string, S extends Schema, const V extends number = 1>(
  name: Name,
  options: EventOptions<S, V>,
): EventType<Name, OutputOf<S>, InputOf<S>> {
  const { version = 1, schema } = options;
  const make = (payload: InputOf<S>): Draft<Name, OutputOf<S>> => ({
    kind: "event",
    type: name,
    schemaVersion: version,
    payload: validate(name, schema, payload),
  });
  return define(make, "event", name, options as EventOptions<Schema>) as EventType<Name, OutputOf<S>, InputOf<S>>;
}

/**
 * Defines a command type.
 *
 * @param name Its name, unique in the domain.
 * @param options Its schema and target aggregate.
 * @returns The command type, which is also a function that creates such commands.
 * @throws {DomainDefinitionError} If the chain of upcasts has a gap.
 *
 * @example A command for an existing account
 * ```ts
 * import { command } from "@annals/annals";
 * import { z } from "zod";
 *
 * const MakeDeposit = command("MakeDeposit", {
 *   schema: z.object({ accountId: z.string(), amount: z.int() }),
 *   target: (payload) => payload.accountId,
 * });
 * MakeDeposit({ accountId: "42", amount: 500 });
 * ```
 */
export function command<const Name extends string, S extends Schema, const V extends number = 1>(
  name: Name,
  options: CommandOptions<S, V>,
): CommandType<Name, OutputOf<S>, InputOf<S>> {
  const { version = 1, schema, target = newId } = options;
  const make = (payload: InputOf<S>) => {
    const checked = validate(name, schema, payload);
    const aggregateId = target(checked);
    const fault = idFault(aggregateId);
    if (fault !== null) {
      throw new DomainDefinitionError(
        `Cannot make command "${name}": its target must be an aggregate's id, but ${fault}`,
      );
    }
    return { kind: "command", type: name, schemaVersion: version, payload: checked, aggregateId };
  };
  return define(make, "command", name, options as MessageOptions<Schema>) as unknown as CommandType<
    Name,
    OutputOf<S>,
    InputOf<S>
  >;
}

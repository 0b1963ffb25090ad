import { MOST_ELEMENTS } from "./frames.ts";
import { z } from "zod";
import type { PermissionGrant } from "../config/config.ts";
import type { Writes } from "../domain/model.ts";
import type { BatchItem } from "../handling/executor.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import type { Fault } from "../messages/errors.ts";
import { LONGEST_TAG, MOST_TAGS } from "../messages/tags.ts";
import type { CommandOutcome, Snapshot } from "../store/port.ts";

/** A handler, as described by the domain's code. */
export interface HandlerDescription {
  /** Its name. */
  readonly name: string;
  /** Its kind, for display. */
  readonly kind: string;
  /** The categories it reads. */
  readonly categories: readonly string[];
  /** The message types it handles. */
  readonly handles: readonly string[];
  /** What it may write. */
  readonly writes: Writes;
  /** The projections it keeps. */
  readonly keeps: readonly string[];
  /** The permissions it requests. */
  readonly permissions: PermissionGrant;
  /** Retry settings that override the server's. */
  readonly retries?: number;
  /** Categories that it appends to besides those of aggregates and commands. */
  readonly appends: readonly { readonly category: string; readonly isVersioned: boolean }[];
  /** Categories whose messages it reads by their positions. */
  readonly refersTo: readonly string[];
  /** What it was called before. */
  readonly formerly?: string;
  /** Where it begins to read when it is new and the log is not. */
  readonly startsAt: "now" | "start";
  /** Whether the stream of a dead letter waits until that is replayed. */
  readonly halts: boolean;
  /** The type of CloudEvents that are received for it, and the category that they are put into. */
  readonly receives?: { readonly type: string; readonly category: string };
}

/** A domain, as described by its code. */
export interface DomainDescription {
  /** Its name. */
  readonly name: string;
  /** Its handlers. */
  readonly handlers: readonly HandlerDescription[];
  /** The categories of its aggregates, of their commands and of parts of handlers, each with its message types. */
  readonly categories: Readonly<Record<string, readonly string[]>>;
  /** Those of them that are parts of handlers. */
  readonly parts: readonly string[];
  /** Those of events that are appended whatever version the stream has. */
  readonly unversioned: readonly string[];
  /** The event types that have tags, and whether a boundary looks for them. */
  readonly tagged: readonly { readonly type: string; readonly category: string; readonly isSought: boolean }[];
  /** The message types its code knows, with their versions. */
  readonly types: Readonly<Record<string, number>>;
  /** Its projections that handlers keep, each version of its own. */
  readonly projections: readonly ProjectionDescription[];
}

/** One version of a projection, as described by the domain's code. */
export interface ProjectionDescription {
  /** Its name. */
  readonly name: string;
  /** The version. */
  readonly version: number;
  /** The handler that keeps it. */
  readonly group: string;
  /** The field that identifies a row. */
  readonly key: string;
  /** The fields that its schema declares, with their JSON types. */
  readonly fields: readonly { readonly name: string; readonly type: string }[];
  /** Its indexes: lists of fields. */
  readonly indexes: readonly (readonly string[])[];
}

/** A payload as decoded by the domain's code. */
export interface ReadPayload {
  /** Upcast to the current version. */
  readonly payload: unknown;
  /** Its tags, if it has some. */
  readonly tags?: string[];
  /** The reason, if it cannot be decoded. */
  readonly unreadable?: string;
}

/** One partition of a group, as a worker knows it. The session's name is an unguessable capability. */
export interface SessionSpec {
  /** The session. */
  readonly session: string;
  /** The consumer group. */
  readonly group: string;
  /** How long one message may take, in milliseconds. */
  readonly timeout: number;
  /** Whether SQL statements were granted. */
  readonly sql: boolean;
  /** The longest payload or row, in bytes of JSON. */
  readonly longest: number;
}

/** Messages from the engine to a host's main thread. */
export type ToHost =
  | {
    readonly t: "start";
    readonly worker: number;
    readonly name: string;
    readonly permissions: Deno.PermissionOptionsObject;
    readonly env: Readonly<Record<string, string>>;
    readonly module: string;
    readonly secret: string;
  }
  | { readonly t: "end"; readonly worker: number };

/** What a worker is started with. */
export interface WorkerGreeting {
  /** Where the engine listens: the path of a Unix socket, or a local port. */
  readonly address: string | number;
  /** The secret that the worker authenticates with. */
  readonly secret: string;
  /** The environment variables it was granted. */
  readonly env: Readonly<Record<string, string>>;
  /** The domain's module: a URL. */
  readonly module: string;
}

/** The first frame on every connection. */
export const helloSchema = z.strictObject({ t: z.literal("hello"), secret: z.string().max(200) });

/** What a domain's code is asked outside of any session. */
export type DomainQuestion =
  | { readonly t: "describe" }
  | { readonly t: "decode"; readonly records: readonly MessageRecord[] }
  /** The states of an aggregate after some more of its messages; `isFirst`: from the beginning. */
  | { readonly t: "fold"; readonly records: readonly MessageRecord[]; readonly isFirst: boolean }
  /** Checks the payload of a command, JSON text, and says where the command goes. */
  | { readonly t: "draft"; readonly type: string; readonly payload: string }
  /** JSON schemas of commands, events and rows. */
  | { readonly t: "schemas" };

/** A command that was checked, and where it goes. */
export interface Drafted {
  /** Its type's name, and the version of its schema. */
  readonly type: string;
  readonly schemaVersion: number;
  /** JSON text of the payload. */
  readonly payload: string;
  /** The target aggregate's id. */
  readonly aggregateId: string;
  /** The category and stream of the command. */
  readonly category: string;
  readonly stream: string;
}

/** What came of an attempt to make a command. */
export type DraftAnswer =
  | { readonly draft: Drafted }
  /** The payload has faults. */
  | { readonly faults: readonly Fault[] }
  /** The domain's code cannot make one of it. */
  | { readonly error: string }
  /** The domain's code did not finish in time. */
  | { readonly late: string }
  /** The domain has no such command; these are those it has. */
  | { readonly known: readonly string[] };

/** JSON schemas, by name; an empty one for what does not say. */
export interface DomainSchemas {
  /** Of the payloads of commands, as they are sent. */
  readonly commands: Readonly<Record<string, JsonSchema>>;
  /** Of the payloads of events. */
  readonly events: Readonly<Record<string, JsonSchema>>;
  /** Of the rows of projections. */
  readonly projections: Readonly<Record<string, JsonSchema>>;
}

/** A JSON schema (draft 2020-12). */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Messages from the engine to a worker. */
export type ToWorker =
  | DomainQuestion & { readonly id: number }
  | { readonly t: "open"; readonly session: SessionSpec }
  | { readonly t: "close"; readonly session: string }
  | {
    readonly t: "batch";
    readonly session: string;
    readonly n: number;
    readonly items: readonly BatchItem[];
    /** Whether the effects of the previous batch were written; `undefined` if there was none. */
    readonly written?: boolean;
    /** Whether nothing may be kept in mind of what was read or written before. */
    readonly forget: boolean;
  }
  | { readonly t: "abort"; readonly session: string; readonly n: number }
  | { readonly t: "records"; readonly q: number; readonly records: readonly MessageRecord[]; readonly more: boolean }
  | {
    readonly t: "rows";
    readonly q: number;
    readonly rows: readonly { key: string; row: string | null }[];
    /** How many of the keys, from the first on, they are for. */
    readonly read: number;
  }
  | {
    readonly t: "found";
    readonly q: number;
    readonly records: readonly MessageRecord[];
    /** How many of the positions, from the first on, they are for. */
    readonly read: number;
  }
  | { readonly t: "outcome"; readonly q: number; readonly status: CommandOutcome["status"] | null }
  | { readonly t: "snapshot"; readonly q: number; readonly snapshot: Snapshot | null }
  | {
    readonly t: "tagged";
    readonly q: number;
    readonly records: readonly MessageRecord[];
    readonly more: boolean;
    /** The last position of the log. */
    readonly last: number;
  }
  | { readonly t: "unread"; readonly q: number };

/** What the engine sends a host on stdin when it starts. */
export interface HostGreeting {
  /** Where the engine listens: the path of a Unix socket, or a local port. */
  readonly address: string | number;
  /** The secret that the host authenticates with. */
  readonly secret: string;
  /** The entry module of workers: a URL. */
  readonly worker: string;
}

const whole = z.number().int().nonnegative();
const name = z.string().max(1_000);

/**
 * A list schema that stops at the first fault. Zod would collect a fault per element, so that a worker could block the
 * engine for seconds by sending a million invalid ones.
 */
function list<S extends z.ZodType>(element: S, most: number): z.ZodType<z.infer<S>[]> {
  return z.custom<z.infer<S>[]>(
    (value) => Array.isArray(value) && value.length <= most && value.every((one) => element.safeParse(one).success),
    { error: `expected a list of at most ${most} valid elements` },
  );
}

/** Most elements of one kind in an answer. */
const MOST = MOST_ELEMENTS;

/** Most messages in a batch. */
const MOST_MESSAGES = 10_000;

const id = z.string().regex(/^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/);

const newMessage = z.strictObject({
  id,
  type: name,
  schemaVersion: whole,
  time: whole,
  correlationId: name,
  causationId: name.nullable(),
  data: z.string(),
  metadata: z.string().nullable(),
  tags: list(z.string().min(1).max(LONGEST_TAG), MOST_TAGS).optional(),
});
const tagged = z.strictObject({ tag: z.string().max(LONGEST_TAG), types: list(name, 10_000) });

const append = z.strictObject({
  stream: name,
  category: name,
  expected: z.union([z.number().int().min(-1), z.literal("any")]),
  messages: list(newMessage, MOST),
  publish: z.boolean(),
});
const row = z.strictObject({ projection: name, key: name, row: z.string().nullable(), position: whole });
const scheduleEntry = z.strictObject({
  key: name,
  due: z.union([z.strictObject({ at: z.number().int() }), z.strictObject({ after: whole })]),
  category: name,
  stream: name,
  message: newMessage,
});
const outcome = z.strictObject({
  commandId: name,
  status: z.enum(["accepted", "refused"]),
  detail: z.string().max(1_000_000),
});
const statement = z.strictObject({
  parts: list(z.string(), MOST_MESSAGES),
  values: list(z.union([z.string(), z.number(), z.boolean(), z.null()]), MOST_MESSAGES),
});
const failure = z.strictObject({
  error: z.string().max(20_000),
  stack: z.string().max(40_000).nullable(),
  unreadable: z.enum(["unknown type", "newer version", "damaged", "upcast failed"]).optional(),
  awaits: z.string().regex(/^[A-Za-z][\w.]*@[1-9]\d{0,8}$/).max(1_000).optional(),
  passing: z.literal(true).optional(),
});

const effects = z.strictObject({
  appends: list(append, MOST),
  conditions: list(z.strictObject({ among: list(tagged, 100), after: whole }), MOST_MESSAGES),
  rows: list(row, MOST),
  outcomes: list(outcome, MOST_MESSAGES),
  statements: list(statement, MOST),
  schedule: list(scheduleEntry, MOST),
  unschedule: list(name, MOST),
  snapshots: list(
    z.strictObject({ stream: name, version: whole, message: id, fingerprint: z.string().max(100), state: z.string() }),
    MOST_MESSAGES,
  ),
  deliveries: list(z.strictObject({ position: whole, event: z.string() }), MOST_MESSAGES),
});

/** A worker's answer to a batch. */
export const answerSchema = z.strictObject({
  effects,
  handled: list(whole, MOST_MESSAGES),
  failures: list(z.tuple([whole, failure]), MOST_MESSAGES),
  stuck: z.boolean(),
});

const payload = z.strictObject({
  payload: z.unknown(),
  tags: list(z.string().min(1).max(LONGEST_TAG), MOST_TAGS).optional(),
  unreadable: z.string().optional(),
});

const draft = z.strictObject({
  type: name,
  schemaVersion: whole,
  payload: z.string(),
  aggregateId: name,
  category: name,
  stream: name.max(2_000),
});
const fault = z.strictObject({ path: z.string().max(10_000), message: z.string().max(20_000) });
const schemas = z.record(name, z.record(z.string(), z.unknown()));

/** Messages from a worker to the engine. */
export const fromWorkerSchema = z.discriminatedUnion("t", [
  z.strictObject({ t: z.literal("ready") }),
  z.strictObject({ t: z.literal("unready"), message: z.string().max(20_000) }),
  z.strictObject({ t: z.literal("described"), id: whole, description: z.unknown() }),
  z.strictObject({
    t: z.literal("decoded"),
    id: whole,
    payloads: list(payload, MOST),
  }),
  z.strictObject({ t: z.literal("folded"), id: whole, states: list(z.string().nullable(), MOST) }),
  z.strictObject({
    t: z.literal("drafted"),
    id: whole,
    answer: z.union([
      z.strictObject({ draft }),
      z.strictObject({ faults: list(fault, 10_000) }),
      z.strictObject({ error: z.string().max(20_000) }),
      z.strictObject({ late: z.string().max(1_000) }),
      z.strictObject({ known: list(name, 10_000) }),
    ]),
  }),
  z.strictObject({
    t: z.literal("schemas"),
    id: whole,
    schemas: z.strictObject({ commands: schemas, events: schemas, projections: schemas }),
  }),
  z.strictObject({
    t: z.literal("done"),
    session: name,
    n: whole,
    answer: z.union([answerSchema, z.literal("apart"), z.literal("void")]),
  }),
  z.strictObject({ t: z.literal("stream"), session: name, n: whole, q: whole, stream: name, from: whole }),
  z.strictObject({
    t: z.literal("keys"),
    session: name,
    n: whole,
    q: whole,
    projection: name,
    keys: list(name, 100_000),
  }),
  z.strictObject({ t: z.literal("outcome"), session: name, n: whole, q: whole, command: name }),
  z.strictObject({
    t: z.literal("snapshot"),
    session: name,
    n: whole,
    q: whole,
    stream: name,
    fingerprint: z.string().max(100),
  }),
  z.strictObject({
    t: z.literal("tagged"),
    session: name,
    n: whole,
    q: whole,
    among: list(tagged, 100),
    after: whole,
    upTo: whole.nullable(),
  }),
  z.strictObject({
    t: z.literal("positions"),
    session: name,
    n: whole,
    q: whole,
    positions: list(whole, 1_000),
  }),
  z.strictObject({
    t: z.literal("log"),
    session: name,
    level: z.enum(["debug", "info", "warn", "error"]),
    text: z.string().max(20_000),
    fields: z.record(z.string(), z.unknown()).optional(),
  }),
  z.strictObject({
    t: z.literal("beat"),
    hands: list(z.strictObject({ session: name, n: whole, position: whole, since: z.number() }), 10_000),
    /** How much of its heap it uses, in bytes. */
    heap: whole,
  }),
]);

/** See {@linkcode fromWorkerSchema}. */
export type FromWorker = z.infer<typeof fromWorkerSchema>;

const types = z.record(name, z.number().int().positive());
const names = list(name, 100_000);
const grant = z.strictObject({
  net: names.optional(),
  env: names.optional(),
  read: names.optional(),
  write: names.optional(),
});

/** The description of a domain that a worker may send. */
export const descriptionSchema: z.ZodType<DomainDescription> = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]*$/).max(200),
  handlers: z.array(z.strictObject({
    name: z.string().regex(/^[A-Za-z]\w*(@\d+)?$/).max(200),
    kind: name,
    categories: names,
    handles: names,
    writes: z.strictObject({
      events: z.boolean(),
      commands: z.boolean(),
      rows: z.enum(["kept", "any", "none"]),
      outcomes: z.boolean(),
      statements: z.boolean(),
      deliveries: z.boolean(),
    }),
    keeps: names,
    permissions: grant,
    retries: z.number().int().min(0).max(1_000).optional(),
    appends: z.array(z.strictObject({ category: name, isVersioned: z.boolean() })).max(100),
    refersTo: names,
    formerly: z.string().regex(/^[A-Za-z]\w*$/).max(200).optional(),
    startsAt: z.enum(["now", "start"]),
    halts: z.boolean(),
    receives: z.strictObject({ type: name, category: name }).optional(),
  })).max(10_000),
  categories: z.record(name, names),
  parts: names,
  unversioned: names,
  tagged: list(z.strictObject({ type: name, category: name, isSought: z.boolean() }), 10_000),
  types,
  projections: z.array(z.strictObject({
    name,
    version: z.number().int().positive(),
    group: name,
    key: name,
    fields: z.array(z.strictObject({ name, type: name })),
    indexes: z.array(names),
  })),
}) as z.ZodType<DomainDescription>;

/** Messages from a host's main thread to the engine. */
export const fromHostSchema = z.discriminatedUnion("t", [
  z.strictObject({ t: z.literal("alive") }),
  z.strictObject({ t: z.literal("died"), worker: whole, message: z.string().max(20_000) }),
]);

/** See {@linkcode fromHostSchema}. */
export type FromHost = z.infer<typeof fromHostSchema>;

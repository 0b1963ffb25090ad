/**
 * The entry of every worker: describes a domain, or feeds one handler of it. Nothing here runs with more than the
 * permissions the worker was started with.
 *
 * @module
 */
import type { Broker } from "../broker/port.ts";
import type { HandlerLog } from "../domain/context.ts";
import type { Domain } from "../domain/domain.ts";
import { decode } from "../messages/codec.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { StoreUnavailableError } from "../store/errors.ts";
import type { EventStore } from "../store/port.ts";
import { EventStoreSubscription, type GroupOptions, StreamSubscription } from "../subscriptions/group.ts";
import { HandlerStuckError, UnknownTypeError } from "../subscriptions/errors.ts";
import { openBroker, openStore, type Wakeable } from "./adapters.ts";
import { confine } from "./confine.ts";
import { describe, importDomain } from "./describe.ts";
import { PACKAGE_ROOT } from "./probe.ts";
import { explainRefusal } from "./permissions.ts";
import type { Assignment, FromWorker, ReadPayload, ToWorker } from "./protocol.ts";
import { TIDIED } from "./janitor.ts";
import { remote } from "./remote.ts";
import { Strays } from "./strays.ts";
import { createGuard } from "./watchdog.ts";

/** How often the event loop shows that it turns, in milliseconds. */
const PULSE_INTERVAL = 1_000;

/** The supervisor wakes its workers, and has looked after all for them. */
const EMBEDDED = { pollInterval: 0, create: false, autoCheckpoint: TIDIED, trusted: true, connections: 2 };

const scope = globalThis as unknown as {
  postMessage(message: FromWorker): void;
  addEventListener(type: string, listener: (event: any) => void): void;
};
// Kept before domain code can touch it.
const post = scope.postMessage.bind(scope);
const stop = new AbortController();
const wakeable: Wakeable[] = [];

const log: HandlerLog = {
  debug: (text, fields) => post({ type: "log", level: "debug", text, ...plain(fields) }),
  info: (text, fields) => post({ type: "log", level: "info", text, ...plain(fields) }),
  warn: (text, fields) => post({ type: "log", level: "warn", text, ...plain(fields) }),
  error: (text, fields) => post({ type: "log", level: "error", text, ...plain(fields) }),
};

/** Fields as JSON has them: a function in a log line must not bring the worker down. */
function plain(fields: Record<string, unknown> | undefined): { fields?: Record<string, unknown> } {
  return fields ? { fields: JSON.parse(JSON.stringify(fields)) } : {};
}

let group = "*";
const strays = new Strays((position, error) => {
  const whose = position === null ? "Something that a handler let go of" : `What the handler let go of at ${position}`;
  log.error(`${whose} failed after the message was done, and changes nothing: ${explainRefusal(error, group)}`);
});

scope.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  strays.add(event.reason ?? new Error("A promise was rejected without a reason"));
});
scope.addEventListener("error", (event) => {
  event.preventDefault();
  strays.add(event.error ?? new Error(event.message));
});
scope.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  switch (data.type) {
    case "describe":
      return void probe(data.module);
    case "decode":
      return void read(data.module, data.records);
    case "run":
      return void run(data.assignment, data);
    case "stop":
      return stop.abort();
    case "wake":
      for (const adapter of wakeable) adapter.wake?.();
  }
});

async function probe(module: string): Promise<void> {
  confine({}, log);
  try {
    post({ type: "described", description: describe(await importDomain(module)) });
  } catch (error) {
    post({ type: "undescribed", message: `${explainRefusal(error, "*")}${placeOf(error)}` });
  }
}

/** Where in code of the domain something was thrown, when that can be told. */
function placeOf(error: unknown): string {
  const frames = error instanceof Error ? error.stack?.match(/\w+:\/\/[^\s()]+:\d+:\d+/g) ?? [] : [];
  const place = frames.find((frame) => !frame.startsWith(`${PACKAGE_ROOT}src/`) && !/^(ext|node):/.test(frame));
  return place === undefined ? "" : ` (thrown at ${place})`;
}

/** Shows an operator payloads as the domain's code sees them. */
async function read(module: string, records: readonly MessageRecord[]): Promise<void> {
  confine({}, log);
  try {
    const { types } = await importDomain(module);
    const payloads = records.map((record): ReadPayload => {
      try {
        return { payload: decode(record, types).payload };
      } catch (error) {
        return { payload: null, unreadable: (error as { reason?: string }).reason ?? String(error) };
      }
    });
    post({ type: "decoded", payloads });
  } catch (error) {
    post({ type: "undescribed", message: explainRefusal(error, "*") });
  }
}

async function run(assignment: Assignment, ports: { store?: MessagePort; broker?: MessagePort }): Promise<void> {
  const pulse = new Int32Array(assignment.pulse);
  confine(assignment.env, log);
  group = assignment.group;
  let end: FromWorker & { type: "ended" } = { type: "ended", reason: "stopped" };
  let store: EventStore & Wakeable | undefined;
  let broker: Broker & Wakeable | undefined;
  try {
    const opening = { ...EMBEDDED, domain: assignment.domain };
    store = ports.store
      ? remote<EventStore>(ports.store, { kind: "memory", location: "" })
      : await openStore(assignment.store, opening);
    broker = ports.broker
      ? remote<Broker>(ports.broker, { kind: "memory", location: "" })
      : await openBroker(assignment.broker, opening);
    wakeable.push(store, broker);
    const domain = await importDomain(assignment.module);
    // The first beat says that all is loaded: from here on standing still means a handler.
    Atomics.add(pulse, 0, 1);
    setInterval(() => void Atomics.add(pulse, 0, 1), PULSE_INTERVAL);
    await feed(domain, assignment, store, broker);
  } catch (error) {
    const reason = endOf(error);
    const stack = error instanceof Error ? error.stack : undefined;
    const message = explainRefusal(error, assignment.group);
    end = {
      type: "ended",
      reason,
      message,
      ...(stack === undefined ? {} : { stack }),
      ...(error instanceof UnknownTypeError && { unknownType: error.type }),
    };
  }
  // Told at the very end: whoever hears it ends this thread, and its files are to be closed by then.
  await Promise.allSettled([store?.close(), broker?.close()]);
  post(end);
}

/** What the supervisor has to know of an error. */
function endOf(error: unknown): "fenced" | "stuck" | "unsure" | "unknown" | "failed" {
  if (error instanceof HandlerStuckError) return "stuck";
  if (error instanceof UnknownTypeError) return "unknown";
  if ((error as Error)?.name === "FencedError") return "fenced";
  return error instanceof StoreUnavailableError && error.reason === "unsure" ? "unsure" : "failed";
}

/** Feeds the handler until asked to stop. */
async function feed(domain: Domain, assignment: Assignment, store: EventStore, broker: Broker): Promise<void> {
  const { group, partition, partitions, fence, settings, suspicious, outbox, type } = assignment;
  const handler = domain.handlers.get(group);
  if (!handler) throw new Error(`The domain no longer has a handler "${group}"`);
  const options: GroupOptions = {
    domain,
    handler,
    store: telling(store),
    settings,
    partition,
    partitions,
    fence,
    suspicious,
    outbox,
    owner: assignment.owner,
    log,
    explain: (error) => explainRefusal(error, group),
    execution: {
      guard: createGuard(),
      takeStray: () => strays.take(),
      started: (position) => strays.started(position),
    },
  };
  const subscription = type === "stream"
    ? new StreamSubscription({ ...options, broker, consumer: assignment.owner })
    : new EventStoreSubscription(options);
  post({ type: "running" });
  await subscription.run(stop.signal);
}

/** Tells the supervisor of appends, so that the relay need not find out by itself. */
function telling(store: EventStore): EventStore {
  return new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (name === "commit") {
        return async (commit: Parameters<EventStore["commit"]>[0]) => {
          const result = await target.commit(commit);
          if (result.lastPosition > 0) post({ type: "wrote" });
          return result;
        };
      }
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

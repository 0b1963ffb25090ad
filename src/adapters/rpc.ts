import { z } from "zod";
import { BrokerBehindError, BrokerUnavailableError, GroupMissingError } from "../broker/errors.ts";
import {
  AppendConditionError,
  DuplicateMessageError,
  FencedError,
  RowConflictError,
  ScheduleChangedError,
  StatementError,
  StoreUnavailableError,
  WrongExpectedVersionError,
} from "../store/errors.ts";

/** What a peer may send: a call, or the end of one. Whoever sends anything else is cut off. */
const requestSchema = z.union([
  z.strictObject({ abort: z.int() }),
  z.strictObject({ id: z.int(), method: z.string().max(100), given: z.array(z.unknown()).max(10) }),
]);

/** The most calls of a peer that may be running. */
const MOST_CALLS = 10_000;

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: Record<string, unknown>;
}

/** The channel for calls and results: a `MessagePort` or a socket. */
export interface Channel {
  /** Sends a message to the peer. */
  postMessage(message: unknown): void;
  /** Called with each message from the peer. */
  onmessage: ((event: any) => void) | null;
  /** Called when the peer is gone, if the channel can detect it. */
  onclose?: (() => void) | null;
  /** Closes the channel. */
  close(): void;
}

/** A placeholder for an `AbortSignal`, which cannot be serialised. */
const SIGNAL = "\u0000signal";

/** Functions that recreate errors from their fields, by name. */
const ERRORS: Record<string, (fields: any) => Error> = {
  WrongExpectedVersionError: (e) => new WrongExpectedVersionError(e.stream, e.expected, e.actual),
  AppendConditionError: (e) => new AppendConditionError(e.tags),
  RowConflictError: (e) => new RowConflictError(e.message),
  FencedError: (e) => new FencedError(e.lease, e.token),
  ScheduleChangedError: (e) => new ScheduleChangedError(e.keys),
  StoreUnavailableError: (e) => new StoreUnavailableError(e.message, e.reason, e.retryable),
  StatementError: (e) => new StatementError(e.statement, e.reason),
  DuplicateMessageError: (e) => new DuplicateMessageError(e.message),
  GroupMissingError: (e) => new GroupMissingError(e.stream, e.group),
  BrokerBehindError: (e) => new BrokerBehindError(e.stream, e.expected, e.actual),
  BrokerUnavailableError: (e) => new BrokerUnavailableError(e.message, e.retryable),
};

/**
 * Serves a local adapter to a peer.
 *
 * @param adapter The adapter.
 * @param port This side's end of the channel.
 * @param methods The methods that the peer may call.
 */
export function serve<T extends object>(adapter: T, port: Channel, methods: ReadonlySet<keyof T & string>): void {
  const running = new Map<number, AbortController>();
  const left = port.onclose;
  port.onclose = () => {
    for (const stop of running.values()) stop.abort();
    left?.();
  };
  port.onmessage = async ({ data }: { readonly data: unknown }) => {
    const request = requestSchema.safeParse(data);
    if (!request.success || running.size >= MOST_CALLS) return port.close();
    if ("abort" in request.data) return running.get(request.data.abort)?.abort();
    const { id, method, given } = request.data;
    if (!(methods as ReadonlySet<string>).has(method)) {
      return port.postMessage({
        id,
        error: { name: "Error", message: `There is no method ${JSON.stringify(method)}` },
      });
    }
    const stop = new AbortController();
    const put = (value: unknown): unknown => value === SIGNAL ? stop.signal : value;
    running.set(id, stop);
    try {
      const last = given.map((value) =>
        typeof value === "object" && value !== null && (value as { signal?: unknown }).signal === SIGNAL
          ? { ...value, signal: stop.signal }
          : put(value)
      );
      port.postMessage({ id, value: await (adapter as Record<string, any>)[method](...last) });
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      port.postMessage({ id, error: { ...error as object, name, message } });
    } finally {
      running.delete(id);
    }
  };
}

/**
 * Creates a proxy for an adapter of a peer.
 *
 * @param port This side's end of the channel.
 * @param facts The adapter's kind and location.
 * @param gone Creates the error of calls after the peer is gone.
 * @returns A proxy with every method of the port.
 */
export function remote<T extends object>(
  port: Channel,
  facts: { kind: string; location: string },
  gone: () => Error = () => new Error("The other process has closed the connection"),
): T {
  const waiting = new Map<number, { resolve: (value: any) => void; reject: (error: Error) => void }>();
  let ids = 0;
  let isGone = false;
  port.onclose = () => {
    isGone = true;
    for (const { reject } of waiting.values()) reject(gone());
    waiting.clear();
  };
  port.onmessage = ({ data: { id, value, error } }: { readonly data: Reply }) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (!error) call?.resolve(value);
    else call?.reject((ERRORS[String(error.name)] ?? (() => new Error(String(error.message))))(error));
  };
  const send = (method: string, given: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (isGone) return reject(gone());
      const id = ++ids;
      let signal: AbortSignal | undefined;
      const sent = given.map((value) => {
        if (value instanceof AbortSignal) {
          signal = value;
          return SIGNAL;
        }
        const inner = (value as { signal?: unknown } | null | undefined)?.signal;
        if (!(inner instanceof AbortSignal)) return value;
        signal = inner;
        return { ...value as object, signal: SIGNAL };
      });
      const abort = () => port.postMessage({ abort: id });
      const done = () => signal?.removeEventListener("abort", abort);
      waiting.set(id, {
        resolve: (value) => (done(), resolve(value)),
        reject: (error) => (done(), reject(error)),
      });
      port.postMessage({ id, method, given: sent });
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort);
    });
  return new Proxy(facts, {
    get: (target, name) => {
      if (name in target) return target[name as keyof typeof target];
      if (name === "close") return () => Promise.resolve(port.close());
      if (typeof name !== "string" || name === "then" || name === "wake") return undefined;
      return (...given: unknown[]) => send(name, given);
    },
  }) as unknown as T;
}

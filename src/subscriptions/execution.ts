import type { HandlerLog } from "../domain/context.ts";
import { type Delivery, isThenable, type Reaction } from "../domain/reaction.ts";
import type { Message } from "../messages/envelope.ts";

/** How handlers are run and watched: the engine's workers put their watchdog here. */
export interface Execution {
  /** Runs synchronous domain code; throws when it takes longer than `timeout` milliseconds. */
  readonly guard: <T>(work: () => T, timeout: number) => T;
  /** An error that a handler let go without anybody waiting for it, since it was last asked for. */
  readonly takeStray: () => unknown;
  /** Called when the handling of a message begins (its position), and when nothing is in hand (0). */
  readonly started: (position: number) => void;
}

/** Why a message was not handled. */
export interface Failure {
  /** What was thrown. */
  readonly error: unknown;
}

/** How the handling of a batch went. */
export interface Batch {
  /** What it wants written. */
  readonly reaction: Reaction;
  /** Indexes of what was handled. */
  readonly handled: readonly number[];
  /** What failed, by index. */
  readonly failures: ReadonlyMap<number, Failure>;
  /** A handler did not come back: whatever came behind it was not begun. */
  readonly stuck: boolean;
}

/** What {@linkcode runBatch} needs. */
export interface BatchOptions {
  /** What handles the messages. */
  readonly reaction: Reaction;
  /** The messages. */
  readonly deliveries: readonly { readonly message: Message; readonly attempt: number }[];
  /** How long one message may take, in milliseconds. */
  readonly timeout: number;
  /** How to run it. */
  readonly execution: Execution;
  /** Where handlers log. */
  readonly log: HandlerLog;
  /** Ends when the server stops. */
  readonly signal: AbortSignal;
  /** Lets the event loop turn once, so that stray rejections come to light. */
  readonly turn: () => Promise<void>;
}

const STUCK = Symbol("stuck");

function tooLong(timeout: number): Error {
  const error = new Error(`The handler took longer than handler_timeout_seconds = ${timeout / 1000}`);
  error.name = "HandlerTimeoutError";
  return error;
}

/** The watchdog of `node:vm` and ours say the same in one voice. */
function explain(error: unknown, timeout: number): unknown {
  return (error as { code?: string } | null)?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT" ? tooLong(timeout) : error;
}

/**
 * Handles a batch of messages in order. A message that fails holds back the later ones of its stream, and no other.
 *
 * @param options The messages, and how to run them.
 * @returns How it went; `apart` when it cannot be told which of several messages is to blame.
 */
export async function runBatch(options: BatchOptions): Promise<Batch | "apart"> {
  const { reaction, deliveries, timeout, execution, log, turn } = options;
  const handled: number[] = [];
  const failures = new Map<number, Failure>();
  const blocked = new Set<string>();
  const alone = deliveries.length === 1;
  const fail = (i: number, error: unknown): void => {
    failures.set(i, { error: explain(error, timeout) });
    blocked.add(deliveries[i].message.stream);
  };
  execution.started(deliveries[0].message.position);
  try {
    await reaction.prepare(deliveries.map((delivery) => delivery.message));
  } catch (error) {
    if (isInfrastructure(error)) throw error;
    if (!alone) return "apart";
    fail(0, error);
    return { reaction, handled, failures, stuck: false };
  }
  let i = 0;
  let stuck = false;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  /** Runs on until a handler has to be waited for, or all are through. */
  const runOn = (): PromiseLike<unknown> | undefined => {
    for (; i < deliveries.length; i++) {
      const { message, attempt } = deliveries[i];
      if (blocked.has(message.stream)) continue;
      execution.started(message.position);
      const delivery: Delivery = { message, attempt, signal, log };
      try {
        const result = reaction.handle(delivery);
        if (isThenable(result)) return result;
        handled.push(i);
      } catch (error) {
        // An interruption by the watchdog passes through every catch of the code it interrupts, and lands outside.
        if (isInfrastructure(error)) throw error;
        fail(i, error);
      }
    }
  };
  while (i < deliveries.length && !stuck) {
    let pending: PromiseLike<unknown> | undefined;
    try {
      pending = execution.guard(runOn, timeout);
    } catch (error) {
      if (isInfrastructure(error)) throw error;
      fail(i, error);
    }
    if (pending) {
      try {
        stuck = (await within(pending, timeout)) === STUCK;
        if (stuck) {
          stop.abort(tooLong(timeout));
          fail(i, tooLong(timeout));
        } else handled.push(i);
      } catch (error) {
        if (isInfrastructure(error)) throw error;
        fail(i, error);
      }
    }
    i++;
  }
  await turn();
  const stray = execution.takeStray();
  execution.started(0);
  if (stray !== undefined && !stuck) {
    reaction.settle(false);
    if (!alone) return "apart";
    return { reaction: nothingOf(reaction), handled: [], failures: new Map([[0, { error: stray }]]), stuck };
  }
  return { reaction, handled, failures, stuck };
}

/** Store and broker errors are not the handler's fault: they end the batch, not the message. */
function isInfrastructure(error: unknown): boolean {
  const name = (error as { name?: unknown } | null)?.name;
  return name === "StoreUnavailableError" || name === "BrokerUnavailableError" || name === "FencedError";
}

/** The same reaction with its effects dropped. */
function nothingOf(reaction: Reaction): Reaction {
  return {
    prepare: (messages) => reaction.prepare(messages),
    handle: (delivery) => reaction.handle(delivery),
    effects: () => ({ appends: [], rows: [], outcomes: [] }),
    settle: () => {},
  };
}

async function within(pending: PromiseLike<unknown>, timeout: number): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<typeof STUCK>((resolve) => {
    timer = setTimeout(() => resolve(STUCK), timeout);
  });
  try {
    return await Promise.race([pending, late]);
  } finally {
    clearTimeout(timer);
  }
}

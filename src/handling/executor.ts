import type { HandlerLog } from "../domain/context.ts";
import { decode, type MessageTypes } from "../messages/codec.ts";
import type { Message, MessageRecord } from "../messages/envelope.ts";
import { UndecodableMessageError } from "../messages/errors.ts";
import { storable } from "../messages/text.ts";
import { read } from "../messages/thrown.ts";
import { type Effects, type HandlerBatch, isThenable, NO_EFFECTS } from "./batch.ts";

/** How handlers are run and watched: hosts put their watchdog here. */
export interface Execution {
  /** Runs synchronous domain code; throws when it takes longer than `timeout` milliseconds. */
  readonly guard: <T>(work: () => T, timeout: number) => T;
  /** Watches over a batch for errors that its handlers let go of. */
  readonly watch: () => Watch;
}

/** Watches over one batch. */
export interface Watch {
  /** The handling of a message begins (its position), or nothing is in hand any more (0). */
  started(position: number): void;
  /** An error that a handler let go without anybody waiting for it, since it was last asked for. */
  takeStray(): unknown;
}

/** Runs handlers directly, and watches over nothing. */
export const UNWATCHED: Execution = Object.freeze({
  guard: <T>(work: () => T) => work(),
  watch: () => ({ started: () => {}, takeStray: () => undefined }),
});

/** A message to handle. */
export interface BatchItem {
  /** The message as it is stored. */
  readonly record: MessageRecord;
  /** Which attempt this is, from 1. */
  readonly attempt: number;
}

/** Why a message was not handled, in words. */
export interface Failure {
  /** What was thrown. */
  readonly error: string;
  /** Its stack, where it has one. */
  readonly stack: string | null;
  /** The message cannot be read: trying again would not help. */
  readonly unreadable?: UndecodableMessageError["reason"];
  /** The version of a type, like `Deposited@2`, that this code would have to know. */
  readonly awaits?: string;
}

/** How the handling of a batch went. */
export interface BatchResult {
  /** What it wants written. */
  readonly effects: Effects;
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
  readonly batch: HandlerBatch;
  /** The messages. */
  readonly items: readonly BatchItem[];
  /** The message types that the code knows. */
  readonly types: MessageTypes;
  /** How long one message may take, in milliseconds. */
  readonly timeout: number;
  /** How to run it. */
  readonly execution: Execution;
  /** Where handlers log. */
  readonly log: HandlerLog;
  /** Says in words what was thrown. */
  readonly explain: (thrown: unknown) => string;
  /** Ends when nobody wants the result any more. */
  readonly signal: AbortSignal;
  /** Whether the batch is void, because something that is not the handler's went wrong. */
  readonly isVoid: () => boolean;
  /** Lets the event loop turn once, so that stray rejections come to light. */
  readonly turn: () => Promise<void>;
}

const STUCK = Symbol("stuck");

/** How much of what a handler threw is kept, in characters. */
const LONGEST_ERROR = 10_000;
const LONGEST_STACK = 20_000;

function tooLong(timeout: number): Error {
  const error = new Error(`The handler took longer than handler_timeout_seconds = ${timeout / 1000}`);
  error.name = "HandlerTimeoutError";
  return error;
}

/** What newer code would have to know, when an error says so; what was thrown may be anything. */
function awaitedBy(thrown: unknown): { readonly awaits?: string } {
  try {
    return thrown instanceof UndecodableMessageError && thrown.awaits !== null ? { awaits: thrown.awaits } : {};
  } catch {
    return {};
  }
}

/** The watchdog of `node:vm` and ours say the same in one voice. */
function named(thrown: unknown, timeout: number): unknown {
  return read(thrown, "code") === "ERR_SCRIPT_EXECUTION_TIMEOUT" ? tooLong(timeout) : thrown;
}

/**
 * Handles a batch of messages in order. A message that fails holds back the later ones of its stream, and no other.
 *
 * Whatever is thrown in here by the domain's code is the failure of its message; what reading throws is remembered by
 * whoever reads, who makes the batch void.
 *
 * @param options The messages, and how to run them.
 * @returns How it went; `apart` when it cannot be told which of several messages is to blame.
 */
export async function runBatch(options: BatchOptions): Promise<BatchResult | "apart"> {
  const { batch, items, timeout, execution, log, explain, isVoid, turn } = options;
  const handled: number[] = [];
  const failures = new Map<number, Failure>();
  const blocked = new Set<string>();
  const alone = items.length === 1;
  const describe = (thrown: unknown): Failure => {
    const error = named(thrown, timeout);
    const stack = read(error, "stack");
    return {
      error: storable(explain(error), LONGEST_ERROR),
      stack: typeof stack === "string" ? storable(stack, LONGEST_STACK) : null,
      ...awaitedBy(error),
    };
  };
  const fail = (i: number, thrown: unknown): void => {
    failures.set(i, describe(thrown));
    blocked.add(items[i].record.stream);
  };
  const result = (stuck: boolean, effects: Effects = batch.effects()): BatchResult => ({
    effects,
    handled,
    failures,
    stuck,
  });
  const watch = execution.watch();
  watch.started(items[0].record.position);
  const messages = decodeAll(options, fail, failures);
  const known = messages.filter((message) => message !== undefined);
  try {
    if (known.length > 0) await batch.prepare(known);
  } catch (error) {
    watch.started(0);
    if (!alone || isVoid()) return "apart";
    fail(0, error);
    return result(false, NO_EFFECTS);
  }
  let i = 0;
  let stuck = false;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  /** Runs on until a handler has to be waited for, or all are through. */
  const runOn = (): PromiseLike<unknown> | undefined => {
    for (; i < items.length; i++) {
      const message = messages[i];
      if (message === undefined || blocked.has(message.stream)) continue;
      watch.started(message.position);
      try {
        const result = batch.handle({ message, attempt: items[i].attempt, signal, givenUp: stop.signal, log });
        if (isThenable(result)) return result;
        handled.push(i);
      } catch (error) {
        // An interruption by the watchdog passes through every catch of the code it interrupts, and lands outside.
        fail(i, error);
      }
    }
  };
  while (i < items.length && !stuck && !isVoid()) {
    let pending: PromiseLike<unknown> | undefined;
    try {
      pending = execution.guard(runOn, timeout);
    } catch (error) {
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
        fail(i, error);
      }
    }
    i++;
  }
  await turn();
  const stray = watch.takeStray();
  watch.started(0);
  if (stray !== undefined && !stuck) {
    batch.settle(false);
    if (!alone) return "apart";
    handled.length = 0;
    failures.set(0, describe(stray));
    return result(false, NO_EFFECTS);
  }
  return result(stuck);
}

/** Decodes the messages, under the time limit: upcasts are code of the domain. */
function decodeAll(
  { items, types, timeout, execution }: BatchOptions,
  fail: (i: number, thrown: unknown) => void,
  failures: Map<number, Failure>,
): (Message | undefined)[] {
  const messages: (Message | undefined)[] = [];
  const runOn = (): void => {
    while (messages.length < items.length) {
      const i = messages.length;
      try {
        messages.push(decode(items[i].record, types));
      } catch (error) {
        if (!(error instanceof UndecodableMessageError)) throw error;
        const { reason: unreadable, awaits } = error;
        const text = storable(error.message, LONGEST_ERROR);
        failures.set(i, { error: text, stack: null, unreadable, ...(awaits !== null && { awaits }) });
        messages.push(undefined);
      }
    }
  };
  while (messages.length < items.length) {
    try {
      execution.guard(runOn, timeout);
    } catch (error) {
      fail(messages.length, error);
      messages.push(undefined);
    }
  }
  return messages;
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

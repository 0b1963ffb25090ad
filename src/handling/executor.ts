import type { HandlerLog } from "../domain/context.ts";
import { decode, type MessageTypes } from "../messages/codec.ts";
import type { Message, MessageRecord } from "../messages/envelope.ts";
import { UndecodableMessageError } from "../messages/errors.ts";
import { storable } from "../messages/text.ts";
import { read } from "../messages/thrown.ts";
import { MOST_CHARACTERS } from "../store/large.ts";
import { type Effects, type HandlerBatch, isThenable, NO_EFFECTS } from "./batch.ts";
import { HopelessInputError, UnexpectedInputError } from "./errors.ts";

/** How handlers are run; hosts plug in their watchdog here. */
export interface Execution {
  /** Runs synchronous domain code; throws if it takes longer than `timeout` milliseconds. */
  readonly guard: <T>(work: () => T, timeout: number) => T;
  /** Tracks uncaught errors of a batch's handlers. */
  readonly watch: () => Watch;
}

/** Tracks the uncaught errors of one batch. */
export interface Watch {
  /** Marks the start of a message by its position, or the end of handling (0). */
  started(position: number): void;
  /** Returns an uncaught error since the last call, such as an unhandled rejection. */
  takeStray(): unknown;
}

/** Runs handlers directly, without tracking uncaught errors. */
export const UNWATCHED: Execution = Object.freeze({
  guard: <T>(work: () => T) => work(),
  watch: () => ({ started: () => {}, takeStray: () => undefined }),
});

/** A message to handle. */
export interface BatchItem {
  /** The stored message. */
  readonly record: MessageRecord;
  /** The number of this attempt, from 1. */
  readonly attempt: number;
}

/** Why a message was not handled. */
export interface Failure {
  /** The error's text. */
  readonly error: string;
  /** Its stack, if it has one. */
  readonly stack: string | null;
  /** Whether the message cannot be decoded, so that retrying would not help. */
  readonly unreadable?: UndecodableMessageError["reason"];
  /** The version of a type, like `Deposited@2`, that this code would have to know. */
  readonly awaits?: string;
  /** Whether what follows in its stream need not wait if it is given up, although that is of a kind whose streams do. */
  readonly passing?: true;
}

/** The result of a batch. */
export interface BatchResult {
  /** The effects to write. */
  readonly effects: Effects;
  /** The indexes of the handled messages. */
  readonly handled: readonly number[];
  /** The failures, by index. */
  readonly failures: ReadonlyMap<number, Failure>;
  /** The indexes of those whose end is not known yet: they are to come again soon, and this was no attempt. @default {none} */
  readonly underWay?: ReadonlySet<number>;
  /** Whether a handler timed out; the messages after it were not started. */
  readonly stuck: boolean;
}

/** Options of {@linkcode runBatch}. */
export interface BatchOptions {
  /** The batch that handles the messages. */
  readonly batch: HandlerBatch;
  /** Called when none of its effects are to be written, although handlers went through. */
  readonly drop: () => void;
  /** The messages. */
  readonly items: readonly BatchItem[];
  /** The message types the code knows. */
  readonly types: MessageTypes;
  /** The time limit per message, in milliseconds. */
  readonly timeout: number;
  /** How to run handlers. */
  readonly execution: Execution;
  /** The handlers' log. */
  readonly log: HandlerLog;
  /** Describes a thrown value. */
  readonly explain: (thrown: unknown) => string;
  /** Aborts when the result is no longer needed. */
  readonly signal: AbortSignal;
  /** Whether the batch is void because of a failure outside the handlers. */
  readonly isVoid: () => boolean;
  /** Yields to the event loop once, so that unhandled rejections are reported. */
  readonly turn: () => Promise<void>;
}

const STUCK = Symbol("stuck");

/**
 * After so many milliseconds of synchronous handling the event loop turns, and the time limit begins anew: it is that of one
 * message, not of a batch, and a worker that is busy has to be heard of meanwhile.
 */
const SLICE = 50;

// Before domain code can replace it.
const elapsed: () => number = performance.now.bind(performance);

/**
 * Once several messages have made so many characters, the rest is not handled with them: a batch is cut by what it is
 * read from, and small commands may make large events.
 */
const MOST_MADE = 2 * MOST_CHARACTERS;

/** The longest stored error text and stack, in characters. */
const LONGEST_ERROR = 10_000;
const LONGEST_STACK = 20_000;

function tooLong(timeout: number): Error {
  const error = new Error(`The handler took longer than handler_timeout_seconds = ${timeout / 1000}`);
  error.name = "HandlerTimeoutError";
  return error;
}

/** Whether what was thrown says that what follows need not wait. */
function passing(thrown: unknown): { readonly passing?: true } {
  try {
    return thrown instanceof UnexpectedInputError ? { passing: true } : {};
  } catch {
    return {};
  }
}

/** Whether what was thrown says that trying again is of no use. */
function hopeless(thrown: unknown): Pick<Failure, "unreadable"> {
  try {
    return thrown instanceof HopelessInputError ? { unreadable: "damaged" } : {};
  } catch {
    return {};
  }
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
 * Handles a batch of messages in order. A failed message holds back only the later ones of its stream.
 *
 * Errors thrown by the domain's code fail their message. Read errors are remembered by the reader, which makes the
 * batch void.
 *
 * @param options The messages, and how to run them.
 * @returns The result; `apart` if it is unclear which of several messages caused a failure.
 */
export async function runBatch(options: BatchOptions): Promise<BatchResult | "apart"> {
  const { batch, drop, items, timeout, execution, log, explain, isVoid, turn } = options;
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
      ...passing(error),
      ...hopeless(error),
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
  const messages = await decodeAll(options, fail, failures);
  const known = messages.filter((message) => message !== undefined);
  try {
    if (known.length > 0) await batch.prepare(known);
  } catch (error) {
    watch.started(0);
    if (!alone || isVoid()) return "apart";
    drop();
    fail(0, error);
    return result(false, NO_EFFECTS);
  }
  let i = 0;
  let stuck = false;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const isFull = (): boolean => !alone && batch.characters > MOST_MADE;
  let sliceEnds = 0;
  /** Handles messages synchronously until one is asynchronous, the slice is over, or all are handled. */
  const runOn = (): PromiseLike<unknown> | undefined => {
    for (; i < items.length && elapsed() < sliceEnds && !isFull(); i++) {
      const message = messages[i];
      if (message === undefined || blocked.has(message.stream)) continue;
      watch.started(message.position);
      try {
        const result = batch.handle({ message, attempt: items[i].attempt, signal, givenUp: stop.signal, log });
        if (isThenable(result)) return result;
        handled.push(i);
      } catch (error) {
        // A timeout passes every catch of the code that it interrupts, and lands outside.
        fail(i, error);
      }
    }
  };
  while (i < items.length && !stuck && !isVoid() && !isFull()) {
    sliceEnds = elapsed() + SLICE;
    let pending: PromiseLike<unknown> | undefined;
    try {
      pending = execution.guard(runOn, timeout + SLICE);
    } catch (error) {
      fail(i, error);
      i++;
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
      i++;
    } else if (i < items.length) await turn();
  }
  await turn();
  const stray = watch.takeStray();
  watch.started(0);
  if (!stuck && (stray !== undefined || (i < items.length && isFull()))) {
    drop();
    if (!alone) return "apart";
    handled.length = 0;
    failures.set(0, describe(stray));
    return result(false, NO_EFFECTS);
  }
  return result(stuck);
}

/** Decodes the messages under the time limit, because upcasts are domain code. */
async function decodeAll(
  { items, types, timeout, execution, turn }: BatchOptions,
  fail: (i: number, thrown: unknown) => void,
  failures: Map<number, Failure>,
): Promise<(Message | undefined)[]> {
  const messages: (Message | undefined)[] = [];
  let sliceEnds = 0;
  const runOn = (): void => {
    while (messages.length < items.length && elapsed() < sliceEnds) {
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
    sliceEnds = elapsed() + SLICE;
    try {
      execution.guard(runOn, timeout + SLICE);
    } catch (error) {
      fail(messages.length, error);
      messages.push(undefined);
    }
    if (messages.length < items.length) await turn();
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

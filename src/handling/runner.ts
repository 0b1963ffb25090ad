import { setImmediate } from "node:timers";
import type { HandlerLog } from "../domain/context.ts";
import type { Domain, Handler } from "../domain/model.ts";
import { textOf } from "../messages/thrown.ts";
import type { Reading } from "./batch.ts";
import { type BatchItem, type BatchResult, type Execution, runBatch, UNWATCHED } from "./executor.ts";
import { RowCache } from "./row_cache.ts";
import { StateCache } from "./state_cache.ts";

/** Runs the domain's code on batches of messages: in this process, or in a host. */
export interface BatchRunner {
  /**
   * Handles messages in order. Nothing is written; that is up to the caller.
   *
   * @param items The messages, at least one.
   * @param signal Aborts when the result is no longer needed.
   * @returns The result; `apart` if it is unclear which of several messages caused a failure.
   * @throws Read errors, which are never the handler's fault.
   */
  run(items: readonly BatchItem[], signal: AbortSignal): Promise<BatchResult | "apart">;
  /** Reports whether the effects of the last batch were written. */
  settle(written: boolean): void;
  /** Says that nothing may be kept in mind of what was read or written before. */
  forget(): void;
}

/** Runs batches of one partition of a group until closed. */
export interface HandlerSession extends BatchRunner {
  /** Aborts the in-flight batch. */
  abandon(reason: string): void;
  /** Closes the session. */
  close(): void;
}

/** The worker that runs a group's handler, in this process or a host. */
export interface GroupWorker {
  /** Starts it; rejects if it cannot be loaded. */
  load(): Promise<void>;
  /** Opens a session. */
  open(): HandlerSession;
  /** Replaces the worker in which a session's handler did not return; without effect if that was done already. */
  replace(session: HandlerSession): void;
}

/** Options of {@linkcode LocalRunner}. */
export interface LocalRunnerOptions {
  /** What handlers read from. */
  readonly reading: Pick<
    Reading,
    | "readStream"
    | "readRows"
    | "readAt"
    | "readTagged"
    | "readSnapshot"
    | "readOutcome"
    | "now"
    | "newId"
    | "random"
    | "sql"
    | "longest"
  >;
  /** The time limit per message, in milliseconds. */
  readonly timeout: number;
  /** How handlers are run. @default {run directly} */
  readonly execution?: Partial<Execution>;
  /** The handlers' log. */
  readonly log: HandlerLog;
  /** Describes a value thrown by a handler. @default {its name and message} */
  readonly explain?: (thrown: unknown) => string;
}

/** Runs one handler in this process. */
export class LocalRunner implements BatchRunner {
  #domain: Domain;
  #handler: Handler;
  #options: LocalRunnerOptions;
  #execution: Execution;
  #cache = new StateCache();
  #rowCache = new RowCache();
  /** Settles the last batch, once. */
  #settle: ((written: boolean) => void) | undefined;

  /**
   * Creates a runner.
   *
   * @param domain The domain.
   * @param handler One of its handlers.
   * @param options How to run it.
   */
  constructor(domain: Domain, handler: Handler, options: LocalRunnerOptions) {
    this.#domain = domain;
    this.#handler = handler;
    this.#options = options;
    this.#execution = { ...UNWATCHED, ...options.execution };
  }

  async run(items: readonly BatchItem[], signal: AbortSignal): Promise<BatchResult | "apart"> {
    const { reading, timeout, log, explain = textOf } = this.#options;
    const execution = this.#execution;
    // Read errors are not handler failures, even if the handler rethrows them; they are recorded where they occur.
    let failed: { readonly error: unknown } | undefined;
    const guarded = <Given extends unknown[], T>(read: (...given: Given) => Promise<T>) => async (...given: Given) => {
      try {
        return await read(...given);
      } catch (error) {
        failed ??= { error };
        throw error;
      }
    };
    const batch = this.#handler.kind.begin(this.#domain, this.#handler, {
      ...reading,
      readStream: guarded(reading.readStream),
      readRows: guarded(reading.readRows),
      ...(reading.readAt && { readAt: guarded(reading.readAt) }),
      ...(reading.readTagged && { readTagged: guarded(reading.readTagged) }),
      ...(reading.readSnapshot && { readSnapshot: guarded(reading.readSnapshot) }),
      ...(reading.readOutcome && { readOutcome: guarded(reading.readOutcome) }),
      complain: (text) => log.error(text),
      cache: this.#cache,
      rowCache: this.#rowCache,
      guard: (work) => execution.guard(work, timeout),
    });
    // Only the first result counts: effects that were dropped here are not written, whatever is said of the batch later.
    let isSettled = false;
    const settle = this.#settle = (written: boolean): void => {
      if (isSettled) return;
      isSettled = true;
      batch.settle(written);
    };
    const result = await runBatch({
      batch,
      drop: () => settle(false),
      items,
      types: this.#domain.types,
      timeout,
      execution,
      log,
      explain,
      signal,
      isVoid: () => failed !== undefined,
      turn: () => new Promise<void>((resolve) => setImmediate(() => resolve())),
    });
    if (failed) {
      settle(false);
      throw failed.error;
    }
    if (result === "apart") settle(false);
    return result;
  }

  settle(written: boolean): void {
    this.#settle?.(written);
    this.#settle = undefined;
  }

  forget(): void {
    this.#cache = new StateCache();
    this.#rowCache = new RowCache();
  }
}

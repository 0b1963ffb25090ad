import { setImmediate } from "node:timers";
import type { HandlerLog } from "../domain/context.ts";
import type { Domain, Handler } from "../domain/model.ts";
import { textOf } from "../messages/thrown.ts";
import type { HandlerBatch, Reading } from "./batch.ts";
import { type BatchItem, type BatchResult, type Execution, runBatch, UNWATCHED } from "./executor.ts";
import { StateCache } from "./state_cache.ts";

/** Runs the domain's code on batches of messages: in this process, or in a host. */
export interface BatchRunner {
  /**
   * Handles messages in order. Nothing is written: that is up to whoever asks.
   *
   * @param items The messages, at least one.
   * @param signal Ends when nobody wants the result any more.
   * @returns How it went; `apart` when it cannot be told which of several messages is to blame.
   * @throws What reading threw, which is never the handler's fault.
   */
  run(items: readonly BatchItem[], signal: AbortSignal): Promise<BatchResult | "apart">;
  /** Says whether the effects of the last batch were written. */
  settle(written: boolean): void;
}

/** Runs batches of one partition of a group, until it is closed. */
export interface HandlerSession extends BatchRunner {
  /** Gives up what is in hand. */
  abandon(reason: string): void;
  /** Ends it. */
  close(): void;
}

/** The worker that the handler of a group runs in, wherever that is. */
export interface GroupWorker {
  /** Has it loaded; rejects when that cannot be. */
  load(): Promise<void>;
  /** Opens a session. */
  open(): HandlerSession;
  /** Replaces it: a handler in it did not come back. */
  replace(): void;
}

/** How a {@linkcode LocalRunner} runs handlers. */
export interface LocalRunnerOptions {
  /** Where handlers read. */
  readonly reading: Pick<Reading, "readStream" | "readRows" | "now" | "newId" | "sql">;
  /** How long one message may take, in milliseconds. */
  readonly timeout: number;
  /** How handlers are run and watched. @default {run directly} */
  readonly execution?: Partial<Execution>;
  /** Where handlers log. */
  readonly log: HandlerLog;
  /** Says in words what a handler threw. @default {its name and message} */
  readonly explain?: (thrown: unknown) => string;
}

/** Runs one handler here. */
export class LocalRunner implements BatchRunner {
  #domain: Domain;
  #handler: Handler;
  #options: LocalRunnerOptions;
  #execution: Execution;
  #cache = new StateCache();
  #last: HandlerBatch | undefined;

  /**
   * Makes a runner.
   *
   * @param domain The domain.
   * @param handler One of its handlers.
   * @param options Where it reads, and how it is run.
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
    // What reading throws is not the handler's, whatever the handler makes of it: told apart by where it was thrown.
    let failed: { readonly error: unknown } | undefined;
    const guarded = <Given extends unknown[], T>(read: (...given: Given) => Promise<T>) => async (...given: Given) => {
      try {
        return await read(...given);
      } catch (error) {
        failed ??= { error };
        throw error;
      }
    };
    const batch = this.#last = this.#handler.kind.begin(this.#domain, this.#handler, {
      ...reading,
      readStream: guarded(reading.readStream),
      readRows: guarded(reading.readRows),
      cache: this.#cache,
      guard: (work) => execution.guard(work, timeout),
    });
    const result = await runBatch({
      batch,
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
      batch.settle(false);
      throw failed.error;
    }
    return result;
  }

  settle(written: boolean): void {
    this.#last?.settle(written);
    this.#last = undefined;
  }
}

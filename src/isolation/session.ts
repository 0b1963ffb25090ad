import { sleep } from "../lib/sleep.ts";
import { LONGEST_JSON } from "../messages/json.ts";
import type { BatchItem, BatchResult } from "../handling/executor.ts";
import type { HandlerSession } from "../handling/runner.ts";
import { newId } from "../messages/ids.ts";
import { readSome } from "../store/large.ts";
import type { EventStore } from "../store/port.ts";
import type { Capability } from "./capability.ts";
import { WorkerEndedError } from "./errors.ts";
import type { HostedWorker } from "./host_process.ts";
import { Pager } from "./pager.ts";
import type { FromWorker, SessionSpec } from "./protocol.ts";

/** Most bytes that may be queued for a worker, how often to look whether it has taken them, and for how long, in milliseconds. */
const MOST_WAITING = 64 << 20;
const PAUSE = 5;
const LONGEST_WAIT = 5_000;

/** Most reads that a session may have pending. */
const MOST_QUESTIONS = 10_000;

/** How long a worker may leave a batch unmentioned in its heartbeats, in milliseconds. */
const UNMENTIONED = 5_000;

/** Dependencies of a session. */
export interface WorkerSessionOptions {
  /** The consumer group. */
  readonly group: string;
  /** What it may read and write. */
  readonly capability: Capability;
  /** How long one message may take, in milliseconds. */
  readonly timeout: number;
  /** Whether SQL statements were granted. */
  readonly sql: boolean;
  /** The longest payload or row, in bytes of JSON. @default {16 MiB} */
  readonly longest?: number;
  /** The store it reads from. */
  readonly store: Pick<EventStore, "readStream" | "readRows" | "readAt" | "readTagged" | "readSnapshot" | "outcome">;
  /** Returns the time, in milliseconds since 1970. */
  readonly now: () => number;
  /** The worker, once loaded. */
  readonly worker: () => Promise<HostedWorker>;
  /** Called when it becomes busy; the returned function is called when it becomes idle. */
  readonly busy: () => () => void;
  /** Called when the worker violated the protocol. */
  readonly violated: (what: string) => void;
  /** Called when it is closed. */
  readonly closed: () => void;
}

type Question = FromWorker & { t: "stream" | "keys" | "positions" | "tagged" | "snapshot" | "outcome" };

/** What the pages of messages with tags are remembered by. */
const TAGGED = "tagged messages";

/** What a worker may ask for; what messages are at positions is seen only when they are read. */
const MAY_READ: Record<Question["t"], (capability: Capability, question: any) => boolean> = {
  stream: (capability, { stream }) => capability.mayRead(stream),
  keys: (capability, { projection }) => capability.mayReadRows(projection),
  outcome: (capability) => capability.mayReadOutcomes,
  snapshot: (capability, { stream }) => capability.mayRead(stream),
  tagged: (capability, { among }) => capability.mayReadTagged(among),
  positions: () => true,
};

interface Pending {
  readonly n: number;
  readonly items: readonly BatchItem[];
  readonly worker: HostedWorker;
  readonly resolve: (result: BatchResult | "apart") => void;
  readonly reject: (error: unknown) => void;
  /** The error of a read on its behalf. */
  unread: { readonly error: unknown } | undefined;
  questions: number;
  readonly begunAt: number;
  mentionedAt: number;
}

/** Runs the batches of one partition of a group in a host's worker, and serves its reads. */
export class WorkerSession implements HandlerSession {
  /** Its name, unguessable by other workers. */
  readonly name: string = newId();
  #options: WorkerSessionOptions;
  #n = 0;
  /** Batches waiting for the worker to load. */
  #waiting = 0;
  #pending: Pending | undefined;
  #answeredBy: HostedWorker | undefined;
  #pager = new Pager();
  #ranIn: HostedWorker | undefined;
  /** Whether the effects of the last batch were written. */
  #written: boolean | undefined;
  /** Whether the worker may not know anything any more. */
  #isForgetful = false;
  #abandoned: string | undefined;

  /** @param options Its dependencies. */
  constructor(options: WorkerSessionOptions) {
    this.#options = options;
  }

  /** The consumer group. */
  get group(): string {
    return this.#options.group;
  }

  /** The worker that the last batch was given to. */
  get ranIn(): HostedWorker | undefined {
    return this.#ranIn;
  }

  /** Whether the worker has a batch in flight. */
  get isBusy(): boolean {
    return this.#pending !== undefined || this.#waiting > 0;
  }

  /** Opens the session in a worker. */
  open(worker: HostedWorker): void {
    const { group, timeout, sql, longest = LONGEST_JSON } = this.#options;
    worker.send({ t: "open", session: { session: this.name, group, timeout, sql, longest } satisfies SessionSpec });
  }

  async run(items: readonly BatchItem[], signal: AbortSignal): Promise<BatchResult | "apart"> {
    const { busy } = this.#options;
    this.#waiting++;
    const worker = await this.#options.worker().finally(() => this.#waiting--);
    if (this.#abandoned !== undefined) throw new WorkerEndedError(this.#abandoned, false);
    if (worker.hasEnded()) throw new WorkerEndedError("Its worker ended before it received the batch", false);
    this.#ranIn = worker;
    const n = ++this.#n;
    const abort = (): void => worker.send({ t: "abort", session: this.name, n });
    const done = busy();
    try {
      return await new Promise((resolve, reject) => {
        const begunAt = performance.now();
        this.#pending = {
          n,
          items,
          worker,
          resolve,
          reject,
          unread: undefined,
          questions: 0,
          begunAt,
          mentionedAt: begunAt,
        };
        const written = this.#answeredBy === worker ? this.#written : undefined;
        const forget = this.#isForgetful;
        worker.send({ t: "batch", session: this.name, n, items, ...(written !== undefined && { written }), forget });
        this.#written = undefined;
        this.#isForgetful = false;
        signal.addEventListener("abort", abort);
        if (signal.aborted) abort();
      });
    } finally {
      signal.removeEventListener("abort", abort);
      this.#pending = undefined;
      this.#answeredBy = worker;
      done();
    }
  }

  settle(written: boolean): void {
    // Sent with the next batch; the worker does not need it earlier.
    this.#written = written;
  }

  forget(): void {
    this.#isForgetful = true;
  }

  /** Fails the in-flight batch because the worker has ended. */
  ended(reason: string, isSuspect: boolean): void {
    this.#answeredBy = undefined;
    this.#pending?.reject(new WorkerEndedError(reason, isSuspect));
  }

  /** Aborts the in-flight batch, and refuses others. */
  abandon(reason: string): void {
    this.#abandoned = reason;
    this.ended(reason, false);
  }

  close(): void {
    this.#options.closed();
  }

  /** Takes a heartbeat about the in-flight batch. */
  beat(hand: { readonly n: number; readonly since: number } | undefined): void {
    const pending = this.#pending;
    if (pending && hand?.n === pending.n) pending.mentionedAt = performance.now() - Math.max(0, hand.since);
  }

  /** Checks whether the worker is still processing the batch. */
  look(now: number, grace: number): void {
    const pending = this.#pending;
    if (!pending) return;
    if (pending.worker.hasEnded()) return this.ended("Its worker has ended", false);
    const { timeout } = this.#options;
    // An idle worker sends no heartbeats.
    const silence = Math.min(pending.worker.silence(), now - pending.begunAt);
    if (silence > timeout + grace) {
      pending.worker.killHost(
        `A handler of ${this.group} has blocked its thread for ${
          (silence / 1000).toFixed(1)
        } s and cannot be interrupted`,
      );
    } else if (now - pending.mentionedAt > timeout + grace + UNMENTIONED) {
      pending.worker.killHost(
        `A handler of ${this.group} has not finished ${UNMENTIONED / 1000} s after its time limit`,
      );
    }
  }

  /** Handles a message from the worker for this session. */
  take(message: Question | FromWorker & { t: "done" }): void {
    const pending = this.#pending;
    if (message.t !== "done") return void this.#answer(message, pending?.n === message.n ? pending : undefined);
    // From an aborted batch.
    if (!pending || message.n < pending.n) return;
    if (message.n !== pending.n) return this.#violated("it answered a batch it was not given");
    if (pending.unread) return pending.reject(pending.unread.error);
    const { answer } = message;
    if (answer === "void") return this.#violated("it voided a batch although no read had failed");
    if (answer === "apart") {
      if (pending.items.length === 1) return this.#violated("it asked to split a batch of one message");
      return pending.resolve(answer);
    }
    const result = this.#options.capability.check(answer, pending.items, this.#options.now());
    if (typeof result === "string") this.#violated(result);
    else pending.resolve(result);
  }

  #violated(what: string): void {
    this.#options.violated(`The worker of ${this.group} sent an invalid answer: ${what}`);
  }

  /** Serves a worker's read; reads outside a batch are refused. */
  async #answer(question: Question, pending: Pending | undefined): Promise<void> {
    const worker = pending?.worker ?? this.#answeredBy;
    // It may have asked for much at the same time: it gets more when it has taken what it has.
    for (let waited = 0; worker && worker.waiting() > MOST_WAITING && !worker.hasEnded(); waited += PAUSE) {
      if (waited > LONGEST_WAIT) return this.#violated("it does not consume the data it requested");
      await sleep(PAUSE);
    }
    if (!pending) return worker?.send({ t: "unread", q: question.q });
    const { capability, store } = this.#options;
    const mayRead = MAY_READ[question.t](capability, question);
    if (!mayRead || ++pending.questions > MOST_QUESTIONS) {
      return this.#violated(mayRead ? "it has too many pending reads" : "it requested data it may not read");
    }
    const { q } = question;
    try {
      if (question.t === "stream") {
        const { stream, from } = question;
        const limit = this.#pager.limitOf(stream);
        const found = await store.readStream(stream, { from, limit });
        pending.worker.send({ t: "records", q, ...this.#pager.page(stream, limit, found) });
      } else if (question.t === "outcome") {
        const status = (await store.outcome(question.command))?.status ?? null;
        pending.worker.send({ t: "outcome", q, status });
      } else if (question.t === "snapshot") {
        const snapshot = await store.readSnapshot(question.stream, question.fingerprint);
        pending.worker.send({ t: "snapshot", q, snapshot });
      } else if (question.t === "tagged") {
        const { among, after, upTo } = question;
        const limit = this.#pager.limitOf(TAGGED);
        const { messages, last } = await store.readTagged(among, { after, limit, ...(upTo !== null && { upTo }) });
        pending.worker.send({ t: "tagged", q, last, ...this.#pager.page(TAGGED, limit, messages) });
      } else if (question.t === "positions") {
        const found = await readSome(store, question.positions);
        if (!found.records.every((record) => capability.mayReadAt(record))) {
          return this.#violated("it requested messages it may not read");
        }
        pending.worker.send({ t: "found", q, ...found });
      } else {
        const { projection } = question;
        const keys = question.keys.slice(0, this.#pager.keysOf(projection));
        const found = await store.readRows(projection, keys);
        pending.worker.send({ t: "rows", q, ...this.#pager.rows(projection, keys, found) });
      }
    } catch (error) {
      pending.unread ??= { error };
      pending.worker.send({ t: "unread", q });
    } finally {
      pending.questions--;
    }
  }
}

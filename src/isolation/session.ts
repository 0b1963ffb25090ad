import type { BatchItem, BatchResult } from "../handling/executor.ts";
import type { HandlerSession } from "../handling/runner.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { newId } from "../messages/ids.ts";
import type { EventStore } from "../store/port.ts";
import type { Capability } from "./capability.ts";
import { WorkerEndedError } from "./errors.ts";
import type { HostedWorker } from "./host_process.ts";
import type { FromWorker, SessionSpec } from "./protocol.ts";

/** How many records, and about how many characters of payload, one answer to a worker has. */
const PAGE = 1_000;
const PAGE_CHARACTERS = 4_000_000;

/** How many bytes may wait for a worker to read them. */
const MOST_WAITING = 64 << 20;

/** How many questions a session may have open at a time. */
const MOST_QUESTIONS = 10_000;

/** For how long a worker may say nothing of a batch that it was given, in milliseconds. */
const UNMENTIONED = 5_000;

/** What a session works with. */
export interface WorkerSessionOptions {
  /** The consumer group. */
  readonly group: string;
  /** What it may read and have written. */
  readonly capability: Capability;
  /** How long one message may take, in milliseconds. */
  readonly timeout: number;
  /** Whether it was granted statements. */
  readonly sql: boolean;
  /** Where it reads. */
  readonly store: Pick<EventStore, "readStream" | "readRows">;
  /** Tells the time, in milliseconds since 1970. */
  readonly now: () => number;
  /** The worker, as soon as it is loaded. */
  readonly worker: () => Promise<HostedWorker>;
  /** Called when it has something to do; what it returns is called when it no longer has. */
  readonly busy: () => () => void;
  /** Called when what came from the worker is not what may come. */
  readonly violated: (what: string) => void;
  /** Called when it is closed. */
  readonly closed: () => void;
}

type Question = FromWorker & { t: "stream" | "keys" };

interface Pending {
  readonly n: number;
  readonly items: readonly BatchItem[];
  readonly worker: HostedWorker;
  readonly resolve: (result: BatchResult | "apart") => void;
  readonly reject: (error: unknown) => void;
  /** What reading for it threw. */
  unread: { readonly error: unknown } | undefined;
  questions: number;
  readonly begunAt: number;
  mentionedAt: number;
}

/** Runs the batches of one partition of a group in a worker of a host, and answers what it asks for meanwhile. */
export class WorkerSession implements HandlerSession {
  /** Its name: not to be guessed by other workers. */
  readonly name: string = newId();
  #options: WorkerSessionOptions;
  #n = 0;
  /** Batches that wait for their worker to be loaded. */
  #waiting = 0;
  #pending: Pending | undefined;
  #answeredBy: HostedWorker | undefined;
  /** What became of the effects of the last batch. */
  #written: boolean | undefined;

  /** @param options What it works with. */
  constructor(options: WorkerSessionOptions) {
    this.#options = options;
  }

  /** The consumer group. */
  get group(): string {
    return this.#options.group;
  }

  /** Whether a batch is in the worker's hands. */
  get isBusy(): boolean {
    return this.#pending !== undefined || this.#waiting > 0;
  }

  /** Tells a worker of it. */
  open(worker: HostedWorker): void {
    const { group, timeout, sql } = this.#options;
    worker.send({ t: "open", session: { session: this.name, group, timeout, sql } satisfies SessionSpec });
  }

  async run(items: readonly BatchItem[], signal: AbortSignal): Promise<BatchResult | "apart"> {
    const { busy } = this.#options;
    this.#waiting++;
    const worker = await this.#options.worker().finally(() => this.#waiting--);
    if (worker.hasEnded()) throw new WorkerEndedError("Its worker ended before it was given anything", false);
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
        worker.send({ t: "batch", session: this.name, n, items, ...(written !== undefined && { written }) });
        this.#written = undefined;
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
    // Told with the next batch: nobody there has to know before.
    this.#written = written;
  }

  /** The worker has ended. */
  ended(reason: string, isSuspect: boolean): void {
    this.#answeredBy = undefined;
    this.#pending?.reject(new WorkerEndedError(reason, isSuspect));
  }

  /** Gives up what is in hand. */
  abandon(reason: string): void {
    this.ended(reason, false);
  }

  close(): void {
    this.#options.closed();
  }

  /** What the worker says of what is in its hands. */
  beat(hand: { readonly n: number; readonly since: number } | undefined): void {
    const pending = this.#pending;
    if (pending && hand?.n === pending.n) pending.mentionedAt = performance.now() - Math.max(0, hand.since);
  }

  /** Looks whether the worker still works on what it was given. */
  look(now: number, grace: number): void {
    const pending = this.#pending;
    if (!pending) return;
    if (pending.worker.hasEnded()) return this.ended("Its worker has ended", false);
    const { timeout } = this.#options;
    // A worker with nothing in hand says nothing.
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

  /** Takes what the worker says about this session. */
  take(message: FromWorker & { t: "done" | "stream" | "keys" }): void {
    const pending = this.#pending;
    if (message.t !== "done") return void this.#answer(message, pending?.n === message.n ? pending : undefined);
    // Of a batch that was given up.
    if (!pending || message.n < pending.n) return;
    if (message.n !== pending.n) return this.#violated("it answered a batch that it was not given");
    if (pending.unread) return pending.reject(pending.unread.error);
    const { answer } = message;
    if (answer === "void") return this.#violated("it cancelled a batch without a cause");
    if (answer === "apart") {
      if (pending.items.length === 1) return this.#violated("it asked to split a batch of one");
      return pending.resolve(answer);
    }
    const result = this.#options.capability.check(answer, pending.items, this.#options.now());
    if (typeof result === "string") this.#violated(result);
    else pending.resolve(result);
  }

  #violated(what: string): void {
    this.#options.violated(`The worker of ${this.group} sent an invalid answer: ${what}`);
  }

  /** Reads what the worker asks for; nothing outside of a batch. */
  async #answer(question: Question, pending: Pending | undefined): Promise<void> {
    const worker = pending?.worker ?? this.#answeredBy;
    if (worker && worker.waiting() > MOST_WAITING) return this.#violated("it does not read what it has asked for");
    if (!pending) return worker?.send({ t: "unread", q: question.q });
    const { capability, store } = this.#options;
    const mayRead = question.t === "stream"
      ? capability.mayRead(question.stream)
      : capability.mayReadRows(question.projection);
    if (!mayRead || ++pending.questions > MOST_QUESTIONS) {
      return this.#violated(mayRead ? "it asks too much at a time" : "it asks for what it may not read");
    }
    const { q } = question;
    try {
      if (question.t === "stream") {
        const found = await store.readStream(question.stream, { from: question.from, limit: PAGE });
        const records = page(found);
        pending.worker.send({ t: "records", q, records, more: records.length < found.length || found.length === PAGE });
      } else {
        const rows = await store.readRows(question.projection, question.keys);
        pending.worker.send({ t: "rows", q, rows: rows.map(({ key, row }) => ({ key, row })) });
      }
    } catch (error) {
      pending.unread ??= { error };
      pending.worker.send({ t: "unread", q });
    } finally {
      pending.questions--;
    }
  }
}

/** As many records as fit into one answer, at least one. */
function page(records: readonly MessageRecord[]): readonly MessageRecord[] {
  let characters = 0;
  const end = records.findIndex(({ data }, i) => (characters += data.length) > PAGE_CHARACTERS && i > 0);
  return end < 0 ? records : records.slice(0, end);
}

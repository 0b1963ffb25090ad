/**
 * The entry point of every worker in a host: loads the domain and turns batches of messages into effects. It has no
 * access to the store; all reads go through the engine.
 *
 * @module
 */
import type { HandlerLog } from "../domain/context.ts";
import type { Domain } from "../domain/model.ts";
import { type Effects, NO_EFFECTS, type Reading } from "../handling/batch.ts";
import type { BatchItem } from "../handling/executor.ts";
import { LocalRunner } from "../handling/runner.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { storable } from "../messages/text.ts";
import type { Snapshot, Tagged, TaggedMessages } from "../store/port.ts";
import { read, textOf } from "../messages/thrown.ts";
import { DomainAnswers } from "./answers.ts";
import { importDomain } from "./describe.ts";
import { connect } from "./connect.ts";
import { decodeFrame, encodeFrame, FrameSocket, MOST_ELEMENTS } from "./frames.ts";
import { LogQuota } from "./log_quota.ts";
import { explainRefusal, PACKAGE_ROOT } from "./permissions.ts";
import type { Level } from "../telemetry/events.ts";
import type { DomainQuestion, FromWorker, SessionSpec, ToWorker, WorkerGreeting } from "./protocol.ts";
import { sandbox } from "./sandbox.ts";
import { createGuard } from "./timeout.ts";
import { Unhandled } from "./unhandled.ts";

/** The longest answer to a batch, in bytes. */
const LONGEST_ANSWER = 64 << 20;

/** Heartbeat interval while a batch is in flight, in milliseconds. */
const BEAT_INTERVAL = 1_000;

const scope = globalThis as unknown as {
  addEventListener(type: string, listener: (event: any) => void): void;
  removeEventListener(type: string, listener: (event: any) => void): void;
};

/** A session's in-flight batch. */
interface Session {
  readonly spec: SessionSpec;
  readonly runner: LocalRunner;
  n: number;
  position: number;
  since: number;
  stop: AbortController | undefined;
}

class HostedWorker {
  // Saved before domain code can modify them.
  #socket: FrameSocket;
  #now: () => number = performance.now.bind(performance);
  #memory: () => Deno.MemoryUsage = Deno.memoryUsage;
  #module: string;
  #domain: Domain | undefined;
  #sessions = new Map<string, Session>();
  #questions = new Map<number, (answer: ToWorker) => void>();
  #lastQuestion = 0;
  #quota = new LogQuota(this.#now);
  #setInterval = setInterval;
  #clearInterval = clearInterval;
  #beating: ReturnType<typeof setInterval> | undefined;
  #guard = createGuard();
  #asked = new DomainAnswers(this.#guard);
  #unhandled = new Unhandled((session, position, error) => {
    const what = position === null ? "A promise" : `A promise from message ${position}`;
    const group = this.#sessions.get(session ?? "")?.spec.group ?? "*";
    this.log(session ?? "").error(
      `${what} rejected after it completed (missing await?); no effect: ${this.#explain(error, group)}`,
    );
  });

  constructor(socket: FrameSocket, { secret, env, module }: WorkerGreeting) {
    this.#socket = socket;
    this.#module = module;
    socket.send(encodeFrame({ t: "hello", secret }));
    // Whoever hears nothing any more has to be replaced.
    void socket.read((payload) => this.#take(decodeFrame(payload) as ToWorker)).finally(() => socket.close());
    scope.addEventListener("unhandledrejection", (event) => {
      event.preventDefault();
      this.#unhandled.add(event.reason ?? new Error("A promise was rejected without a reason"));
    });
    scope.addEventListener("error", (event) => {
      event.preventDefault();
      this.#unhandled.add(event.error ?? new Error(event.message));
    });
    sandbox(env, this.log(""));
    void this.#load();
  }

  #send(message: FromWorker): void {
    this.#socket.send(encodeFrame(message));
  }

  /** Sends heartbeats while batches are in flight, and one more. */
  #keepBeating(): void {
    this.#beating ??= this.#setInterval.call(globalThis, () => this.#beat(), BEAT_INTERVAL);
  }

  #beat(): void {
    const now = this.#now();
    const hands = [...this.#sessions.values()].filter(({ stop }) => stop !== undefined)
      .map(({ spec, n, position, since }) => ({ session: spec.session, n, position, since: Math.round(now - since) }));
    this.#send({ t: "beat", hands, heap: this.#memory().heapUsed });
    if (hands.length === 0) {
      this.#clearInterval.call(globalThis, this.#beating);
      this.#beating = undefined;
    }
    const dropped = this.#quota.takeDropped();
    if (dropped > 0) {
      this.#say("", "warn", `${dropped} log lines were dropped (limit: 2,000 lines or 1 MB in 2 s)`);
    }
  }

  async #load(): Promise<void> {
    try {
      this.#domain = await importDomain(this.#module);
      this.#send({ t: "ready" });
    } catch (error) {
      const text = storable(`${this.#explain(error, "*")}${placeOf(error)}`, 10_000);
      this.#send({ t: "unready", message: text });
    }
  }

  #explain(error: unknown, group: string): string {
    return explainRefusal(textOf(error), group);
  }

  #say(session: string, level: Level, text: string, fields?: Record<string, unknown>): void {
    this.#send({ t: "log", session, level, text, ...(fields && { fields }) });
  }

  /** The log of a session's handlers; converts whatever they pass to text. */
  log(session: string): HandlerLog {
    const line = (level: Level) => (given: unknown, fields?: unknown): void => {
      const text = storable(
        typeof given === "string" ? given : given instanceof Error ? textOf(given) : shown(given),
        8_000,
      );
      if (this.#quota.take(text.length)) this.#say(session, level, text, plain(fields));
      // Dropped lines are reported later.
      else this.#keepBeating();
    };
    return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
  }

  #take(message: ToWorker): void {
    switch (message.t) {
      case "describe":
      case "decode":
      case "fold":
      case "draft":
      case "schemas":
        return this.#answer(message);
      case "open":
        return this.#open(message.session);
      case "close":
        return void this.#sessions.delete(message.session);
      case "batch":
        if (message.written !== undefined) this.#sessions.get(message.session)?.runner.settle(message.written);
        if (message.forget) this.#sessions.get(message.session)?.runner.forget();
        return void this.#handle(message.session, message.n, message.items);
      case "abort": {
        const session = this.#sessions.get(message.session);
        if (session?.n === message.n) {
          session.stop?.abort(new Error("The server is stopping or has given up on the message"));
        }
        return;
      }
      default: {
        const answer = this.#questions.get(message.q);
        this.#questions.delete(message.q);
        return answer?.(message);
      }
    }
  }

  #answer({ id, ...question }: DomainQuestion & { readonly id: number }): void {
    try {
      this.#send({ ...this.#asked.answer(this.#domain!, question), id } as FromWorker);
    } catch (error) {
      this.#send({ t: "unready", message: storable(this.#explain(error, "*"), 10_000) });
    }
  }

  #open(spec: SessionSpec): void {
    const handler = this.#domain!.handlers.get(spec.group)!;
    const runner = new LocalRunner(this.#domain!, handler, {
      reading: {
        readStream: (stream, from) => this.#readStream(spec.session, stream, from),
        readRows: (projection, keys) => this.#readRows(spec.session, projection, keys),
        readAt: (positions) => this.#readAt(spec.session, positions),
        readTagged: (among, after) => this.#readTagged(spec.session, among, after),
        readSnapshot: (stream, fingerprint) => this.#readSnapshot(spec.session, stream, fingerprint),
        readOutcome: (command) => this.#readOutcome(spec.session, command),
        sql: spec.sql,
        longest: spec.longest,
      },
      timeout: spec.timeout,
      execution: {
        guard: this.#guard,
        watch: () => {
          const watch = this.#unhandled.watch(spec.session);
          return {
            takeStray: () => watch.takeStray(),
            started: (position) => {
              const session = this.#sessions.get(spec.session)!;
              session.position = position;
              session.since = this.#now();
              watch.started(position);
            },
          };
        },
      },
      log: this.log(spec.session),
      explain: (error) => this.#explain(error, spec.group),
    });
    this.#sessions.set(spec.session, { spec, runner, n: 0, position: 0, since: 0, stop: undefined });
  }

  async #handle(name: string, n: number, items: readonly BatchItem[]): Promise<void> {
    const session = this.#sessions.get(name)!;
    const stop = session.stop = new AbortController();
    session.n = n;
    session.since = this.#now();
    this.#keepBeating();
    let answer: (FromWorker & { t: "done" })["answer"];
    try {
      const result = await session.runner.run(items, stop.signal);
      answer = result === "apart" ? result : {
        effects: result.effects as never,
        handled: [...result.handled],
        failures: [...result.failures],
        stuck: result.stuck,
      };
    } catch {
      // A read failed; the engine knows why.
      answer = "void";
    }
    session.stop = undefined;
    let frame = encodeFrame({ t: "done", session: name, n, answer } satisfies FromWorker);
    const count = typeof answer === "string" ? 0 : countOf(answer.effects);
    if (frame.length > LONGEST_ANSWER || count > MOST_ELEMENTS) {
      session.runner.settle(false);
      const error = count > MOST_ELEMENTS
        ? `It has ${count} effects, more than the limit of ${MOST_ELEMENTS} per message`
        : `Its effects take ${frame.length} bytes, more than the limit of ${LONGEST_ANSWER} per message`;
      // Each of several messages may fit on its own.
      const instead: typeof answer = items.length > 1
        ? "apart"
        : { effects: NO_EFFECTS as never, handled: [], failures: [[0, { error, stack: null }]], stuck: false };
      frame = encodeFrame({ t: "done", session: name, n, answer: instead } satisfies FromWorker);
    }
    this.#socket.send(frame);
  }

  #ask<T extends ToWorker["t"]>(question: (q: number) => FromWorker): Promise<ToWorker & { t: T }> {
    const q = ++this.#lastQuestion;
    return new Promise((resolve, reject) => {
      this.#questions.set(q, (answer) => {
        if (answer.t === "unread") reject(new Error("The data cannot be read now"));
        else resolve(answer as ToWorker & { t: T });
      });
      this.#send(question(q));
    });
  }

  async #readStream(session: string, stream: string, from: number): Promise<readonly MessageRecord[]> {
    const found: MessageRecord[] = [];
    while (true) {
      const n = this.#sessions.get(session)!.n;
      const next = from + found.length;
      const { records, more } = await this.#ask<"records">((q) => ({ t: "stream", session, n, q, stream, from: next }));
      found.push(...records);
      if (!more) return found;
    }
  }

  async #readAt(session: string, positions: readonly number[]): Promise<readonly MessageRecord[]> {
    const found: MessageRecord[] = [];
    for (let left = [...positions].sort((a, b) => a - b); left.length > 0;) {
      const n = this.#sessions.get(session)!.n;
      const asked = left.slice(0, MOST_POSITIONS);
      const { records, read } = await this.#ask<"found">((q) => ({ t: "positions", session, n, q, positions: asked }));
      found.push(...records);
      left = left.slice(Math.max(1, read));
    }
    return found;
  }

  async #readSnapshot(session: string, stream: string, fingerprint: string): Promise<Snapshot | null> {
    const n = this.#sessions.get(session)!.n;
    return (await this.#ask<"snapshot">((q) => ({ t: "snapshot", session, n, q, stream, fingerprint }))).snapshot;
  }

  async #readOutcome(session: string, command: string): ReturnType<Required<Reading>["readOutcome"]> {
    const n = this.#sessions.get(session)!.n;
    const { status } = await this.#ask<"outcome">((q) => ({ t: "outcome", session, n, q, command }));
    return status && { status };
  }

  async #readTagged(session: string, among: readonly Tagged[], after: number): Promise<TaggedMessages> {
    const messages: MessageRecord[] = [];
    // Later pages end where the first one did: what came meanwhile is for the next read.
    for (let last: number | null = null;;) {
      const n = this.#sessions.get(session)!.n;
      const from = messages.at(-1)?.position ?? after;
      const asked: Pick<FromWorker & { t: "tagged" }, "among" | "after" | "upTo"> = {
        among: among.map(({ tag, types }) => ({ tag, types: [...types] })),
        after: from,
        upTo: last,
      };
      const page: ToWorker & { t: "tagged" } = await this.#ask((q) => ({ t: "tagged", session, n, q, ...asked }));
      messages.push(...page.records);
      last ??= page.last;
      if (!page.more) return { messages, last };
    }
  }

  async #readRows(session: string, projection: string, keys: readonly string[]) {
    const found: { key: string; row: string | null }[] = [];
    for (let left = keys; left.length > 0;) {
      const n = this.#sessions.get(session)!.n;
      const { rows, read } = await this.#ask<"rows">((q) => ({
        t: "keys",
        session,
        n,
        q,
        projection,
        keys: [...left],
      }));
      found.push(...rows);
      left = left.slice(Math.max(1, read));
    }
    return found;
  }
}

/** Most messages that are asked for by position at a time. */
const MOST_POSITIONS = 1_000;

function countOf(
  { appends, rows, statements, schedule, unschedule, snapshots }: Omit<Effects, "outcomes" | "conditions">,
): number {
  const others = rows.length + statements.length + schedule.length + unschedule.length + snapshots.length;
  return appends.reduce((sum, { messages }) => sum + messages.length, others);
}

function shown(value: unknown): string {
  try {
    return Deno.inspect(value, { depth: 4, strAbbreviateSize: 8_000 });
  } catch {
    return "a value that cannot be shown";
  }
}

/** Converts fields to JSON values: a function in a log line must not crash the worker. */
function plain(fields: unknown): Record<string, unknown> | undefined {
  if (typeof fields !== "object" || fields === null) return fields === undefined ? undefined : { value: shown(fields) };
  try {
    const text = JSON.stringify(fields);
    return text.length > 8_000 ? { fields: storable(text, 8_000) } : { ...JSON.parse(text) };
  } catch {
    return { fields: storable(shown(fields), 8_000) };
  }
}

/** The location in the domain's code where an error was thrown, if known. */
function placeOf(error: unknown): string {
  const stack = read(error, "stack");
  const frames = typeof stack === "string" ? stack.match(/\w+:\/\/[^\s()]+:\d+:\d+/g) ?? [] : [];
  const place = frames.find((frame) => !frame.startsWith(`${PACKAGE_ROOT}src/`) && !/^(ext|node):/.test(frame));
  return place === undefined ? "" : ` (thrown at ${place})`;
}

/** Revokes access to the engine's socket: code that could replace it could impersonate other workers. */
function forget(address: string | number): void {
  if (typeof address === "string") {
    Deno.permissions.revokeSync({ name: "write", path: address });
    Deno.permissions.revokeSync({ name: "read", path: address });
  }
  const host = typeof address === "string" ? `unix:${address}` : `127.0.0.1:${address}`;
  Deno.permissions.revokeSync({ name: "net", host });
}

const begin = async ({ data }: { data: WorkerGreeting }): Promise<void> => {
  scope.removeEventListener("message", begin);
  const connection = await connect(data.address).catch(() => null);
  // The engine does not want it any more.
  if (connection === null) return close();
  forget(data.address);
  new HostedWorker(new FrameSocket(connection), data);
};
scope.addEventListener("message", begin);

import { ModuleLoadError, WorkerEndedError } from "./errors.ts";
import { type HostedWorker, type HostLimits, HostProcess, type WorkerSpec } from "./host_process.ts";
import type { GroupWorker } from "../handling/runner.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { within } from "../lib/within.ts";
import { WorkerSession, type WorkerSessionOptions } from "./session.ts";
import { LogQuota } from "./log_quota.ts";
import type { DomainQuestion, FromWorker } from "./protocol.ts";
import type { Report } from "../telemetry/events.ts";

/** Grace period beyond the time limit before a blocked thread's host is killed, in milliseconds. */
const GRACE = 2_500;

/** How long a worker may take to load, in milliseconds. */
const LOAD_PATIENCE = 30_000;

/** Interval between worker checks, in milliseconds. */
const INTERVAL = 500;

/** A host that lived at least this long is restarted at once rather than on demand, in milliseconds. */
const CALM = 5_000;

/** How many workers may get a host of their own after their shared host ended while they were busy. */
const MOST_APART = 4;

/** The host that the remaining ones share. */
const SHARED = "apart";

/** How long a worker stays isolated without incident, in milliseconds. */
const APART = 600_000;

/** A worker: what it loads and which groups share it. */
export interface Unit {
  /** Its name, unique. */
  readonly name: string;
  /** The host it is assigned to. */
  readonly home: string;
  /** The groups it runs. */
  readonly groups: readonly string[];
  /** Its start parameters. */
  readonly spec: Omit<WorkerSpec, "name">;
}

/** Settings of {@linkcode HostPool}. */
export interface HostPoolOptions {
  /** Returns the permission flags of a host process for the groups in it; `null` means all groups. */
  readonly flags: (groups: readonly string[] | null, address: string | number) => string[];
  /** Returns the environment variables granted to groups; `null` means all groups. */
  readonly env: (groups: readonly string[] | null) => Readonly<Record<string, string>>;
  /** Resource limits of hosts. */
  readonly limits: HostLimits;
  /** Receives engine events. */
  readonly report: Report;
}

/** Options of a session that the caller supplies. */
export type SessionOptions = Omit<WorkerSessionOptions, "worker" | "busy" | "violated" | "closed">;

/** A host, running or still to be started. */
interface Slot {
  readonly name: string;
  /** Whether it has the grants of all groups, because it was started before the groups were known. */
  readonly isFirst: boolean;
  process: Promise<HostProcess> | undefined;
  /** When it was last started. */
  startedAt: number;
  /** The number of busy workers, and their accumulated busy time until `since`. */
  busy: number;
  worked: number;
  since: number;
}

interface Placed {
  readonly unit: Unit;
  slot: Slot;
  /** Since when it is away from its assigned host. */
  apartSince: number;
  worker: Promise<HostedWorker> | undefined;
  /** The worker, once started. */
  hosted: HostedWorker | undefined;
  /** Gives up a worker that is still loading. */
  stopLoading: (() => void) | undefined;
  /** Whether one has loaded before. */
  hasLoaded: boolean;
  sessions: Map<string, WorkerSession>;
  /** Who waits for an answer, by the number of the question. */
  answers: Map<number, { readonly resolve: (answer: FromWorker) => void; readonly reject: (error: Error) => void }>;
  quota: LogQuota;
}

/** Runs workers in hosts: starts them, replaces those that end, and isolates those that keep ending. */
export class HostPool {
  #options: HostPoolOptions;
  #slots = new Map<string, Slot>();
  #units = new Map<string, Placed>();
  #timer: ReturnType<typeof setInterval>;
  #processes = new Set<HostProcess>();
  /** Loading a worker is CPU-bound: more at a time would take longer and starve the host's main thread. */
  #loading = new Semaphore(Math.max(2, navigator.hardwareConcurrency));
  /** Hosts that are being ended. */
  #leaving = new Set<Promise<unknown>>();
  #lookedAt = performance.now();
  #closed = false;

  /** @param options Permissions and limits of hosts. */
  constructor(options: HostPoolOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), INTERVAL);
  }

  /** Starts the first host before the groups are known. */
  prepare(name: string): void {
    this.#start(this.#slot(name, true)).catch(() => {});
  }

  /** Ends a host, so that its successor sees the updated module cache. */
  async restart(name: string): Promise<void> {
    const slot = this.#slot(name);
    const process = slot.process;
    slot.process = undefined;
    for (const placed of this.#units.values()) if (placed.slot === slot) placed.worker = undefined;
    await process?.then((host) => this.#closeHost(host), () => {});
  }

  /** Closes a host that does not end by itself. */
  async #closeHost(host: HostProcess): Promise<void> {
    await host.close();
    this.#processes.delete(host);
  }

  #slot(name: string, isFirst = false): Slot {
    let slot = this.#slots.get(name);
    if (!slot) {
      slot = { name, isFirst, process: undefined, startedAt: 0, busy: 0, worked: 0, since: performance.now() };
      this.#slots.set(name, slot);
    }
    return slot;
  }

  /** Raises the limits of the hosts to fit the added workers. */
  async makeRoom(): Promise<void> {
    const rooms = [...this.#slots.values()].map(async (slot) => {
      const workers = [...this.#units.values()].filter((placed) => placed.slot === slot).length;
      await (await slot.process)?.resize(workers);
    });
    await Promise.allSettled(rooms);
  }

  /** Adds a worker; it is started on demand. */
  add(unit: Unit): void {
    this.#units.set(unit.name, {
      unit,
      slot: this.#slot(unit.home),
      apartSince: Infinity,
      worker: undefined,
      hosted: undefined,
      stopLoading: undefined,
      hasLoaded: false,
      sessions: new Map(),
      answers: new Map(),
      quota: new LogQuota(() => performance.now(), 2),
    });
  }

  /** Ends a worker that is no longer needed, and its host if that has no other; not the first one, which waits for groups. */
  remove(name: string): void {
    const placed = this.#units.get(name);
    if (!placed) return;
    this.#units.delete(name);
    void placed.worker?.then((worker) => worker.end(), () => {});
    refuse(placed, new WorkerEndedError("It is no longer needed", false));
    for (const slot of new Set([placed.slot, this.#slot(placed.unit.home)])) if (!slot.isFirst) this.#leave(slot);
  }

  /** Ends a host that no worker is left for. */
  #leave(slot: Slot): void {
    if ([...this.#units.values()].some((other) => other.slot === slot || other.unit.home === slot.name)) return;
    this.#slots.delete(slot.name);
    const left: Promise<unknown> = Promise.resolve(slot.process?.then((host) => this.#closeHost(host), () => {}))
      .finally(() => this.#leaving.delete(left));
    this.#leaving.add(left);
  }

  /** Opens a session, which runs the batches of one partition of a group. */
  session(unit: string, options: SessionOptions): WorkerSession {
    const placed = this.#units.get(unit)!;
    const session: WorkerSession = new WorkerSession({
      ...options,
      worker: () => this.#worker(placed),
      busy: () => this.#busy(placed.slot),
      violated: (what) => this.#end(placed, what),
      closed: () => this.#close(placed, session),
    });
    placed.sessions.set(session.name, session);
    void placed.worker?.then((worker) => session.open(worker), () => {});
    return session;
  }

  #close(placed: Placed, session: WorkerSession): void {
    placed.sessions.delete(session.name);
    void placed.worker?.then((worker) => worker.send({ t: "close", session: session.name }), () => {});
  }

  /** Starts a worker; rejects if it cannot be loaded. */
  async load(unit: string): Promise<void> {
    await this.#worker(this.#units.get(unit)!);
  }

  /** The interface of a worker for the runner of a partition. */
  workerOf(unit: string, options: SessionOptions): GroupWorker {
    return {
      load: () => this.load(unit),
      open: () => this.session(unit, options),
      replace: (session) => this.#replace(unit, (session as WorkerSession).ranIn),
    };
  }

  /**
   * Asks a worker something outside of any session.
   *
   * @throws {ModuleLoadError} If its module cannot be loaded, or it does not answer: then it is replaced.
   * @throws {WorkerEndedError} If it ended.
   */
  async ask(unit: string, question: DomainQuestion): Promise<FromWorker> {
    const placed = this.#units.get(unit)!;
    const worker = await this.#worker(placed);
    const id = ++this.#lastQuestion;
    const answer = await within(
      LOAD_PATIENCE,
      new Promise<FromWorker>((resolve, reject) => {
        placed.answers.set(id, { resolve, reject });
        worker.send({ ...question, id });
      }),
    );
    placed.answers.delete(id);
    if (answer !== undefined) return answer;
    if (placed.hosted === worker) this.#drop(placed);
    throw new ModuleLoadError(`it did not answer within ${LOAD_PATIENCE / 1000} s`);
  }

  #lastQuestion = 0;

  /** Replaces a worker whose handler timed out. */
  #replace(unit: string, stuck: HostedWorker | undefined): void {
    const placed = this.#units.get(unit);
    // Another session in the same worker was faster.
    if (!placed?.worker || placed.hosted !== stuck) return;
    this.#drop(placed);
    for (const session of placed.sessions.values()) {
      session.ended("Another handler in the same worker timed out", false);
    }
  }

  /** Marks a worker as busy until the returned function is called. */
  #busy(slot: Slot): () => void {
    this.#count(slot, 1);
    return () => this.#count(slot, -1);
  }

  #count(slot: Slot, delta: number): void {
    const now = performance.now();
    slot.worked += slot.busy * (now - slot.since);
    slot.since = now;
    slot.busy += delta;
  }

  #start(slot: Slot): Promise<HostProcess> {
    return slot.process ??= this.#startProcess(slot).catch((error) => {
      slot.process = undefined;
      throw error;
    });
  }

  async #startProcess(slot: Slot): Promise<HostProcess> {
    const { flags, env, limits, report } = this.#options;
    const host = slot.name;
    // Include workers that will return later: a process's permissions cannot be extended.
    const units = [...this.#units.values()].filter((placed) => placed.slot === slot || placed.unit.home === slot.name);
    const groups = slot.isFirst || slot.name === SHARED ? null : units.flatMap(({ unit }) => unit.groups);
    slot.startedAt = performance.now();
    const process = await HostProcess.start({
      flags: (address) => flags(groups, address),
      env: env(groups),
      workers: Math.max(units.length, 1),
      limits,
      work: () => {
        this.#count(slot, 0);
        return slot.worked;
      },
      ended: (reason) => {
        slot.process = undefined;
        for (const ended of this.#processes) if (ended.hasEnded) this.#processes.delete(ended);
        if (!this.#closed) report({ type: "host.ended", host, reason });
      },
      printed: (text) => report({ type: "host.printed", host, text }),
      silenced: (lines) => report({ type: "host.silenced", host, lines }),
    });
    this.#processes.add(process);
    report({ type: "host.started", host, pid: process.pid });
    if (this.#closed) await process.close();
    return process;
  }

  #worker(placed: Placed): Promise<HostedWorker> {
    if (this.#closed) return Promise.reject(new WorkerEndedError("The server is stopping", false));
    if (placed.worker) return placed.worker;
    const starting: Promise<HostedWorker> = this.#loading.run(() => this.#startWorker(placed)).catch((error) => {
      if (placed.worker === starting) placed.worker = undefined;
      throw error;
    });
    // Callers that await the promise get the error.
    starting.catch(() => {});
    return placed.worker = starting;
  }

  async #startWorker(placed: Placed): Promise<HostedWorker> {
    const host = await this.#start(placed.slot);
    const { slot, unit } = placed;
    return await new Promise((resolve, reject) => {
      let settled = false;
      const settle = (): void => {
        if (settled) return;
        settled = true;
        clearTimeout(patience);
        done();
        placed.stopLoading = undefined;
      };
      const done = this.#busy(slot);
      placed.stopLoading = () => {
        settle();
        reject(new WorkerEndedError("Its worker was replaced while it loaded", false));
      };
      const patience = setTimeout(() => {
        reject(new ModuleLoadError(`it did not load within ${LOAD_PATIENCE / 1000} s`));
        worker.killHost(
          `${unit.name} did not load within ${
            LOAD_PATIENCE / 1000
          } s; check its top-level code for a loop or an await that never settles`,
        );
      }, LOAD_PATIENCE);
      const worker = host.start({ ...unit.spec, name: unit.name }, {
        message: (message, bytes) => {
          if (message.t === "ready") {
            settle();
            for (const session of placed.sessions.values()) session.open(worker);
            this.#started(placed);
            return resolve(worker);
          }
          if (message.t === "unready") {
            settle();
            worker.end();
            const error = new ModuleLoadError(message.message);
            refuse(placed, error);
            return reject(error);
          }
          if (placed.hosted === worker) this.#take(placed, message, bytes);
        },
        violation: (what) => {
          settle();
          reject(new ModuleLoadError(what));
          if (placed.hosted === worker) this.#ended(placed, what, true, false, false);
        },
        ended: (reason, isSuspect, isHost) => {
          const wasLoading = !settled;
          settle();
          reject(new WorkerEndedError(reason, isSuspect));
          if (placed.hosted === worker) this.#ended(placed, reason, isSuspect, isHost, wasLoading);
        },
      });
      placed.hosted = worker;
    });
  }

  /** Reports that a worker has loaded; that of no group only says what the domain contains. */
  #started(placed: Placed): void {
    const { name: worker, groups } = placed.unit;
    const { hasLoaded: isRestart } = placed;
    if (groups.length > 0) this.#options.report({ type: "worker.started", worker, groups, isRestart });
    placed.hasLoaded = true;
  }

  #take(placed: Placed, message: FromWorker, bytes: number): void {
    switch (message.t) {
      case "described":
      case "decoded":
      case "folded":
      case "drafted":
      case "schemas":
        return placed.answers.get(message.id)?.resolve(message);
      case "log": {
        const group = placed.sessions.get(message.session)?.group ?? placed.unit.groups[0] ?? "";
        if (placed.quota.take(bytes)) {
          const { level, text, fields = {} } = message;
          this.#options.report({ type: "handler.logged", group, level, text, fields });
        }
        return;
      }
      case "beat":
        for (const session of placed.sessions.values()) {
          session.beat(message.hands.find((hand) => hand.session === session.name));
        }
        this.#options.report({ type: "worker.measured", worker: placed.unit.name, heapBytes: message.heap });
        return;
      case "ready":
      case "unready":
        return;
      default:
        // All others are a session's, which may have been closed in the meantime.
        placed.sessions.get(message.session)?.take(message);
    }
  }

  /** Ends a worker that nobody is to hear of any more; whoever waits for it to load starts another. */
  #drop(placed: Placed): void {
    placed.hosted?.end();
    placed.stopLoading?.();
    placed.hosted = placed.worker = undefined;
  }

  /** Ends a worker that violated the protocol; only its own groups count it as a failure. */
  #end(placed: Placed, reason: string): void {
    placed.hosted?.end();
    this.#ended(placed, reason, true, false, false);
  }

  /** Handles the end of a worker, alone or with its host. */
  #ended(placed: Placed, reason: string, isSuspect: boolean, isHost: boolean, wasLoading: boolean): void {
    placed.worker = undefined;
    placed.hosted = undefined;
    if (!isHost && !this.#closed) {
      for (const group of placed.unit.groups) this.#options.report({ type: "worker.ended", group, reason });
    }
    refuse(placed, new WorkerEndedError(reason, isSuspect));
    const hadInHand = [...placed.sessions.values()].some((session) => session.isBusy);
    for (const session of placed.sessions.values()) session.ended(reason, isSuspect);
    if (isHost && isSuspect && (hadInHand || wasLoading)) this.#keepApart(placed);
    // Workers that are not suspects restart at once; those of a host that keeps ending restart on demand.
    else if (
      !wasLoading && !this.#closed && placed.sessions.size > 0 && performance.now() - placed.slot.startedAt > CALM
    ) {
      this.#worker(placed).catch(() => {});
    }
  }

  /** Isolates a suspect worker, so that its next crash affects no other; a repeat offender gets a host of its own. */
  #keepApart(placed: Placed): void {
    const { slot, unit } = placed;
    if (slot.name !== unit.home) placed.apartSince = performance.now();
    if (![...this.#units.values()].some((other) => other !== placed && other.slot === slot)) return;
    const alone = [...this.#slots.keys()].filter((name) => name.startsWith("apart ")).length;
    const isAgain = slot.name === SHARED;
    placed.slot = isAgain || alone < MOST_APART ? this.#slot(`apart ${unit.name}`) : this.#slot(SHARED);
    placed.apartSince = performance.now();
    void this.makeRoom();
  }

  #look(): void {
    const now = performance.now();
    const late = now - this.#lookedAt > 3 * INTERVAL;
    this.#lookedAt = now;
    // If this process itself was stalled, missed heartbeats mean nothing.
    if (late) return;
    for (const placed of this.#units.values()) {
      const dropped = placed.quota.takeDropped();
      if (dropped > 0) {
        const text = `${dropped} log lines were dropped`;
        const [group = ""] = placed.unit.groups;
        this.#options.report({ type: "handler.logged", group, level: "warn", text, fields: {} });
      }
      for (const session of placed.sessions.values()) session.look(now, GRACE);
      if (now - placed.apartSince > APART && ![...placed.sessions.values()].some((session) => session.isBusy)) {
        placed.apartSince = Infinity;
        const left = placed.slot;
        placed.slot = this.#slot(placed.unit.home);
        this.#drop(placed);
        this.#leave(left);
        void this.makeRoom();
      }
    }
  }

  /** The running host processes. */
  get pids(): number[] {
    return [...this.#processes].map(({ pid }) => pid);
  }

  /** Ends all hosts. */
  async stop(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    const starting = [...this.#slots.values()].map(({ process }) => process?.then((host) => host.close(), () => {}));
    for (const { sessions } of this.#units.values()) {
      for (const session of sessions.values()) session.ended("The server is stopping", false);
    }
    await Promise.all([...starting, ...this.#leaving]);
  }
}

/** Fails what a worker was asked and has not answered. */
function refuse({ answers }: Placed, error: Error): void {
  for (const { reject } of answers.values()) reject(error);
  answers.clear();
}

import { sleep } from "../async/sleep.ts";
import type { PermissionGrant } from "../config/config.ts";
import type { EventStore, Fence } from "../store/port.ts";
import { leaseName } from "../subscriptions/lane.ts";
import { WORKER_ENTRY } from "./probe.ts";
import type { Assignment, FromWorker, Level, ToWorker } from "./protocol.ts";
import { LEASE_TTL } from "./roster.ts";

/** How much longer than the handler's timeout an event loop may stand still, in milliseconds. */
const PULSE_GRACE = 2_500;

/** How long a worker may take to load, in milliseconds. */
const LOAD_PATIENCE = 30_000;

/** How often a worker may end within a minute before the group is marked failed, beyond its own retries. */
const MOST_RESTARTS = 5;

/** How long a failed group rests before it is tried again, in milliseconds. */
const REST = 60_000;

/** How a group is doing. */
export interface GroupHealth {
  /** The consumer group. */
  readonly group: string;
  /** Which partition. */
  readonly partition: number;
  /** What it is doing. */
  readonly state: "starting" | "standby" | "running" | "restarting" | "failed" | "stopped";
  /** How often its worker was started again. */
  readonly restarts: number;
  /** Why it was last started again. */
  readonly lastError: string | null;
}

/** What a runner works with. */
export interface RunnerOptions {
  /** The store, with the supervisor's own connection. */
  readonly store: EventStore;
  /** Who holds the leases. */
  readonly owner: string;
  /** What its workers are told. */
  readonly assignment: Omit<Assignment, "fence" | "suspicious" | "pulse">;
  /** What its workers may do. */
  readonly permissions: Deno.PermissionOptionsObject;
  /** What its workers were granted, for messages. */
  readonly grant: PermissionGrant;
  /** Opens channels to adapters that live here. */
  readonly channels: () => { readonly store?: MessagePort; readonly broker?: MessagePort };
  /** Resolves with whether it is this process's turn to take a lease, after having looked who else is there. */
  readonly turn: (lease: string, signal: AbortSignal) => Promise<boolean>;
  /** Called when a worker has appended. */
  readonly onWrote: () => void;
  /** Where its lines go. */
  readonly log: (level: Level, text: string, fields?: Record<string, unknown>) => void;
}

/** How a worker's life ended. */
interface End {
  readonly reason: (FromWorker & { type: "ended" })["reason"] | "blocked";
  readonly message: string;
  readonly unknownType?: string;
}

/** Ends in order: nothing was left in the middle by a handler. */
const ORDERLY: readonly End["reason"][] = ["stopped", "stuck", "unsure", "unknown"];

/** Keeps one partition of one group running: lease, worker, restarts with backoff. */
export class GroupRunner {
  #options: RunnerOptions;
  #stop = new AbortController();
  #worker: Worker | undefined;
  #fence: Fence | undefined;
  #end: ((end: End) => void) | undefined;
  #state: GroupHealth["state"] = "starting";
  #restarts: number[] = [];
  #total = 0;
  #lastError: string | null = null;
  #settled: () => void = () => {};
  /** The token of the last worker when it ended in order, but could not give it back. */
  #endedInOrder: number | undefined;
  /** Types that are in the log and not in this code. */
  readonly lacks: Set<string> = new Set();
  /** Resolves when its worker runs for the first time, cannot, or another process has the lease. */
  readonly ready: Promise<void>;

  /**
   * Makes a runner that does not run yet.
   *
   * @param options What it works with.
   */
  constructor(options: RunnerOptions) {
    this.#options = options;
    this.ready = new Promise((resolve) => this.#settled = resolve);
  }

  /** How it is doing. */
  get health(): GroupHealth {
    const { group, partition } = this.#options.assignment;
    return { group, partition, state: this.#state, restarts: this.#total, lastError: this.#lastError };
  }

  /** The lease it holds now. */
  get fence(): Fence | undefined {
    return this.#fence;
  }

  /**
   * Runs until stopped.
   *
   * @returns `blocked` when a worker can no longer be stopped, and the process has to be replaced.
   */
  async run(): Promise<"stopped" | "blocked"> {
    const { store, owner, assignment, log } = this.#options;
    const { group, partition, partitions } = assignment;
    const lease = leaseName(group, partition, partitions);
    const signal = this.#stop.signal;
    while (!signal.aborted) {
      const request = { name: lease, group, partitions, owner, ttl: LEASE_TTL };
      const granted = await this.#options.turn(lease, signal) ? await store.acquireLease(request) : null;
      if (signal.aborted && !granted) break;
      if (!granted) {
        if (this.#state !== "standby") log("info", `Another process has ${lease}; standing by`);
        this.#state = "standby";
        this.#settled();
        continue;
      }
      if (this.#state === "standby") log("info", `Took over ${lease}`);
      const isOwn = this.#endedInOrder !== undefined && granted.token === this.#endedInOrder + 1;
      this.#endedInOrder = undefined;
      this.#fence = { lease, token: granted.token };
      this.#state = "starting";
      const end = await this.#live(this.#fence, !granted.clean && !isOwn);
      const clean = ORDERLY.includes(end.reason);
      this.#fence = undefined;
      if (clean) this.#endedInOrder = granted.token;
      await store.releaseLease({ lease, token: granted.token }, clean);
      this.#endedInOrder = undefined;
      if (end.reason === "blocked") {
        this.#state = "failed";
        return "blocked";
      }
      if (end.reason === "stopped") continue;
      await this.#afterEnd(end);
    }
    this.#state = "stopped";
    this.#settled();
    return "stopped";
  }

  async #afterEnd({ reason, message, unknownType }: End): Promise<void> {
    const { assignment: { settings }, log } = this.#options;
    if (reason === "fenced") return log("warn", `Another process took over; starting again`);
    if (reason === "unsure") return log("warn", `${message}; starting again under a new lease`);
    if (reason === "unknown") {
      this.lacks.add(unknownType!);
      return log("warn", `${message}; standing by`);
    }
    if (this.#stop.signal.aborted) return;
    this.#total++;
    this.#lastError = message;
    const now = Date.now();
    this.#restarts = [...this.#restarts.filter((at) => at > now - 60_000), now];
    if (this.#restarts.length > MOST_RESTARTS + settings.maxRetries) {
      log(
        "error",
        `Its worker ended ${this.#restarts.length} times within a minute; resting for ${REST / 1000} s: ${message}`,
      );
      this.#state = "failed";
      this.#settled();
      this.#restarts = [];
      return await sleep(REST, this.#stop.signal);
    }
    this.#state = "restarting";
    // One group that cannot start does not hold up the others.
    this.#settled();
    // A handler that did not come back has been counted and set aside already: no reason to wait.
    const delay = reason === "stuck" ? 0 : Math.min(5_000, 100 * 2 ** (this.#restarts.length - 1));
    log("error", `Its worker is replaced${delay > 0 ? ` in ${delay / 1000} s` : ""}: ${message}`);
    await sleep(delay, this.#stop.signal);
  }

  /** One worker, from its start to its end. */
  #live(fence: Fence, suspicious: boolean): Promise<End> {
    const { assignment, permissions, channels, onWrote, log } = this.#options;
    const pulse = new SharedArrayBuffer(4);
    let worker: Worker;
    try {
      worker = this.#worker = new Worker(WORKER_ENTRY, { type: "module", name: fence.lease, deno: { permissions } });
    } catch (error) {
      // Something that was granted is nothing that can be granted.
      return Promise.resolve({ reason: "failed", message: `Cannot start its worker: ${(error as Error).message}` });
    }
    return new Promise((resolve) => {
      const watch = this.#watch(pulse, (message) => finish({ reason: "blocked", message }));
      const ports = channels();
      const finish = (end: End): void => {
        clearInterval(watch);
        ports.store?.close();
        ports.broker?.close();
        this.#worker = undefined;
        this.#end = undefined;
        worker.terminate();
        resolve(end);
      };
      this.#end = finish;
      worker.onerror = (event) => {
        event.preventDefault();
        finish({ reason: "failed", message: event.message });
      };
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        switch (data.type) {
          case "running":
            this.#state = "running";
            return this.#settled();
          case "wrote":
            return onWrote();
          case "log":
            return log(data.level, data.text, data.fields);
          case "ended":
            return finish({
              reason: data.reason,
              message: data.message ?? "",
              ...(data.unknownType !== undefined && { unknownType: data.unknownType }),
            });
        }
      };
      const message: ToWorker = { type: "run", assignment: { ...assignment, fence, suspicious, pulse }, ...ports };
      worker.postMessage(message, [ports.store, ports.broker].filter((port) => port !== undefined));
      if (this.#stop.signal.aborted) worker.postMessage({ type: "stop" } satisfies ToWorker);
    });
  }

  /** Looks whether the worker's event loop still turns: one that does not cannot be stopped from outside. */
  #watch(pulse: SharedArrayBuffer, onBlocked: (message: string) => void): ReturnType<typeof setInterval> {
    const counter = new Int32Array(pulse);
    const { handlerTimeoutSeconds } = this.#options.assignment.settings;
    let seen = 0;
    let since = performance.now();
    let looked = since;
    return setInterval(() => {
      const now = performance.now();
      // When this process itself was suspended, nobody's pulse means anything.
      if (now - looked > 2 * PULSE_GRACE) since = now;
      looked = now;
      const beat = Atomics.load(counter, 0);
      if (beat !== seen) {
        seen = beat;
        since = now;
        return;
      }
      const patience = beat === 0 ? LOAD_PATIENCE : handlerTimeoutSeconds * 1000 + PULSE_GRACE;
      if (now - since < patience) return;
      onBlocked(
        beat === 0
          ? `The worker did not load within ${LOAD_PATIENCE / 1000} s`
          : `A handler keeps its thread busy since ${((now - since) / 1000).toFixed(1)} s and cannot be stopped`,
      );
    }, 1_000);
  }

  /** Tells the worker that somebody has written. */
  wake(): void {
    this.#worker?.postMessage({ type: "wake" } satisfies ToWorker);
  }

  /** Asks its worker to finish what is in hand, for another process to go on. */
  yield(): void {
    this.#worker?.postMessage({ type: "stop" } satisfies ToWorker);
  }

  /** Asks it to finish what is in hand and to end. */
  stop(): void {
    this.#stop.abort();
    this.#worker?.postMessage({ type: "stop" } satisfies ToWorker);
  }

  /** Ends it without waiting: the lease was lost, or the time for stopping is over. */
  abandon(reason: "fenced" | "failed", message: string): void {
    this.#end?.({ reason, message });
  }
}

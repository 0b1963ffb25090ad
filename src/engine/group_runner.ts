import type { Broker } from "../broker/port.ts";
import { leaseName } from "../groups/partition.ts";
import type { SubscriptionSettings } from "../groups/settings.ts";
import { WorkerEndedError } from "../isolation/errors.ts";
import type { GroupWorker, HandlerSession } from "../handling/runner.ts";
import { recoveryOf } from "../lib/annals_error.ts";
import type { Report } from "../telemetry/events.ts";
import type { Clock } from "../lib/clock.ts";
import { storable } from "../messages/text.ts";
import { textOf } from "../messages/thrown.ts";
import { FencedError } from "../store/errors.ts";
import { RENAMED_GROUP } from "../store/generations.ts";
import type { DeferredMessage, Ends, EventStore, Fence } from "../store/port.ts";
import { HandlerStuckError, UnknownTypeError } from "../subscriptions/errors.ts";
import { type Group, GroupSubscription, sourcesOf } from "../subscriptions/group.ts";
import { turnsOf } from "../subscriptions/options.ts";
import { LEASE_TTL } from "../cluster/balancer.ts";
import { countEnd, pauseAfter, restLeft } from "./restarts.ts";

/** Longest stored reason of a worker's end, in characters. */
const LONGEST_REASON = 2_000;

/** A subscription that ended sooner did no work, in milliseconds. */
const SHORT_LIFE = 500;

/** How often a group that has another name is looked at, in milliseconds: it may get its old name again. */
const RENAMED_INTERVAL = 1_000;

/** How many of those in a row are restarted immediately. */
const MOST_SHORT_LIVES = 5;

/** The health of one partition of a group. */
export interface GroupHealth {
  /** The consumer group. */
  readonly group: string;
  /** The partition. */
  readonly partition: number;
  /** Its state. */
  readonly state: "starting" | "standby" | "running" | "restarting" | "failed" | "stopped";
  /** How many times its worker was restarted. */
  readonly restarts: number;
  /** Why it was last restarted. */
  readonly lastError: string | null;
}

/** Dependencies of a runner. */
export interface RunnerOptions {
  /** The store. */
  readonly store: EventStore;
  /** The broker; `null` for a group that reads from the log. */
  readonly broker: Broker | null;
  /** The owner of the leases. */
  readonly owner: string;
  /** The group. */
  readonly group: Group;
  /** The partition to run. */
  readonly partition: number;
  /** The number of partitions. */
  readonly partitions: number;
  /** The subscription's settings. */
  readonly settings: SubscriptionSettings;
  /** Whether appends of its handlers get outbox rows. */
  readonly outbox: boolean;
  /** The worker that runs its handler. */
  readonly worker: GroupWorker;
  /** Replayed dead letters not yet picked up. */
  readonly replays: (group: string) => Promise<readonly DeferredMessage[]>;
  /** Returns the last position of the log; it may be a little old. */
  readonly last: () => Promise<number>;
  /** Resolves with whether this process may take a lease now, given the other members. */
  readonly turn: (lease: string, signal: AbortSignal) => Promise<boolean>;
  /** The source of time and randomness. */
  readonly clock: Clock;
  /** Receives engine events. */
  readonly report: Report;
}

/** Why a subscription ended. */
type End =
  | { readonly reason: "fenced" | "stopped" }
  | { readonly reason: "stuck"; readonly session: HandlerSession }
  | { readonly reason: "unsure" | "failed"; readonly message: string }
  | { readonly reason: "unknown type"; readonly type: string }
  | {
    readonly reason: "worker ended";
    readonly message: string;
    readonly isSuspect: boolean;
    /** Whether that is counted already, as the attempt of one message. */
    readonly isCharged?: boolean;
  };

/** The ends that count towards a rest of the group. */
const COUNTED: ReadonlySet<End["reason"]> = new Set(["failed", "worker ended", "stuck"]);

/** Classifies what a subscription threw. These errors come from the engine, never from a handler. */
function endOf(error: unknown, session: HandlerSession): End {
  const message = textOf(error);
  if (error instanceof HandlerStuckError) return { reason: "stuck", session };
  if (error instanceof FencedError) return { reason: "fenced" };
  if (error instanceof UnknownTypeError) return { reason: "unknown type", type: error.type };
  if (error instanceof WorkerEndedError) {
    return { reason: "worker ended", message: error.message, isSuspect: error.isSuspect };
  }
  if (recoveryOf(error) === "unsure") return { reason: "unsure", message };
  return { reason: "failed", message };
}

/** Keeps one partition of a group running: lease, subscription, restarts with backoff. */
export class GroupRunner {
  #options: RunnerOptions;
  #stop = new AbortController();
  /** Ends the running subscription, so that another process can take over. */
  #yield = new AbortController();
  #session: HandlerSession | undefined;
  #fence: Fence | undefined;
  #abandoned: End | undefined;
  /** Whether a commit of the last subscription may still succeed. */
  #mayStillCommit = false;
  /** Whether one of the first messages may end the next worker: a crash before is not dealt with. */
  #isQuarantined = false;
  /** Attempts that were counted, and that no crash ended. */
  #begun = new Map<number, number>();
  /** How many messages the next subscription may handle together. */
  #most = Infinity;
  #state: GroupHealth["state"] = "starting";
  #ends: Ends | null = null;
  #total = 0;
  #saidRenamed = false;
  #lastError: string | null = null;
  #settled: () => void = () => {};
  /** Whose turn it is in each category. */
  #turns = turnsOf();
  /** The last token of its lease, and whether its work under that ended in order. */
  #held: { readonly token: number; readonly clean: boolean } | undefined;
  /** Whether another process had the lease before, and did not give it back in order. */
  #isTakenOver = false;
  /** What ended the last worker, if a message may have. */
  #crash: string | undefined;
  /** Ends all writing of the running subscription. */
  #halt = new AbortController();
  /** Message types in the log that this code does not know. */
  readonly lacks: Set<string> = new Set();
  /** Resolves once it runs, has failed, or another process holds the lease. */
  readonly ready: Promise<void>;
  /** Resolves once it has stopped. */
  readonly stopped: Promise<void>;
  #hasStopped: () => void = () => {};

  /**
   * Creates a runner; `run()` starts it.
   *
   * @param options Its dependencies.
   */
  constructor(options: RunnerOptions) {
    this.#options = options;
    this.ready = new Promise((resolve) => this.#settled = resolve);
    this.stopped = new Promise((resolve) => this.#hasStopped = resolve);
  }

  /** Its health. */
  get health(): GroupHealth {
    const { group, partition } = this.#options;
    return { group: group.name, partition, state: this.#state, restarts: this.#total, lastError: this.#lastError };
  }

  /** The name of its lease. */
  get lease(): string {
    const { group, partition, partitions } = this.#options;
    return leaseName(group.name, partition, partitions);
  }

  /** The lease it holds, if any. */
  get fence(): Fence | undefined {
    return this.#fence;
  }

  /** Runs until stopped. */
  async run(): Promise<void> {
    const { store, owner, group: { name: group }, partition, partitions, report } = this.#options;
    const lease = leaseName(group, partition, partitions);
    const signal = this.#stop.signal;
    while (!signal.aborted) {
      const held = this.#held;
      const request = { name: lease, group, partitions, owner, ttl: LEASE_TTL, held: held?.token ?? 0 };
      const granted = await this.#options.turn(lease, signal) ? await store.acquireLease(request) : null;
      if (signal.aborted && !granted) break;
      if (granted && await this.#isRenamed()) {
        // Under its new name it has handled everything: here it would begin again.
        await store.releaseLease({ lease, token: granted.token }, granted.clean);
        this.#state = "standby";
        this.#settled();
        await this.#options.clock.sleep(RENAMED_INTERVAL, signal);
        continue;
      }
      if (!granted) {
        if (this.#state !== "standby") report({ type: "lease.standby", group, lease });
        this.#state = "standby";
        this.#settled();
        continue;
      }
      report({ type: "lease.acquired", group, lease, afterStandby: this.#state === "standby" });
      // If nobody else has had it since, it knows more than the store: how its work ended may not have been written.
      const clean = granted.again && held ? held.clean : granted.clean;
      if (!granted.again) {
        this.#begun.clear();
        this.#crash = undefined;
      }
      this.#isTakenOver = !granted.again && !granted.clean;
      this.#held = { token: granted.token, clean: false };
      this.#fence = { lease, token: granted.token };
      this.#ends = granted.ends;
      let end: End = { reason: "failed", message: "" };
      try {
        end = await this.#hold(this.#fence, !clean);
        // The operator may have fixed the cause before restarting the server.
        if (signal.aborted) await this.#record(null);
        else if (COUNTED.has(end.reason)) await this.#count("message" in end ? end.message : end.reason);
      } finally {
        // Whatever happens, nobody works under this lease any more.
        this.#fence = undefined;
      }
      // The store knows of all unfinished work: attempts of in-flight messages are counted before they begin.
      const isInOrder = !this.#isQuarantined && end.reason !== "fenced" && end.reason !== "failed";
      this.#held = { token: granted.token, clean: isInOrder };
      await store.releaseLease({ lease, token: granted.token }, isInOrder);
      if (end.reason === "stopped") continue;
      if (end.reason === "fenced") report({ type: "lease.lost", group, lease });
      else if (end.reason === "unsure") report({ type: "lease.unsure", group, lease, error: end.message });
      else if (end.reason === "unknown type") {
        this.lacks.add(end.type);
      } else if (!signal.aborted) await this.#wait(this.#ends, signal);
    }
    this.#state = "stopped";
    this.#settled();
    this.#hasStopped();
  }

  /** Whether its group goes on under another name; said once. */
  async #isRenamed(): Promise<boolean> {
    const { store, group: { name: group }, report } = this.#options;
    const marks = await store.checkpoints(RENAMED_GROUP);
    if (!marks.some(({ category }) => category === group)) return false;
    if (!this.#saidRenamed) report({ type: "group.renamed", group });
    return this.#saidRenamed = true;
  }

  /** Runs subscriptions while the lease is held, replacing workers as needed. */
  async #hold(fence: Fence, quarantined: boolean): Promise<End> {
    this.#isQuarantined = quarantined;
    this.#yield = new AbortController();
    const stop = AbortSignal.any([this.#stop.signal, this.#yield.signal]);
    if (this.#rests(this.#ends)) await this.#wait(this.#ends, stop);
    if (stop.aborted) return { reason: "stopped" };
    const { clock } = this.#options;
    let shortLives = 0;
    while (true) {
      const startedAt = clock.elapsed();
      const end = await this.#feed(fence, this.#isQuarantined, stop);
      shortLives = clock.elapsed() - startedAt < SHORT_LIFE ? shortLives + 1 : 0;
      if (end.reason === "stopped" && stop.aborted) return end;
      if (end.reason === "stuck") {
        this.#options.worker.replace(end.session);
        // The attempt was already counted: wait only if the group has to rest.
        const ends = await this.#count("A handler did not finish within handler_timeout_seconds");
        await this.#wait(this.#rests(ends) ? ends : null, stop);
      } else if (end.reason === "worker ended") {
        if (end.isSuspect) await this.#wait(await this.#count(end.message, end.isCharged), stop);
        // Another group's fault costs no pause, unless it comes again and again.
        else if (shortLives > MOST_SHORT_LIVES) await clock.sleep(SHORT_LIFE, stop);
      } else return end;
      if (stop.aborted) return { reason: "stopped" };
      // What is written late must find another token.
      if (this.#mayStillCommit) {
        return { reason: "unsure", message: "The answer to a commit was lost while its worker ended" };
      }
    }
  }

  /** Runs one subscription until it ends. */
  async #feed(fence: Fence, quarantined: boolean, signal: AbortSignal): Promise<End> {
    const {
      store,
      broker,
      owner,
      group,
      partition,
      partitions,
      settings,
      outbox,
      worker,
      replays,
      last,
      clock,
      report,
    } = this.#options;
    if (this.#state !== "restarting") this.#state = "starting";
    this.#abandoned = undefined;
    this.#mayStillCommit = false;
    const session = this.#session = worker.open();
    this.#halt = new AbortController();
    let subscription: GroupSubscription | undefined;
    let hasCrashed = false;
    const options = {
      store,
      settings,
      partition,
      partitions,
      fence,
      outbox,
      owner,
      quarantined,
      begun: this.#begun,
      turns: this.#turns,
      halted: this.#halt.signal,
      takenOver: this.#isTakenOver,
      ...(this.#crash !== undefined && { crash: this.#crash }),
      most: this.#most,
      replays,
      last,
      lacks: (name: string) => void this.lacks.add(name),
      report,
      clock,
    };
    try {
      await worker.load();
      const feed = broker && { broker, consumer: owner };
      subscription = new GroupSubscription(group, session, options, sourcesOf(options, feed));
      this.#state = "running";
      this.#settled();
      await subscription.run(signal);
      return this.#abandoned ?? { reason: "stopped" };
    } catch (error) {
      const end = endOf(error, session);
      // Whatever else it ended by.
      if (end.reason !== "worker ended") return this.#abandoned ?? end;
      hasCrashed = end.isSuspect;
      if (hasCrashed) [this.#crash, this.#isTakenOver] = [end.message, false];
      return this.#abandoned ?? { ...end, isCharged: subscription?.isCharged ?? false };
    } finally {
      this.#abandoned = undefined;
      this.#mayStillCommit = subscription?.mayStillCommit ?? false;
      this.#most = subscription?.most ?? this.#most;
      this.#isQuarantined = hasCrashed || (this.#isQuarantined && (subscription?.isQuarantined ?? true));
      session.close();
      this.#session = undefined;
    }
  }

  #rests(ends: Ends | null): boolean {
    return ends !== null && restLeft(ends, this.#options.clock.now()) > 0;
  }

  /** Records the end of a worker, here and in the store. */
  async #count(message: string, isCharged = false): Promise<Ends | null> {
    const { settings, clock } = this.#options;
    if (this.#stop.signal.aborted) return null;
    this.#total++;
    this.#lastError = storable(message, LONGEST_REASON);
    const ends = countEnd(this.#ends, clock.now(), this.#lastError, settings.maxRetries);
    // A message has only so many attempts: the group need not rest because it has many of that kind.
    if (isCharged) return { ...ends, restingUntil: 0 };
    this.#ends = ends;
    await this.#record(ends);
    return ends;
  }

  /** Whoever works has rested, also if the clock was set back meanwhile: the next one need not rest again. */
  async #endRest(): Promise<void> {
    const now = this.#options.clock.now();
    if (this.#ends === null || this.#ends.restingUntil <= now) return;
    this.#ends = { ...this.#ends, restingUntil: now };
    await this.#record(this.#ends);
  }

  /** Records how the group's work ended; if the store is away, only this process knows. */
  async #record(ends: Ends | null): Promise<void> {
    const { store } = this.#options;
    if (!this.#fence || (ends === null && this.#ends === null)) return;
    await store.recordEnds(this.#fence, ends).catch((error) => {
      if (recoveryOf(error) === "none") throw error;
    });
  }

  /** Waits out the backoff for the ends so far; `null` means no wait. */
  async #wait(ends: Ends | null, signal: AbortSignal): Promise<void> {
    const { clock, report, group: { name: group } } = this.#options;
    if (signal.aborted) return;
    // A group that cannot start must not delay the others.
    this.#settled();
    const now = clock.now();
    const delay = ends === null ? 0 : pauseAfter(ends, now);
    if (ends && restLeft(ends, now) > 0) {
      this.#state = "failed";
      this.#lastError = ends.reason;
      report({ type: "group.rested", group, ends: ends.at.length, restMs: delay, error: ends.reason });
    } else {
      this.#state = "restarting";
      report({ type: "worker.replaced", group, delayMs: delay, error: this.#lastError ?? "" });
    }
    await clock.sleep(delay, signal);
    if (!signal.aborted) await this.#endRest();
  }

  /** Finishes the in-flight batch and hands over to another process. */
  yield(): void {
    this.#yield.abort();
  }

  /** Finishes the in-flight batch and stops. */
  stop(): void {
    this.#stop.abort();
  }

  /**
   * Aborts without waiting, because the lease was lost, the shutdown timeout has passed, or what was read may be wrong
   * (`unsure`).
   */
  abandon(reason: "fenced" | "failed" | "unsure", message: string): void {
    this.#abandoned = reason === "fenced" ? { reason } : { reason, message };
    this.#yield.abort();
    this.#halt.abort(new WorkerEndedError(message, false));
    this.#session?.abandon(message);
  }
}

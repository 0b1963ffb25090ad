import { type Clock, clockOf } from "../lib/clock.ts";
import { Mutex } from "../lib/mutex.ts";
import type { Broker } from "../broker/port.ts";
import type { HandlerLog } from "../domain/context.ts";
import { harmless, type Report } from "../telemetry/events.ts";
import { handlerLogOf, logTo } from "../telemetry/log_lines.ts";
import type { Domain, Handler } from "../domain/model.ts";
import type { Execution } from "../handling/executor.ts";
import { type BatchRunner, LocalRunner } from "../handling/runner.ts";
import type { DeferredMessage, EventStore, Fence } from "../store/port.ts";
import { knownBy } from "../domain/known.ts";
import type { KnownTypes } from "../messages/known_types.ts";
import type { GroupPartition } from "../groups/partition.ts";
import { DEFAULT_SETTINGS, type SubscriptionSettings } from "../groups/settings.ts";
import { SharedRows } from "../projections/shared_rows.ts";
import type { Source } from "./source.ts";
import { StreamSource } from "./source_broker.ts";
import { LogSource } from "./source_log.ts";
import { WorkerEndedError } from "../handling/errors.ts";
import { recoveryOf } from "../lib/annals_error.ts";
import { FencedError } from "../store/errors.ts";
import { HandlerStuckError } from "./errors.ts";
import type { Turns } from "./options.ts";
import { Subscription } from "./subscription.ts";

/** How to feed one partition of a group. */
export interface FeedOptions {
  /** The store. */
  readonly store: EventStore;
  /** Its settings. @default {DEFAULT_SETTINGS} */
  readonly settings?: Partial<SubscriptionSettings>;
  /** The number of partitions of the group. @default {1} */
  readonly partitions?: number;
  /** The index of this partition, from 0. @default {0} */
  readonly partition?: number;
  /** The lease it writes under; without one, no other process may run the same partition. */
  readonly fence?: Fence;
  /** The log of the subscription and its handlers, unless `report` is set. @default {nowhere} */
  readonly log?: HandlerLog;
  /** Receives events, including log lines of handlers. @default {writes to `log`} */
  readonly report?: Report;
  /** Whether appends of handlers get outbox rows. @default {true} */
  readonly outbox?: boolean;
  /** The id of this member. @default {none} */
  readonly owner?: string;
  /**
   * Whether the previous worker crashed, so that its possibly in-flight messages are tried one at a time. @default
   * {false}
   */
  readonly quarantined?: boolean;
  /** By position, attempts that were begun and counted here, that no crash ended, and whose end was not written. @default {none} */
  readonly begun?: Map<number, number>;
  /** How many messages may be handled together at first; more and more as that succeeds. @default {as configured} */
  readonly most?: number;
  /** Returns whose turn it is in a category. @default {as nothing was done} */
  readonly turns?: (category: string) => Turns;
  /** Whether another process had the lease before, and did not give it back in order. @default {false} */
  readonly takenOver?: boolean;
  /** What ended the worker before this one, if that is known. @default {unknown} */
  readonly crash?: string;
  /** Aborted once nothing may be written any more: with the error to throw instead. @default {never} */
  readonly halted?: AbortSignal;
  /** Called with each version of a type, like `Deposited@2`, that this code lacks. @default {nobody} */
  readonly lacks?: (name: string) => void;
  /** Dead letters that were replayed and are still to be picked up. @default {asks the store} */
  readonly replays?: (group: string) => Promise<readonly DeferredMessage[]>;
  /** Returns the last position of the log; it may be a little old. @default {asks the store} */
  readonly last?: () => Promise<number>;
  /** The source of time and randomness. @default {the real ones} */
  readonly clock?: Partial<Clock>;
}

/** How to feed a handler in this process. */
export interface GroupOptions extends FeedOptions {
  /** The domain. */
  readonly domain: Domain;
  /** One of its handlers: the consumer group. */
  readonly handler: Handler;
  /** How handlers are run. @default {run directly} */
  readonly execution?: Partial<Execution>;
  /** Describes a value thrown by a handler. @default {its name and message} */
  readonly explain?: (error: unknown) => string;
}

/** What a subscription needs to know of a group, whose handler may run in another process. */
export interface Group {
  /** Its name. */
  readonly name: string;
  /** The categories it reads. */
  readonly categories: readonly string[];
  /** The message types it handles; others are skipped. */
  readonly handles: ReadonlySet<string>;
  /** The newest version of each message type that the code knows. */
  readonly types: KnownTypes;
  /** Retries of a failed message, where it wants other than the server's. */
  readonly retries?: number;
  /** Whether the stream of a dead letter waits until that is replayed. @default {false} */
  readonly halts?: boolean;
  /** Whether messages of several streams are tried again together: it is not the handler that takes long. @default {false} */
  readonly together?: boolean;
}

/** A log that discards everything. */
export const SILENT: HandlerLog = { debug() {}, info() {}, warn() {}, error() {} };

/** Returns the listener of a group's events. */
function reportOf({ report, log = SILENT }: FeedOptions): Report {
  return report ? harmless(report) : logTo((_group, level, text, fields) => log[level](text, fields));
}

/** Returns the effective settings of a group. */
export function settingsOf(
  retries: number | undefined,
  settings?: Partial<SubscriptionSettings>,
): SubscriptionSettings {
  const isWanted = retries !== undefined && settings?.isMaxRetriesOwn !== true;
  return { ...DEFAULT_SETTINGS, ...settings, ...(isWanted && { maxRetries: retries }) };
}

/**
 * Orders the errors that end the subscriptions of a group at the same time: the gravest is the one that asks for most. A
 * stuck worker has to be replaced, and an attempt that ended with its worker counts, whatever else happened.
 */
function gravity(error: unknown): number {
  if (error instanceof HandlerStuckError) return 5;
  if (error instanceof WorkerEndedError) return error.isSuspect ? 4 : 0;
  if (error instanceof FencedError) return 3;
  return recoveryOf(error) === "unsure" ? 1 : 2;
}

/** Feeds one partition of a group from all its categories. */
export class GroupSubscription {
  /** Its kind, for display. */
  readonly kind: "StreamSubscription" | "EventStoreSubscription";
  #subscriptions: Subscription[];
  #mutex = new Mutex();

  /**
   * Creates a subscription; `run()` starts it.
   *
   * @param group The group to feed.
   * @param runner Runs its handler.
   * @param options How to feed it.
   * @param sourceOf Creates the source of a category's messages.
   */
  constructor(
    group: Group,
    runner: BatchRunner,
    options: FeedOptions,
    sourceOf: (groupPartition: GroupPartition) => Source,
  ) {
    const { partitions = 1, partition = 0, fence } = options;
    const { name, categories, handles, types, retries, halts = false, together = false } = group;
    const groupPartitions = categories.map((category): GroupPartition => ({
      group: name,
      category,
      partitions,
      partition,
      ...(fence && { fence }),
    }));
    this.#subscriptions = groupPartitions.map((groupPartition) =>
      new Subscription({
        ...options,
        settings: settingsOf(retries, options.settings),
        groupPartition,
        source: sourceOf(groupPartition),
        types,
        handles,
        halts,
        together,
        mutex: this.#mutex,
        report: reportOf(options),
        runner,
      })
    );
    this.kind = sourceOf(groupPartitions[0]).kind;
  }

  /** Whether a commit whose answer was lost may still succeed: whoever goes on needs another fencing token. */
  get mayStillCommit(): boolean {
    return this.#subscriptions.some((subscription) => subscription.mayStillCommit);
  }

  /** How many messages may be handled together, after what could be written last. */
  get most(): number {
    return Math.min(...this.#subscriptions.map((subscription) => subscription.most));
  }

  /** Whether a worker has ended by one message, whose attempt was counted: each message has only so many. */
  get isCharged(): boolean {
    return this.#subscriptions.some((subscription) => subscription.isCharged);
  }

  /** Whether a crash before it is not dealt with: one of its first messages may end a worker. */
  get isQuarantined(): boolean {
    return this.#subscriptions.some((subscription) => subscription.isQuarantined);
  }

  /**
   * Runs until aborted, then finishes the in-flight batch and returns.
   *
   * @param signal Asks it to stop.
   * @throws {FencedError} If another process has taken over.
   * @throws {HandlerStuckError} If a handler timed out.
   */
  async run(signal: AbortSignal): Promise<void> {
    this.#mutex.open();
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const runs = this.#subscriptions.map((subscription) =>
      subscription.run(either).catch((error) => {
        stop.abort();
        throw error;
      })
    );
    const ends = await Promise.allSettled(runs);
    const failures = ends.flatMap((end) => end.status === "rejected" ? [end.reason] : []);
    if (failures.length > 0) throw failures.reduce((worst, error) => gravity(error) > gravity(worst) ? error : worst);
  }

  /**
   * Runs until everything up to a position is handled or deferred.
   *
   * @param position The position to reach.
   * @param signal Asks it to stop.
   */
  async runUntil(position: number, signal: AbortSignal): Promise<void> {
    this.#mutex.open();
    for (const subscription of this.#subscriptions) await subscription.runUntil(position, signal);
  }
}

/** Creates the source of a category's messages, the broker or the log. */
export type Feed = { readonly broker: Broker; readonly consumer?: string } | null;

/** Returns how to create the sources of a feed. */
export function sourcesOf(options: FeedOptions, feed: Feed): (at: GroupPartition) => Source {
  const { store, last } = options;
  const report = reportOf(options);
  const clock = clockOf(options.clock);
  if (feed === null) return ({ category }) => new LogSource(store, category, clock);
  const { broker, consumer = "annals" } = feed;
  return (at) =>
    new StreamSource({ store, broker, groupPartition: at, consumer, clock, report, ...(last && { last }) });
}

function groupOf({ domain, handler }: GroupOptions): Group {
  return {
    name: handler.name,
    categories: domain.categoriesOf(handler),
    handles: new Set(handler.kind.handles(handler).map(({ type }) => type)),
    types: knownBy(domain),
    halts: handler.kind.haltsOnDeath ?? false,
    ...(handler.retries !== undefined && { retries: handler.retries }),
  };
}

function runnerOf(options: GroupOptions): BatchRunner {
  const { domain, handler, store, settings, execution, explain, clock, partitions = 1 } = options;
  const shared = partitions > 1 && handler.kind.keeps(handler).length > 0 ? new SharedRows() : null;
  const readRows: EventStore["readRows"] = (projection, keys) => store.readRows(projection, keys);
  const runner = new LocalRunner(domain, handler, {
    reading: {
      readStream: (stream, from) => store.readStream(stream, { from }),
      readRows: shared?.reading(readRows) ?? readRows,
      readAt: (positions) => store.readAt(positions),
      readTagged: (among, after) => store.readTagged(among, { after }),
      readSnapshot: (stream, fingerprint) => store.readSnapshot(stream, fingerprint),
      readOutcome: (id) => store.outcome(id),
      ...(clock?.now && { now: clock.now }),
      ...(clock?.newId && { newId: clock.newId }),
    },
    timeout: settingsOf(undefined, settings).handlerTimeoutSeconds * 1000,
    log: handlerLogOf(reportOf(options), handler.name),
    ...(execution && { execution }),
    ...(explain && { explain }),
  });
  return shared?.expecting<BatchRunner>(runner) ?? runner;
}

/** Feeds a handler from the broker. The log is read only for what the broker lacks, or while it is unavailable. */
export class StreamSubscription extends GroupSubscription {
  /**
   * Creates a subscription; `run()` starts it.
   *
   * @param options The handler, broker and consumer.
   */
  constructor(options: GroupOptions & { readonly broker: Broker; readonly consumer?: string }) {
    super(groupOf(options), runnerOf(options), options, sourcesOf(options, options));
  }
}

/** Feeds a handler directly from the log. */
export class EventStoreSubscription extends GroupSubscription {
  /**
   * Creates a subscription; `run()` starts it.
   *
   * @param options The handler and its store.
   */
  constructor(options: GroupOptions) {
    super(groupOf(options), runnerOf(options), options, sourcesOf(options, null));
  }
}

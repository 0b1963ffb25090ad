import { type Clock, clockOf } from "../lib/clock.ts";
import { Mutex } from "../lib/mutex.ts";
import type { Broker } from "../broker/port.ts";
import type { HandlerLog } from "../domain/context.ts";
import type { Report } from "../telemetry/events.ts";
import { handlerLogOf, logTo } from "../telemetry/log_lines.ts";
import type { Domain, Handler } from "../domain/model.ts";
import type { Execution } from "../handling/executor.ts";
import { type BatchRunner, LocalRunner } from "../handling/runner.ts";
import type { DeferredMessage, EventStore, Fence } from "../store/port.ts";
import { type KnownTypes, knownTypesOf } from "../messages/known_types.ts";
import type { GroupPartition } from "../groups/partition.ts";
import { DEFAULT_SETTINGS, type SubscriptionSettings } from "../groups/settings.ts";
import type { Source } from "./source.ts";
import { StreamSource } from "./source_broker.ts";
import { LogSource } from "./source_log.ts";
import { Subscription } from "./subscription.ts";

/** How one partition of a group is fed. */
export interface FeedOptions {
  /** The store. */
  readonly store: EventStore;
  /** How to feed it. @default {DEFAULT_SETTINGS} */
  readonly settings?: Partial<SubscriptionSettings>;
  /** Over how many partitions the group's streams are spread. @default {1} */
  readonly partitions?: number;
  /** Which of them this is, from 0. @default {0} */
  readonly partition?: number;
  /** The lease it writes under; without one, nobody else may run the same partition. */
  readonly fence?: Fence;
  /** Where the subscription and its handlers log, unless somebody listens. @default {nowhere} */
  readonly log?: HandlerLog;
  /** Hears what happens, what handlers log among it. @default {what makes lines for `log`} */
  readonly report?: Report;
  /** Whether what handlers append goes through the outbox. @default {true} */
  readonly outbox?: boolean;
  /** The process that runs this, among those that take part. @default {none} */
  readonly owner?: string;
  /** Whether a worker before this one vanished: what may have been in its hands is tried one at a time. @default {false} */
  readonly quarantined?: boolean;
  /** Called with each version of a type, like `Deposited@2`, that this code lacks. @default {nobody} */
  readonly lacks?: (name: string) => void;
  /** Dead letters that were replayed and are still to be picked up. @default {asks the store} */
  readonly replays?: (group: string) => Promise<readonly DeferredMessage[]>;
  /** Time and chance; what is not given is real. @default {the real ones} */
  readonly clock?: Partial<Clock>;
}

/** What feeds one handler that runs in this process. */
export interface GroupOptions extends FeedOptions {
  /** The domain. */
  readonly domain: Domain;
  /** One of its handlers: the consumer group. */
  readonly handler: Handler;
  /** How handlers are run and watched. @default {run directly} */
  readonly execution?: Partial<Execution>;
  /** Says in words what a handler threw. @default {its name and message} */
  readonly explain?: (error: unknown) => string;
}

/** What a subscription has to know of a group: its handler may run elsewhere. */
export interface Group {
  /** Its name. */
  readonly name: string;
  /** The categories it reads. */
  readonly categories: readonly string[];
  /** The message types it handles; others are passed over. */
  readonly handles: ReadonlySet<string>;
  /** The newest version of each message type that the code knows. */
  readonly types: KnownTypes;
  /** Retries of a failed message, where it wants other than the server's. */
  readonly retries?: number;
}

/** Logs nothing. */
export const SILENT: HandlerLog = { debug() {}, info() {}, warn() {}, error() {} };

/** Who hears what happens to a group. */
function reportOf({ report, log = SILENT }: FeedOptions): Report {
  return report ?? logTo((_group, level, text, fields) => log[level](text, fields));
}

/** The settings that a group is fed with. */
export function settingsOf(
  retries: number | undefined,
  settings?: Partial<SubscriptionSettings>,
): SubscriptionSettings {
  return { ...DEFAULT_SETTINGS, ...settings, ...(retries !== undefined && { maxRetries: retries }) };
}

/** Feeds one partition of one group, from all the categories it reads. */
export class GroupSubscription {
  /** What it is, as shown to people. */
  readonly kind: "StreamSubscription" | "EventStoreSubscription";
  #subscriptions: Subscription[];

  /**
   * Makes a subscription that does not run yet.
   *
   * @param group What it feeds.
   * @param runner Runs its handler.
   * @param options How to feed it.
   * @param sourceOf Where the messages of a category come from.
   */
  constructor(
    group: Group,
    runner: BatchRunner,
    options: FeedOptions,
    sourceOf: (groupPartition: GroupPartition) => Source,
  ) {
    const { partitions = 1, partition = 0, fence } = options;
    const { name, categories, handles, types, retries } = group;
    const mutex = new Mutex();
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
        mutex,
        report: reportOf(options),
        runner,
      })
    );
    this.kind = sourceOf(groupPartitions[0]).kind;
  }

  /**
   * Runs until aborted: finishes what is in hand, then returns.
   *
   * @param signal Asks it to stop.
   * @throws {FencedError} When another has taken over.
   * @throws {HandlerStuckError} When a handler did not come back.
   */
  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const runs = this.#subscriptions.map((subscription) =>
      subscription.run(either).catch((error) => {
        stop.abort();
        throw error;
      })
    );
    const failed = (await Promise.allSettled(runs)).find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }

  /**
   * Runs until everything up to a position is handled, or set aside for a later retry.
   *
   * @param position The position to reach.
   * @param signal Asks it to stop.
   */
  async runUntil(position: number, signal: AbortSignal): Promise<void> {
    for (const subscription of this.#subscriptions) await subscription.runUntil(position, signal);
  }
}

/** Where a group's messages come from: the broker's copies, or the log itself. */
export type Feed = { readonly broker: Broker; readonly consumer?: string } | null;

/** Makes the sources of a feed. */
export function sourcesOf(options: FeedOptions, feed: Feed): (at: GroupPartition) => Source {
  const { store } = options;
  const report = reportOf(options);
  const clock = clockOf(options.clock);
  if (feed === null) return ({ category }) => new LogSource(store, category, clock);
  const { broker, consumer = "annals" } = feed;
  return (at) => new StreamSource({ store, broker, groupPartition: at, consumer, clock, report });
}

function groupOf({ domain, handler }: GroupOptions): Group {
  return {
    name: handler.name,
    categories: domain.categoriesOf(handler),
    handles: new Set(handler.kind.handles(handler).map(({ type }) => type)),
    types: knownTypesOf(domain.types),
    ...(handler.retries !== undefined && { retries: handler.retries }),
  };
}

function runnerOf(options: GroupOptions): LocalRunner {
  const { domain, handler, store, settings, execution, explain, clock } = options;
  return new LocalRunner(domain, handler, {
    reading: {
      readStream: (stream, from) => store.readStream(stream, { from }),
      readRows: (projection, keys) => store.readRows(projection, keys),
      ...(clock?.now && { now: clock.now }),
      ...(clock?.newId && { newId: clock.newId }),
    },
    timeout: settingsOf(undefined, settings).handlerTimeoutSeconds * 1000,
    log: handlerLogOf(reportOf(options), handler.name),
    ...(execution && { execution }),
    ...(explain && { explain }),
  });
}

/** Feeds a handler from the broker: the log is only read for what the broker does not have, or while it is away. */
export class StreamSubscription extends GroupSubscription {
  /**
   * Makes a subscription that does not run yet.
   *
   * @param options What it feeds, from which broker, as which consumer.
   */
  constructor(options: GroupOptions & { readonly broker: Broker; readonly consumer?: string }) {
    super(groupOf(options), runnerOf(options), options, sourcesOf(options, options));
  }
}

/** Feeds a handler straight from the log. */
export class EventStoreSubscription extends GroupSubscription {
  /**
   * Makes a subscription that does not run yet.
   *
   * @param options What it feeds.
   */
  constructor(options: GroupOptions) {
    super(groupOf(options), runnerOf(options), options, sourcesOf(options, null));
  }
}

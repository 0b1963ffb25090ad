import { Turns } from "../async/turns.ts";
import type { Broker } from "../broker/port.ts";
import type { HandlerLog } from "../domain/context.ts";
import type { Domain } from "../domain/domain.ts";
import type { Handler } from "../domain/handlers.ts";
import { react } from "../domain/react.ts";
import { StateCache } from "../domain/unit_of_work.ts";
import type { EventStore, Fence } from "../store/port.ts";
import type { Execution } from "./execution.ts";
import type { Lane } from "./lane.ts";
import { DEFAULT_SETTINGS, type SubscriptionSettings } from "./settings.ts";
import { LogSource, type Source, StreamSource } from "./source.ts";
import { Subscription } from "./subscription.ts";

/** What feeds one handler. */
export interface GroupOptions {
  /** The domain. */
  readonly domain: Domain;
  /** One of its handlers: the consumer group. */
  readonly handler: Handler;
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
  /** How handlers are run and watched. @default {run directly} */
  readonly execution?: Partial<Execution>;
  /** Where the subscription and its handlers log. @default {nowhere} */
  readonly log?: HandlerLog;
  /** Says in words what a handler threw. @default {its name and message} */
  readonly explain?: (error: unknown) => string;
  /** Whether what handlers append goes through the outbox. @default {true} */
  readonly outbox?: boolean;
  /** The process that runs this, among those that take part. @default {none} */
  readonly owner?: string;
  /** Whether a consumer before this one vanished: what may have been in its hands is tried one at a time. @default {false} */
  readonly suspicious?: boolean;
  /** Tells the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
  /** Random numbers from 0 to 1. @default {Math.random} */
  readonly random?: () => number;
  /** Waits. @default {setTimeout} */
  readonly sleep?: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

/** Logs nothing. */
export const SILENT: HandlerLog = { debug() {}, info() {}, warn() {}, error() {} };

/** Feeds one partition of one handler, from all the categories it reads. */
export class GroupSubscription {
  /** What it is, as shown to people. */
  readonly kind: "StreamSubscription" | "EventStoreSubscription";
  #subscriptions: Subscription[];

  /**
   * Makes a subscription that does not run yet.
   *
   * @param options What it feeds.
   * @param sourceOf Where the messages of a category come from.
   */
  constructor(options: GroupOptions, sourceOf: (lane: Lane) => Source) {
    const { domain, handler, store, partitions = 1, partition = 0, fence, log = SILENT } = options;
    const given = { ...DEFAULT_SETTINGS, ...options.settings };
    const settings = handler.retries === undefined ? given : { ...given, maxRetries: handler.retries };
    const { guard } = options.execution ?? {};
    const timeout = settings.handlerTimeoutSeconds * 1000;
    const reading = {
      readStream: (stream: string, from: number) => store.readStream(stream, { from }),
      readRows: (projection: string, keys: readonly string[]) => store.readRows(projection, keys),
      cache: new StateCache(),
      ...(guard && { guard: <T>(work: () => T) => guard(work, timeout) }),
      ...(options.now && { now: options.now }),
    };
    const turns = new Turns();
    const types = handler.kind === "command handler" ? handler.commands : handler.events;
    const handles = new Set(types.map((type) => type.type));
    const lanes = domain.categoriesOf(handler).map((category): Lane => ({
      group: handler.name,
      category,
      partitions,
      partition,
      ...(fence && { fence }),
    }));
    this.#subscriptions = lanes.map((lane) =>
      new Subscription({
        ...options,
        settings,
        lane,
        source: sourceOf(lane),
        types: domain.types,
        handles,
        turns,
        log,
        react: () => react(domain, handler, reading),
      })
    );
    this.kind = sourceOf(lanes[0]).kind;
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

/** Feeds a handler from the broker: the log is only read for what the broker no longer has. */
export class StreamSubscription extends GroupSubscription {
  /**
   * Makes a subscription that does not run yet.
   *
   * @param options What it feeds, from which broker, as which consumer.
   */
  constructor(options: GroupOptions & { readonly broker: Broker; readonly consumer?: string }) {
    const { store, broker, consumer = "annals", log = SILENT } = options;
    super(
      options,
      (lane) => new StreamSource(store, broker, lane, consumer, (level, text) => log[level](text)),
    );
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
    super(options, (lane) => new LogSource(options.store, lane.category));
  }
}

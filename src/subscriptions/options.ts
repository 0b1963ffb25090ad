import { type Clock, clockOf } from "../lib/clock.ts";
import { Mutex } from "../lib/mutex.ts";
import type { Report } from "../telemetry/events.ts";
import type { BatchRunner } from "../handling/runner.ts";
import type { DeferredMessage, EventStore } from "../store/port.ts";
import type { KnownTypes } from "../messages/known_types.ts";
import type { GroupPartition } from "../groups/partition.ts";
import type { SubscriptionSettings } from "../groups/settings.ts";
import type { Source } from "./source.ts";

/** What a subscription is made of. */
export interface SubscriptionOptions {
  /** The store: checkpoints, deferred messages, dead letters, effects. */
  readonly store: EventStore;
  /** Where messages come from. */
  readonly source: Source;
  /** Which group, category and partition. */
  readonly groupPartition: GroupPartition;
  /** How to feed it. */
  readonly settings: SubscriptionSettings;
  /** The newest version of each message type that the code knows. */
  readonly types: KnownTypes;
  /** The types that the group handles; others are passed over. */
  readonly handles: ReadonlySet<string>;
  /** Runs the handlers. */
  readonly runner: BatchRunner;
  /** Hears what happens. */
  readonly report: Report;
  /** Dead letters that were replayed and are still to be picked up. @default {asks the store} */
  readonly replays?: (group: string) => Promise<readonly DeferredMessage[]>;
  /** Called with each version of a type, like `Deposited@2`, that this code lacks. @default {nobody} */
  readonly lacks?: (name: string) => void;
  /** Whether what handlers append goes through the outbox. @default {true} */
  readonly outbox?: boolean;
  /** The process that runs this, among those that take part. @default {none} */
  readonly owner?: string;
  /** Shared by the subscriptions of one group: whose turn it is to handle a batch. @default {only its own} */
  readonly mutex?: Mutex;
  /** Whether a consumer before this one vanished: what may have been in its hands is tried one at a time. @default {false} */
  readonly quarantined?: boolean;
  /** Time and chance; what is not given is real. @default {the real ones} */
  readonly clock?: Partial<Clock>;
}

/** The same with nothing left open. */
export type Complete =
  & Omit<SubscriptionOptions, "owner" | "clock">
  & Required<Pick<SubscriptionOptions, "replays" | "lacks" | "outbox" | "mutex" | "quarantined">>
  & { readonly owner: string | undefined; readonly clock: Clock };

/** Fills in what was left open. */
export function complete(options: SubscriptionOptions): Complete {
  return {
    replays: (group) => options.store.deferred(group, { replayedOnly: true, limit: 1000 }),
    lacks: () => {},
    outbox: true,
    mutex: new Mutex(),
    quarantined: false,
    ...options,
    clock: clockOf(options.clock),
    owner: options.owner,
  };
}

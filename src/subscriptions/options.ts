import { sleep } from "../lib/sleep.ts";
import { Mutex } from "../lib/mutex.ts";
import type { HandlerLog } from "../domain/context.ts";
import type { BatchRunner } from "../handling/runner.ts";
import type { EventStore, ParkedMessage } from "../store/port.ts";
import type { GroupPartition } from "../groups/partition.ts";
import type { SubscriptionSettings } from "../groups/settings.ts";
import type { Source } from "./sources.ts";

/** What a subscription is made of. */
export interface SubscriptionOptions {
  /** The store: checkpoints, parked messages, dead letters, effects. */
  readonly store: EventStore;
  /** Where messages come from. */
  readonly source: Source;
  /** Which group, category and partition. */
  readonly groupPartition: GroupPartition;
  /** How to feed it. */
  readonly settings: SubscriptionSettings;
  /** The message types that the code knows, by name. */
  readonly types: { has(type: string): boolean };
  /** The types that the group handles; others are passed over. */
  readonly handles: ReadonlySet<string>;
  /** Runs the handlers. */
  readonly runner: BatchRunner;
  /** Where to log. */
  readonly log: HandlerLog;
  /** Dead letters that were replayed and are still to be picked up. @default {asks the store} */
  readonly replays?: (group: string) => Promise<readonly ParkedMessage[]>;
  /** Whether what handlers append goes through the outbox. @default {true} */
  readonly outbox?: boolean;
  /** The process that runs this, among those that take part. @default {none} */
  readonly owner?: string;
  /** Shared by the subscriptions of one group: whose turn it is to handle a batch. @default {only its own} */
  readonly mutex?: Mutex;
  /** Whether a consumer before this one vanished: what may have been in its hands is tried one at a time. @default {false} */
  readonly quarantined?: boolean;
  /** Tells the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
  /** Random numbers from 0 to 1. @default {Math.random} */
  readonly random?: () => number;
  /** Waits. @default {setTimeout} */
  readonly sleep?: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

/** The same with nothing left open. */
export type Complete =
  & Omit<SubscriptionOptions, "owner">
  & Required<Pick<SubscriptionOptions, "replays" | "outbox" | "mutex" | "quarantined" | "now" | "random" | "sleep">>
  & { readonly owner: string | undefined };

/** Fills in what was left open. */
export function complete(options: SubscriptionOptions): Complete {
  return {
    replays: (group) => options.store.parked(group, { replayedOnly: true, limit: 1000 }),
    outbox: true,
    mutex: new Mutex(),
    quarantined: false,
    now: Date.now,
    random: Math.random,
    sleep,
    ...options,
    owner: options.owner,
  };
}

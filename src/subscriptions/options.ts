import { type Clock, clockOf } from "../lib/clock.ts";
import { Mutex } from "../lib/mutex.ts";
import type { Report } from "../telemetry/events.ts";
import type { BatchRunner } from "../handling/runner.ts";
import type { DeferredMessage, EventStore } from "../store/port.ts";
import type { KnownTypes } from "../messages/known_types.ts";
import type { GroupPartition } from "../groups/partition.ts";
import type { SubscriptionSettings } from "../groups/settings.ts";
import type { Source } from "./source.ts";

/** Whose turn it is next: what is new, what failed before, what waited behind that. */
export interface Turns {
  /** Whether the last turn was a retry. */
  hasRetried: boolean;
  /** What comes first in the next retry. */
  prefers: "alone" | "batch";
  /** The positions that were tried alone, and could not be written. */
  readonly tried: Set<number>;
  /** The positions that came before what is new, because a crash may have been due to them: once each. */
  readonly urgent: Set<number>;
}

/** Returns a memory of whose turn it is in each category. */
export function turnsOf(): (category: string) => Turns {
  const known = new Map<string, Turns>();
  return (category) => {
    const turns = known.get(category) ?? { hasRetried: false, prefers: "alone", tried: new Set(), urgent: new Set() };
    known.set(category, turns);
    return turns;
  };
}

/** Dependencies of a subscription. */
export interface SubscriptionOptions {
  /** The store of checkpoints, deferred messages, dead letters and effects. */
  readonly store: EventStore;
  /** The source of messages. */
  readonly source: Source;
  /** The group, category and partition. */
  readonly groupPartition: GroupPartition;
  /** Its settings. */
  readonly settings: SubscriptionSettings;
  /** The newest version of each message type that the code knows. */
  readonly types: KnownTypes;
  /** The types that the group handles; others are passed over. */
  readonly handles: ReadonlySet<string>;
  /** Whether the stream of a dead letter waits until that is replayed. @default {false} */
  readonly halts?: boolean;
  /** Whether messages of several streams are tried again together. @default {false} */
  readonly together?: boolean;
  /** Runs the handlers. */
  readonly runner: BatchRunner;
  /** Receives events. */
  readonly report: Report;
  /** Returns replayed dead letters not yet picked up. @default {asks the store} */
  readonly replays?: (group: string) => Promise<readonly DeferredMessage[]>;
  /** Called with each version of a type, like `Deposited@2`, that this code lacks. @default {nobody} */
  readonly lacks?: (name: string) => void;
  /** Whether what handlers append goes through the outbox. @default {true} */
  readonly outbox?: boolean;
  /** The id of this member. @default {none} */
  readonly owner?: string;
  /** A mutex shared by the subscriptions of one group, which handle one batch at a time. @default {its own} */
  readonly mutex?: Mutex;
  /**
   * Whether the previous consumer crashed, so that its possibly in-flight messages are tried one at a time. @default
   * {false}
   */
  readonly quarantined?: boolean;
  /** By position, attempts that were begun and counted here, that no crash ended, and whose end was not written. @default {none} */
  readonly begun?: Map<number, number>;
  /** How many messages may be handled together at first; more and more as that succeeds. @default {as configured} */
  readonly most?: number;
  /** Returns whose turn it is in a category: it goes on where the last subscription ended. @default {as nothing was done} */
  readonly turns?: (category: string) => Turns;
  /** Whether another process had the lease before, and did not give it back in order. @default {false} */
  readonly takenOver?: boolean;
  /** What ended the worker before this one, if that is known. @default {unknown} */
  readonly crash?: string;
  /** Aborted once nothing may be written any more: with the error to throw instead. @default {never} */
  readonly halted?: AbortSignal;
  /** The source of time and randomness. @default {the real ones} */
  readonly clock?: Partial<Clock>;
}

/** The options with defaults filled in. */
export type Complete =
  & Omit<SubscriptionOptions, "owner" | "clock">
  & Required<Pick<SubscriptionOptions, "replays" | "lacks" | "outbox" | "mutex" | "quarantined" | "begun" | "turns">>
  & { readonly owner: string | undefined; readonly clock: Clock };

/** Fills in defaults. */
export function complete(options: SubscriptionOptions): Complete {
  return {
    replays: (group) => options.store.deferred(group, { replayedOnly: true, limit: 1000 }),
    lacks: () => {},
    outbox: true,
    mutex: new Mutex(),
    quarantined: false,
    begun: new Map(),
    turns: turnsOf(),
    ...options,
    clock: clockOf(options.clock),
    owner: options.owner,
  };
}

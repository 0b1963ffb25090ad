import { sleep } from "../async/sleep.ts";
import { Turns } from "../async/turns.ts";
import type { HandlerLog } from "../domain/context.ts";
import type { Reaction } from "../domain/reaction.ts";
import type { MessageTypes } from "../messages/codec.ts";
import { textOf } from "../messages/thrown.ts";
import type { EventStore } from "../store/port.ts";
import type { Execution } from "./execution.ts";
import type { Lane } from "./lane.ts";
import type { SubscriptionSettings } from "./settings.ts";
import type { Source } from "./source.ts";

/** What a subscription is made of. */
export interface SubscriptionOptions {
  /** The store: checkpoints, parked messages, dead letters, effects. */
  readonly store: EventStore;
  /** Where messages come from. */
  readonly source: Source;
  /** Which group, category and partition. */
  readonly lane: Lane;
  /** How to feed it. */
  readonly settings: SubscriptionSettings;
  /** The message types that the code knows. */
  readonly types: MessageTypes;
  /** The types that the group handles; others are passed over. */
  readonly handles: ReadonlySet<string>;
  /** Starts the handling of a batch. */
  readonly react: () => Reaction;
  /** Where to log. */
  readonly log: HandlerLog;
  /** Says in words what a handler threw. @default {its name and message} */
  readonly explain?: (error: unknown) => string;
  /** Whether what handlers append goes through the outbox. @default {true} */
  readonly outbox?: boolean;
  /** The process that runs this, among those that take part. @default {none} */
  readonly owner?: string;
  /** Shared by the subscriptions of one group: whose turn it is to handle a batch. @default {only its own} */
  readonly turns?: Turns;
  /** Whether a consumer before this one vanished: what may have been in its hands is tried one at a time. @default {false} */
  readonly suspicious?: boolean;
  /** How handlers are run and watched. @default {run directly} */
  readonly execution?: Partial<Execution>;
  /** Tells the time, in milliseconds since 1970. @default {Date.now} */
  readonly now?: () => number;
  /** Random numbers from 0 to 1. @default {Math.random} */
  readonly random?: () => number;
  /** Waits. @default {setTimeout} */
  readonly sleep?: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

/** The same with nothing left open. */
export type Complete =
  & Omit<SubscriptionOptions, "execution" | "owner">
  & Required<Pick<SubscriptionOptions, "explain" | "outbox" | "turns" | "suspicious" | "now" | "random" | "sleep">>
  & { readonly execution: Execution; readonly owner: string | undefined };

/** Fills in what was left open. */
export function complete(options: SubscriptionOptions): Complete {
  return {
    explain: textOf,
    outbox: true,
    turns: new Turns(),
    suspicious: false,
    now: Date.now,
    random: Math.random,
    sleep,
    ...options,
    owner: options.owner,
    execution: { guard: (work) => work(), takeStray: () => undefined, started: () => {}, ...options.execution },
  };
}

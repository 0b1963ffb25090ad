/** How a subscription feeds its group. */
export interface SubscriptionSettings {
  /** How many messages are read and handled at a time. @default {100} */
  readonly messagesPerTick: number;
  /** How long a read waits for messages, in milliseconds. @default {100} */
  readonly blockingTimeoutMs: number;
  /** How often a failed message is tried again before it is given up. @default {3} */
  readonly maxRetries: number;
  /** The delay before the first retry, in seconds; it doubles with each. @default {1} */
  readonly retryDelaySeconds: number;
  /** Whether a message that is given up is kept as a dead letter. `false`: it is logged and passed over. @default {true} */
  readonly enableDlq: boolean;
  /** How long the handling of one message may take, in seconds. @default {30} */
  readonly handlerTimeoutSeconds: number;
}

/** The settings of a subscription that is not configured. */
export const DEFAULT_SETTINGS: SubscriptionSettings = Object.freeze({
  messagesPerTick: 100,
  blockingTimeoutMs: 100,
  maxRetries: 3,
  retryDelaySeconds: 1,
  enableDlq: true,
  handlerTimeoutSeconds: 30,
});

/** No retry waits longer than this, in milliseconds. */
const LONGEST_DELAY = 3_600_000;

/**
 * How long to wait before a message is tried again: `retryDelaySeconds * 2^(attempt - 1)`, and up to a fifth more so
 * that those who failed together do not come back together.
 *
 * @param settings The group's settings.
 * @param attempt The attempt that failed, from 1.
 * @param random A number from 0 to 1.
 * @returns Milliseconds.
 */
export function retryDelay(settings: SubscriptionSettings, attempt: number, random: number): number {
  const delay = settings.retryDelaySeconds * 1000 * 2 ** (attempt - 1) * (1 + random / 5);
  return Math.min(delay, LONGEST_DELAY);
}

/** Settings of a subscription. */
export interface SubscriptionSettings {
  /** The number of messages per batch. @default {100} */
  readonly messagesPerTick: number;
  /** How long a read waits for messages, in milliseconds. @default {100} */
  readonly blockingTimeoutMs: number;
  /** The number of retries of a failed message. @default {3} */
  readonly maxRetries: number;
  /** Whether that is meant for this group alone: then what its handler's code wants does not count. @default {false} */
  readonly isMaxRetriesOwn?: boolean;
  /** The delay before the first retry, in seconds; it doubles with each retry. @default {1} */
  readonly retryDelaySeconds: number;
  /**
   * Whether a message that exhausts its retries becomes a dead letter; otherwise it is logged and skipped. @default
   * {true}
   */
  readonly enableDlq: boolean;
  /** The time limit for handling one message, in seconds. @default {30} */
  readonly handlerTimeoutSeconds: number;
}

/** The default settings. */
export const DEFAULT_SETTINGS: SubscriptionSettings = Object.freeze({
  messagesPerTick: 100,
  blockingTimeoutMs: 100,
  maxRetries: 3,
  retryDelaySeconds: 1,
  enableDlq: true,
  handlerTimeoutSeconds: 30,
});

/** The longest retry delay, in milliseconds. */
const LONGEST_DELAY = 3_600_000;

/**
 * Computes the delay before a retry: `retryDelaySeconds * 2^(attempt - 1)`, plus up to 20% jitter.
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

/** What servers' clocks may differ by, in milliseconds. */
const CLOCKS_DIFFER = 1_000;

/**
 * The longest that a message can have been told to wait for after an attempt; whatever is due later was deferred by another
 * clock, or under other settings.
 *
 * @param settings The group's settings.
 * @param attempts The number of attempts so far.
 * @returns Milliseconds.
 */
export function longestDelay(settings: SubscriptionSettings, attempts: number): number {
  return 2 * retryDelay(settings, Math.max(1, attempts), 1) + CLOCKS_DIFFER;
}

/**
 * How many attempts whose end nobody knows are not counted. Servers that are stopped or cut off again and again while they
 * handle a slow message are no fault of it; one that takes down whole machines is given up all the same.
 */
const MOST_LOST = 10;

/** How many attempts a message has, given those that failed. */
export function attemptsOf(
  { maxRetries }: Pick<SubscriptionSettings, "maxRetries">,
  failures: readonly { readonly lost?: true }[],
): number {
  return maxRetries + 1 + Math.min(MOST_LOST, failures.filter(({ lost }) => lost).length);
}

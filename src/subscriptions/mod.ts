export type { Execution } from "./execution.ts";
export { EventStoreSubscription, type GroupOptions, GroupSubscription, StreamSubscription } from "./group.ts";
export { DEFAULT_SETTINGS, type SubscriptionSettings } from "./settings.ts";
export { HandlerStuckError, UnknownTypeError } from "./errors.ts";

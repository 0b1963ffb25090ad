export type { Execution, Watch } from "../handling/executor.ts";
export {
  EventStoreSubscription,
  type FeedOptions,
  type GroupOptions,
  GroupSubscription,
  StreamSubscription,
} from "./group.ts";
export { DEFAULT_SETTINGS, type SubscriptionSettings } from "../groups/settings.ts";
export { HandlerStuckError, UnknownTypeError } from "./errors.ts";
export type { Turns } from "./options.ts";

export {
  type AfterOptions,
  Client,
  connect,
  type Outcome,
  OutcomeTimeoutError,
  type ProcessOptions,
  type QueryPage,
  type Receipt,
} from "./client.ts";
export { type Behind, ProjectionBehindError } from "./catching_up.ts";
export type { EventsOptions, LiveEvent } from "./live.ts";
export { IdempotencyKeyError } from "./once.ts";
export type { Token } from "./token.ts";

export { Client, connect, type QueryPage } from "./client.ts";
export type { ProcessOptions, Receipt } from "./command_sender.ts";
export { type Outcome, OutcomeTimeoutError } from "./outcome.ts";
export type { AfterOptions } from "./waits.ts";
export { type Behind, ProjectionBehindError } from "./catching_up.ts";
export type { EventsOptions, LiveEvent } from "./live.ts";
export { IdempotencyKeyError } from "./once.ts";
export type { Token } from "./token.ts";

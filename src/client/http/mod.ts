/**
 * A client that needs nothing but HTTP: for programs that cannot reach the store, or should not.
 *
 * @module
 */
export { connect, HttpClient, type HttpProcessOptions } from "./client.ts";
export type { HttpOptions } from "./connection.ts";
export { HttpError } from "./errors.ts";
export type { HttpEventsOptions } from "./events.ts";
export type { AfterOptions } from "../waits.ts";
export { type Behind, ProjectionBehindError } from "../catching_up.ts";
export type { ProcessOptions, Receipt } from "../command_sender.ts";
export type { QueryPage } from "../client.ts";
export type { EventsOptions, LiveEvent } from "../live.ts";
export { IdempotencyKeyError } from "../once.ts";
export { type Outcome, OutcomeTimeoutError } from "../outcome.ts";
export type { Token } from "../token.ts";

export { Client, connect, type Outcome, OutcomeTimeoutError, type ProcessOptions, type Receipt } from "./client.ts";
export { IdempotencyKeyError } from "./once.ts";

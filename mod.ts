/**
 * The core of Annals: messages and domain modelling, without any driver.
 *
 * @module
 */
export * from "./src/domain/mod.ts";
export * from "./src/messages/mod.ts";
export { AnnalsError, type Recovery } from "./src/lib/annals_error.ts";
export type { Duration } from "./src/lib/duration.ts";

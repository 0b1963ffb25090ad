export * from "./broker_suite.ts";
export * from "./store_suite.ts";
export { inMemory } from "./domain.ts";
export { type Choose, explore, type ExploreOptions, type MakeCommand, type Rules } from "./explore.ts";
export type { Seen } from "./exploration.ts";
export { type Expecting, given, type Happened, Scenario } from "./given.ts";
export type { Duration } from "../lib/duration.ts";
export type { Status } from "../processes/instance.ts";

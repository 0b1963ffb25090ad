export * from "./broker_suite.ts";
export * from "./store_suite.ts";
export { inMemory } from "./domain.ts";
export { type Duration, type Expecting, given, type Happened, Scenario } from "./given.ts";

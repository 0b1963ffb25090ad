export * from "./broker_suite.ts";
export * from "./store_suite.ts";
export { inMemory } from "./domain.ts";

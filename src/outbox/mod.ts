export * from "./relay.ts";
export * from "./scheduler.ts";

export { Engine, type EngineOptions } from "./engine.ts";
export { EngineStartError } from "./errors.ts";
export type { GroupHealth } from "./group_runner.ts";
export type { DomainDescription, HandlerDescription, Level } from "../isolation/protocol.ts";
export type { Clock } from "../lib/clock.ts";

export { Engine, type EngineOptions } from "./engine.ts";
export { EngineStartError } from "./errors.ts";
export type { GroupHealth } from "./group_runner.ts";
export type { DomainDescription, HandlerDescription, ProjectionDescription } from "../isolation/protocol.ts";
export type { Level } from "../telemetry/events.ts";
export type { Clock } from "../lib/clock.ts";
export type { EngineEvent, OfMessage, Report } from "../telemetry/events.ts";
export { lineOf, type LogLine, logTo } from "../telemetry/log_lines.ts";

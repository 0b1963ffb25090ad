export * from "./aggregate.ts";
export * from "./context.ts";
export * from "./domain.ts";
export * from "./errors.ts";
export * from "./handlers.ts";
export * from "./projection.ts";

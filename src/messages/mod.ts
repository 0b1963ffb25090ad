export type { CloudEvent } from "./cloud_event.ts";
export * from "./codec.ts";
export * from "./envelope.ts";
export * from "./errors.ts";
export * from "./ids.ts";
export * from "./json.ts";
export * from "./message_type.ts";
export * from "./schema.ts";

export * from "./src/messages/mod.ts";

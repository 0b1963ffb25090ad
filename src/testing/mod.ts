export * from "./store_suite.ts";

export { Client, connect, type Outcome, OutcomeTimeoutError, type ProcessOptions, type Receipt } from "./client.ts";

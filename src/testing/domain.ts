import { type Client, connect } from "../client/client.ts";
import { loadConfig } from "../config/load.ts";
import type { Domain } from "../domain/model.ts";

const SYNC = `
event_processing = "sync"
command_processing = "sync"
[event_store]
url = "memory:"
[brokers.default]
url = "memory:"
[server]
default_subscription_type = "event_store"
[server.event_store_subscription]
max_retries = 0
`;

/**
 * Runs a domain in memory, for tests. `process()` handles the command and returns once everything that follows from it
 * is handled, including all projections. A handler that throws leaves a dead letter at once.
 *
 * @param domain The domain.
 * @returns A client with its own log.
 *
 * @example Testing a counter
 * ```ts
 * import { aggregate, command, commandHandler, domain, event, type } from "@annals/annals";
 * import { inMemory } from "@annals/annals/testing";
 * import assert from "node:assert/strict";
 *
 * const Counted = event("Counted", { schema: type<{ by: number }>() });
 * const Counter = aggregate("Counter", {
 *   events: [Counted],
 *   initial: () => 0,
 *   evolve: { Counted: (state, { payload }) => state + payload.by },
 * });
 * const Count = command("Count", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
 * const counting = domain("counting", {
 *   aggregates: [Counter],
 *   handlers: [
 *     commandHandler("Counters", Counter, {
 *       commands: [Count],
 *       handle: { Count: (_state, { payload }) => Counted({ by: payload.by }) },
 *     }),
 *   ],
 * });
 *
 * await using client = await inMemory(counting);
 * const { outcome } = await client.process(Count({ id: "a", by: 2 }));
 * assert.deepEqual(outcome, { status: "accepted", events: ["Counted"] });
 * assert.equal((await client.load(Counter, "a")).state, 2);
 * assert.deepEqual(await client.store.deadLetters(), []);
 * ```
 */
export function inMemory(domain: Domain): Promise<Client> {
  return connect(domain, { config: loadConfig({ text: SYNC, env: () => undefined }) });
}

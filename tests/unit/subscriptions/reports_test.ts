import { type EventStore, StoreUnavailableError } from "@annals/annals/store";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { overriding } from "../../../src/lib/overriding.ts";
import { EventStoreSubscription } from "../../../src/subscriptions/mod.ts";
import type { EngineEvent } from "../../../src/telemetry/events.ts";
import { tick, tickingDomain } from "../../support/ticking.ts";

/** What a group reports whose handler fails for 2, on a store whose commits fail as told. */
async function reported(store: EventStore, maxRetries: number): Promise<EngineEvent[]> {
  const events: EngineEvent[] = [];
  const domain = tickingDomain((n) => {
    if (n === 2) throw new Error("no");
  });
  const stop = new AbortController();
  let left = 3;
  const subscription = new EventStoreSubscription({
    domain,
    handler: domain.handlers.get("Reactor")!,
    store,
    settings: { maxRetries, blockingTimeoutMs: 1, retryDelaySeconds: 1_000 },
    report: (event) => {
      events.push(event);
      if (event.type === "batch.handled") left -= event.handled + event.failed;
      if (left === 0) stop.abort();
    },
  });
  await subscription.run(stop.signal);
  return events;
}

Deno.test("a failure is reported once it is stored, however often that was tried", async () => {
  for (const [maxRetries, type] of [[3, "message.failed"], [0, "message.dead"]] as const) {
    const store = new MemoryEventStore();
    await tick(store, ["a", "b", "c"], 1);
    let refusals = 2;
    const weak = overriding<EventStore>(store, {
      commit: async (commit) => {
        const ofFailure = [...commit.defer ?? [], ...commit.deadLetters ?? []].length > 0;
        if (ofFailure && refusals-- > 0) throw new StoreUnavailableError("It is locked", "locked", true);
        return await store.commit(commit);
      },
    });
    const events = await reported(weak, maxRetries);
    assert.equal(refusals, -1);
    assert.equal(events.filter((event) => event.type === type).length, 1);
  }
});

Deno.test("a batch is reported with how many were handled, failed and given up", async () => {
  for (const [maxRetries, dead] of [[3, 0], [0, 1]]) {
    const store = new MemoryEventStore();
    await tick(store, ["a", "b", "c"], 1);
    const events = await reported(store, maxRetries);
    const batch = events.find(({ type }) => type === "batch.handled") as EngineEvent & { type: "batch.handled" };
    const { handled, refused, failed, handlingMs, commitMs, milliseconds } = batch;
    assert.deepEqual({ handled, refused, failed, dead: batch.dead }, { handled: 2, refused: 0, failed: 1, dead });
    assert.ok(handlingMs > 0 && commitMs > 0 && Math.abs(handlingMs + commitMs - milliseconds) < 1e-6);
  }
});

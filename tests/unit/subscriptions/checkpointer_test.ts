import { FencedError, StoreUnavailableError } from "@annals/annals/store";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { EventStoreSubscription } from "@annals/annals/subscriptions";
import assert from "node:assert/strict";
import type { Commit, CommitResult } from "../../../src/store/port.ts";
import { until } from "../../support/server.ts";
import { tick, tickingDomain } from "../../support/ticking.ts";

/** A store that fails to write one checkpoint. */
class FailingStore extends MemoryEventStore {
  error: Error | undefined;

  override async commit(commit: Commit): Promise<CommitResult> {
    const { error } = this;
    if (!commit.checkpoint || !error) return await super.commit(commit);
    this.error = undefined;
    throw error;
  }
}

async function running(error: Error) {
  const store = new FailingStore();
  await tick(store, ["a", "b", "c"]);
  store.error = error;
  const domain = tickingDomain();
  const stop = new AbortController();
  const run = new EventStoreSubscription({ domain, handler: domain.handlers.get("Reactor")!, store }).run(stop.signal);
  return { store, stop, run };
}

Deno.test("a checkpoint that could not be written is written again, also when no message follows", async () => {
  const { store, stop, run } = await running(new StoreUnavailableError("gone", "unreachable", true));
  await until(
    async () => (await store.checkpoints("Reactor")).at(0)?.position === 3,
    () => "the checkpoint, while nothing follows",
    5_000,
  );
  stop.abort();
  await run;
});

for (const error of [new FencedError("l", 1), new StoreUnavailableError("gone", "unsure", true)]) {
  Deno.test(`a checkpoint that fails with ${error.name} (${error.message}) ends the run, also when no message follows`, async () => {
    const { stop, run } = await running(error);
    const late = setTimeout(() => stop.abort(), 5_000);
    await assert.rejects(run, error);
    clearTimeout(late);
    assert.ok(!stop.signal.aborted, "only the stop brought it to light");
  });
}

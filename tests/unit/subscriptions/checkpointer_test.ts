import { StoreUnavailableError } from "@annals/annals/store";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { EventStoreSubscription } from "@annals/annals/subscriptions";
import assert from "node:assert/strict";
import type { Commit, CommitResult } from "../../../src/store/port.ts";
import { pause } from "../../support/ground.ts";
import { until } from "../../support/server.ts";
import { tick, tickingDomain } from "../../support/ticking.ts";

const MESSAGES = 200;

/** A store whose checkpoints are written when that is allowed. */
class SlowStore extends MemoryEventStore {
  /** What the writing of a checkpoint waits for. */
  gate: () => Promise<void> = () => Promise.resolve();
  /** The checkpoints in the order in which their writing began. */
  readonly begun: number[] = [];

  override async commit(commit: Commit): Promise<CommitResult> {
    if (commit.checkpoint) {
      this.begun.push(commit.checkpoint.position);
      await this.gate();
    }
    return await super.commit(commit);
  }
}

/** Handles messages, each of which takes 10 ms, in batches of ten. */
async function handling(
  store: SlowStore,
  run = (subscription: EventStoreSubscription) => subscription.runUntil(MESSAGES, new AbortController().signal),
) {
  await tick(store, Array.from({ length: MESSAGES }, (_, n) => `${n}`));
  const handled: number[] = [];
  let time = 0;
  const domain = tickingDomain((n) => {
    time += 10;
    handled.push(n);
  });
  const subscription = new EventStoreSubscription({
    domain,
    handler: domain.handlers.get("Reactor")!,
    store,
    settings: { messagesPerTick: 10, blockingTimeoutMs: 1 },
    clock: { elapsed: () => time, random: () => 0 },
  });
  return { handled, running: run(subscription) };
}

Deno.test("handling goes on while a checkpoint is written, but not beyond the next one", async () => {
  const store = new SlowStore();
  const { promise, resolve } = Promise.withResolvers<void>();
  store.gate = () => promise;
  const { handled, running } = await handling(store);
  await until(() => handled.length >= 40, () => `40 messages; there were ${handled.length}`);
  await pause(50);
  // After a crash, whatever has no checkpoint is tried one at a time: that may not be any number.
  assert.equal(handled.length, 40);
  assert.deepEqual(store.begun, [20]);
  resolve();
  await running;
  assert.deepEqual(handled, Array.from({ length: MESSAGES }, (_, n) => n));
  assert.deepEqual((await store.checkpoints("Reactor")).map(({ position }) => position), [MESSAGES]);
});

Deno.test("after a checkpoint that could not be written while handling went on, all since the one before come again", async () => {
  const store = new SlowStore();
  store.gate = () => {
    store.gate = () => Promise.resolve();
    return Promise.reject(new StoreUnavailableError("gone", "unreachable", true));
  };
  const stop = new AbortController();
  const { handled, running } = await handling(store, (subscription) => subscription.run(stop.signal));
  const written = async () => (await store.checkpoints("Reactor")).at(0)?.position === MESSAGES;
  await until(written, () => `everything to be handled; there were ${handled.length}`);
  stop.abort();
  await running;
  const again = handled.lastIndexOf(0);
  assert.ok(again > 0);
  assert.deepEqual(handled.slice(again), Array.from({ length: MESSAGES }, (_, n) => n));
});

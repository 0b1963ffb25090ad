import assert from "node:assert/strict";
import { SingleRunner } from "../../../src/engine/single_runner.ts";
import { REAL_CLOCK } from "../../../src/lib/clock.ts";
import { FencedError } from "../../../src/store/errors.ts";
import { MemoryEventStore } from "../../../src/store/memory.ts";
import { NO_REPORT } from "../../../src/telemetry/events.ts";

Deno.test("what one of all processes does ends when its lease is lost, and is begun again under another", async () => {
  const store = new MemoryEventStore();
  const tokens: number[] = [];
  const stop = new AbortController();
  let begun = () => {};
  const runner = new SingleRunner({
    lease: "$one",
    run: async ({ token }, signal) => {
      tokens.push(token);
      begun();
      // As if it never asked the store.
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      if (tokens.length === 2) throw new FencedError("$one", token);
    },
  }, { store, owner: "me", clock: REAL_CLOCK, report: NO_REPORT });
  const next = () => new Promise<void>((resolve) => begun = resolve);
  let waiting = next();
  const running = runner.run(stop.signal);
  for (let i = 1; i <= 2; i++) {
    await waiting;
    assert.equal(runner.fence?.token, tokens.at(-1));
    waiting = next();
    runner.abandon();
  }
  await waiting;
  assert.equal(new Set(tokens).size, 3);
  stop.abort();
  await running;
  assert.equal(runner.fence, undefined);
  await store.close();
});

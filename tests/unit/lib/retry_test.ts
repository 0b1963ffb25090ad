import assert from "node:assert/strict";
import { recoveryOf } from "../../../src/lib/annals_error.ts";
import { clockOf } from "../../../src/lib/clock.ts";
import { Mutex } from "../../../src/lib/mutex.ts";
import { pauseBefore, retry, SERVICE_BACKOFF } from "../../../src/lib/retry.ts";
import { BrokerUnavailableError, GroupMissingError } from "../../../src/broker/errors.ts";
import { FencedError, StoreUnavailableError } from "../../../src/store/errors.ts";

const away = new StoreUnavailableError("away", "unreachable", true);

function slept() {
  const pauses: number[] = [];
  return { pauses, clock: clockOf({ random: () => 1, sleep: (ms) => (pauses.push(ms), Promise.resolve()) }) };
}

Deno.test("retry() tries what may pass, with pauses that double up to the longest", async () => {
  const { pauses, clock } = slept();
  const result = await retry((tries) => tries < 9 ? Promise.reject(away) : Promise.resolve(tries), { clock });
  assert.equal(result, 9);
  assert.deepEqual(pauses, [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  assert.equal(pauseBefore(1, SERVICE_BACKOFF, 0), 25, "half of a pause is chance");
});

Deno.test("retry() throws what will not pass at once, and the last error when it is stopped", async () => {
  const { pauses, clock } = slept();
  const fenced = new FencedError("l", 1);
  await assert.rejects(retry(() => Promise.reject(fenced), { clock }), fenced);
  assert.deepEqual(pauses, []);
  const stop = new AbortController();
  const failed = () => stop.abort();
  await assert.rejects(retry(() => Promise.reject(away), { clock, signal: stop.signal, failed }), away);
});

Deno.test("recoveryOf() goes by class, never by name", () => {
  assert.equal(recoveryOf(away), "wait");
  assert.equal(recoveryOf(new StoreUnavailableError("?", "unsure", true)), "unsure");
  assert.equal(recoveryOf(new StoreUnavailableError("no", "denied", false)), "none");
  assert.equal(recoveryOf(new BrokerUnavailableError("away")), "wait");
  assert.equal(recoveryOf(new GroupMissingError("s", "g")), "none");
  const forged = Object.assign(new Error("away"), { name: "StoreUnavailableError", retryable: true, recovery: "wait" });
  assert.equal(recoveryOf(forged), "none");
});

Deno.test("Mutex lets one after the other, also behind one that fails", async () => {
  const mutex = new Mutex();
  const seen: string[] = [];
  const work = (name: string, fails = false) => async (): Promise<void> => {
    seen.push(`${name} begins`);
    await new Promise((resolve) => setTimeout(resolve));
    seen.push(`${name} ends`);
    if (fails) throw new Error(name);
  };
  await Promise.allSettled([mutex.run(work("a", true)), mutex.run(work("b")), mutex.run(work("c"))]);
  assert.deepEqual(seen, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
});

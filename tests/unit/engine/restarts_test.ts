import fc from "fast-check";
import assert from "node:assert/strict";
import { countEnd, pauseAfter, restLeft } from "../../../src/engine/restarts.ts";
import type { Ends } from "../../../src/store/port.ts";

const NOW = 1_000_000_000;

function after(count: number, gap: number, retries = 0): Ends[] {
  const all: Ends[] = [];
  for (let i = 0; i < count; i++) all.push(countEnd(all.at(-1) ?? null, NOW + i * gap, "boom", retries));
  return all;
}

Deno.test("pauses grow to 5 s, and the sixth end within a minute begins a rest of one", () => {
  const ends = after(6, 1_000);
  assert.deepEqual(ends.map((end, i) => pauseAfter(end, NOW + i * 1_000)), [100, 200, 400, 800, 1_600, 60_000]);
  assert.equal(ends[5].at.length, 6);
  assert.equal(pauseAfter(after(9, 1_000, 5).at(-1)!, NOW + 8_000), 5_000);
});

Deno.test("a group's own retries come on top", () => {
  assert.equal(after(9, 1_000, 3).filter((end) => end.restingUntil > 0).length, 1);
  assert.equal(after(8, 1_000, 3).filter((end) => end.restingUntil > 0).length, 0);
});

Deno.test("ends that are a quarter of a minute apart never lead to a rest", () => {
  assert.ok(after(100, 15_000).every((end) => end.restingUntil === 0));
});

Deno.test("rests double up to an hour, and begin small again after ten quiet minutes", () => {
  let ends: Ends | null = null;
  let now = NOW;
  const rests: number[] = [];
  while (rests.length < 9) {
    ends = countEnd(ends, now, "boom", 0);
    const pause = pauseAfter(ends, now);
    if (ends.restingUntil > now) rests.push(pause / 60_000);
    now += pause;
  }
  assert.deepEqual(rests, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  now += 600_001;
  for (let i = 0; i < 6; i++) ends = countEnd(ends, now, "boom", 0);
  assert.equal(ends!.restingUntil - now, 60_000);
});

Deno.test("however ends are spread, a rest is never shorter than a minute or longer than an hour", () => {
  fc.assert(fc.property(fc.array(fc.nat(4_000_000)), fc.nat(20), (gaps, retries) => {
    let ends: Ends | null = null;
    let now = NOW;
    for (const gap of gaps) {
      now += gap;
      ends = countEnd(ends, now, "boom", retries);
      const pause = pauseAfter(ends, now);
      assert.ok(pause <= 5_000 || pause >= 60_000 && pause <= 3_600_000, String(pause));
      now += pause;
    }
  }));
});

Deno.test("a clock that is set back makes no rest longer, and no end count as one of the last minute for an hour", () => {
  const [ends] = after(6, 1_000).slice(-1);
  const back = NOW - 3_600_000;
  assert.equal(restLeft(ends, NOW + 5_000), 60_000);
  assert.equal(restLeft(ends, back), 60_000);
  assert.deepEqual(countEnd(ends, back, "boom", 0).at, [back]);
});

Deno.test("after a rest that the clock says is not over, an end is an end like any other", () => {
  const [rested] = after(6, 1_000).slice(-1);
  const back = NOW - 3_600_000;
  assert.equal(pauseAfter(countEnd(rested, back + 180_000, "boom", 0), back + 180_000), 100);
});

import assert from "node:assert/strict";
import { KEPT_GROUP, keptBy, unkeptIn } from "../../../src/groups/renames.ts";
import type { Checkpoint } from "../../../src/store/port.ts";

const at = (group: string, category: string, position: number): Checkpoint => ({
  group,
  category,
  partitions: 1,
  partition: 0,
  position,
});
const counter = (...keeps: string[]) => [{ name: "Counter", keeps }];

Deno.test("a projector that keeps another projection than before is noticed, once it has handled something", () => {
  const noted = at(KEPT_GROUP, "Counter Count", 0);
  assert.deepEqual(unkeptIn(counter("Total"), [noted, at("Counter", "bells::bell", 7)]), [
    { group: "Counter", before: ["Count"], projection: "Total" },
  ]);
  assert.deepEqual(unkeptIn(counter("Total"), [noted, at("Counter", "bells::bell", 0)]), []);
  assert.deepEqual(unkeptIn(counter("Count"), [noted, at("Counter", "bells::bell", 7)]), []);
});

Deno.test("what a group has kept before that was noted is not known, and nothing is refused for it", () => {
  assert.deepEqual(unkeptIn(counter("Total"), [at("Counter", "bells::bell", 7)]), []);
  assert.deepEqual(unkeptIn(counter("Total"), [at(KEPT_GROUP, "CounterOfBells Count", 0), at("Counter", "b", 7)]), []);
});

Deno.test("what a group keeps is noted once", () => {
  assert.deepEqual(keptBy(counter("Count"), []), ["Counter Count"]);
  assert.deepEqual(keptBy(counter("Count"), [at(KEPT_GROUP, "Counter Count", 0)]), []);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryEventStore } from "@annals/annals/store/memory";
import type { Checkpoint } from "@annals/annals/store";
import { hasPassed, lagOf, PartitionProgress, reachedBy } from "../../../src/groups/progress.ts";
import { partitionOf } from "../../../src/messages/ids.ts";
import { tick } from "../../support/ticking.ts";

const at = (partitions: number, partition: number, position: number): Checkpoint => ({
  group: "g",
  category: "test::clock",
  partitions,
  partition,
  position,
});

Deno.test("reachedBy() counts a layout only when all of its partitions have a checkpoint, and takes the furthest", () => {
  assert.equal(reachedBy([], "test::clock"), 0);
  assert.equal(reachedBy([at(1, 0, 10)], "test::clock"), 10);
  assert.equal(reachedBy([at(1, 0, 10), at(3, 0, 50), at(3, 1, 60)], "test::clock"), 10);
  assert.equal(reachedBy([at(1, 0, 10), at(3, 0, 50), at(3, 1, 60), at(3, 2, 40)], "test::clock"), 40);
  assert.equal(reachedBy([{ ...at(1, 0, 10), category: "other" }], "test::clock"), 0);
});

Deno.test("after a change of the number of workers it is still known how far a group is", async () => {
  const store = new MemoryEventStore();
  await tick(store, Array.from({ length: 30 }, (_, n) => `s${n % 5}`));
  await store.commit({ checkpoint: at(1, 0, 10) });
  for (const partition of [0, 1]) await store.commit({ checkpoint: at(3, partition, 30) });
  assert.equal(await hasPassed(store, "g", ["test::clock"], 10), true);
  assert.equal(await hasPassed(store, "g", ["test::clock"], 11), false);
  assert.equal((await lagOf(store, "g", ["test::clock"])).messages, 20);
  await store.commit({ checkpoint: at(3, 2, 30) });
  assert.equal(await hasPassed(store, "g", ["test::clock"], 30), true);
  assert.deepEqual(await lagOf(store, "g", ["test::clock"]), { position: 30, messages: 0, oldest: null });
  await store.close();
});

Deno.test("a partition wants exactly what no layout has done", () => {
  const layouts = fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.nat(30)), { maxLength: 6 });
  fc.assert(fc.property(layouts, fc.integer({ min: 1, max: 4 }), (given, partitions) => {
    const checkpoints = new Map(
      given.map(([partitions, position]): [string, Checkpoint] => {
        const partition = position % partitions;
        return [`${partition}/${partitions}`, at(partitions, partition, position)];
      }),
    );
    const all = [...checkpoints.values()];
    for (let n = 1; n <= 31; n++) {
      const stream = `test::clock-${n % 7}`;
      const done = all.some((c) => c.position >= n && partitionOf(stream, c.partitions) === c.partition) ||
        reachedBy(all, "test::clock") >= n;
      const mine = partitionOf(stream, partitions);
      for (let partition = 0; partition < partitions; partition++) {
        const own = all.find((c) => c.partitions === partitions && c.partition === partition)?.position ?? 0;
        const progress = new PartitionProgress({ group: "g", category: "test::clock", partitions, partition }, all);
        const wants = progress.wants({ position: n, stream } as never);
        assert.equal(wants, mine === partition && !done && n > own, `${n} of ${partition}/${partitions}`);
      }
    }
  }));
});

import assert from "node:assert/strict";
import { pendingSwap } from "../../../src/projections/swap.ts";
import { placeGenerations } from "../../../src/projections/place.ts";
import { compareGenerations, type Generation, groupFor, nextGeneration } from "../../../src/store/generations.ts";
import { MemoryEventStore } from "../../../src/store/memory.ts";
import { sampleAppend } from "../../../src/testing/store_suite.ts";

/** Generations, oldest first: `*` is what readers see, `!` what an operator chose, `…` what is being built. */
function those(...names: string[]): Generation[] {
  return names.map((name) => {
    const generation = name.replaceAll(/[*!…]/g, "");
    return {
      projection: "P",
      generation,
      group: groupFor("Projector", generation),
      state: name.includes("…") ? "building" : "fed",
      isActive: name.includes("*"),
      isPinned: name.includes("!"),
      swappedAt: null,
      error: null,
    };
  });
}

const CASES: [names: string[], version: number, isFed: boolean, swap: string | null][] = [
  [["1*", "2…"], 2, true, null],
  [["1*", "2"], 2, true, "1 -> 2"],
  [["1*", "1.1"], 1, true, "1 -> 1.1"],
  [["1*", "2", "2.1"], 2, true, "1 -> 2.1"],
  // An operator has chosen it.
  [["1*!", "2"], 2, true, null],
  // Older code, while somebody has the newer one, and when nobody has it any more.
  [["1", "2*"], 1, true, null],
  [["1", "2*"], 1, false, "2 -> 1"],
  // Newer code comes back.
  [["1*", "2"], 2, false, "1 -> 2"],
  [["2*"], 2, false, null],
  [["1*"], 2, false, null],
];

Deno.test("a newer generation takes over when it is built, an older one when nobody feeds what readers see", () => {
  for (const [names, version, isFed, swap] of CASES) {
    const found = pendingSwap(those(...names), version, () => isFed);
    assert.equal(found && `${found.from.generation} -> ${found.to.generation}`, swap, names.join());
  }
});

Deno.test("generations are named and ordered by version and rebuild", () => {
  assert.equal(nextGeneration([], 2), "2");
  assert.equal(nextGeneration(["1", "2", "2.9", "2.10"], 2), "2.11");
  assert.equal(nextGeneration(["2"], 1), "1");
  assert.deepEqual(["10", "2.10", "2", "2.9", "1"].sort(compareGenerations), ["1", "2", "2.9", "2.10", "10"]);
});

Deno.test("what there is no code for is left; older code makes no generation that was dropped", async () => {
  const store = new MemoryEventStore();
  await store.commit({ appends: [sampleAppend("a", 3)] });
  const place = (...versions: number[]) =>
    placeGenerations(store, versions.map((version) => ({ name: "P", version, group: groupFor("Projector", version) })));
  const there = async () =>
    (await store.generations()).map(({ generation, state, isActive }) =>
      `${generation} ${state}${isActive ? "*" : ""}`
    );
  await place(1);
  assert.deepEqual(await there(), ["1 building*"]);
  await place(1, 2);
  assert.deepEqual(await there(), ["1 building*", "2 building"]);
  await store.markGeneration({ projection: "P", generation: "2", state: "fed", error: null }, "building");
  await store.markGeneration({ projection: "P", generation: "1", state: "fed", error: null }, "building");
  const swap = { projection: "P", from: "1", to: "2", categories: [], pin: false };
  assert.equal(await store.swapGenerations(swap), null);
  await store.markGeneration({ projection: "P", generation: "1", state: "dropped", error: null }, "fed");
  assert.equal(await store.clearGeneration("P", "1", 9), 0);
  await place(1, 2);
  assert.deepEqual(await there(), ["2 fed*"]);
  // Checkpoints that were left behind are no proof that there are rows.
  await store.commit({
    checkpoint: { group: "Projector@3", category: "test", partitions: 1, partition: 0, position: 3 },
  });
  await place(3);
  assert.deepEqual(await there(), ["2 fed*", "3 building"]);
});

Deno.test("rows from before there were generations are those of the first one", async () => {
  const store = new MemoryEventStore();
  await store.commit({
    appends: [sampleAppend("a", 3)],
    checkpoint: { group: "Projector", category: "test", partitions: 1, partition: 0, position: 3 },
  });
  await placeGenerations(store, [{ name: "P", version: 2, group: "Projector@2" }]);
  assert.deepEqual(
    (await store.generations()).map(({ generation, state, isActive, group }) => [generation, state, isActive, group]),
    [["1", "fed", true, "Projector"], ["2", "building", false, "Projector@2"]],
  );
});

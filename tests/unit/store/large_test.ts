import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { isLeftOut, LARGE, MOST_CHARACTERS, readBatch } from "../../../src/store/large.ts";
import { partsOf } from "../../../src/store/postgres/commit.ts";
import { sampleAppend, sampleMessage } from "../../../src/testing/store_suite.ts";

const append = (id: string, characters: number) =>
  sampleAppend(id, 0, "any", { messages: [sampleMessage("x".repeat(characters))] });

Deno.test("a batch has payloads of any size, but not more of them than fit, and never none", async () => {
  const store = new MemoryEventStore();
  const sizes = [1, LARGE + 1, MOST_CHARACTERS / 2, MOST_CHARACTERS, 1, 1, ...Array(10).fill(MOST_CHARACTERS / 4)];
  await store.commit({ appends: sizes.map((size, i) => append(`${i}`, size)) });
  const read: number[] = [];
  let reads = 0;
  for (let after = 0;; reads++) {
    const records = await readBatch(store, { after });
    if (records.length === 0) break;
    assert.ok(!records.some(isLeftOut));
    const characters = records.reduce((sum, { data }) => sum + data.length, 0);
    assert.ok(characters < 3 * MOST_CHARACTERS, `${characters}`);
    read.push(...records.map(({ data }) => data.length - 2));
    after = records.at(-1)!.position;
  }
  assert.deepEqual(read, sizes);
  assert.ok(reads >= 3, `${reads}`);
  await store.close();
});

Deno.test("a call to PostgreSQL has no more than it takes; a large commit shares none with others beyond that", () => {
  const commits = [1, 20e6, 1, 20e6, 40e6, 1, 1].map((size, i) => ({ appends: [append(`${i}`, size)] }));
  assert.deepEqual(partsOf(commits).map((part) => part.length), [3, 1, 1, 2]);
});

import assert from "node:assert/strict";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { scan } from "../../../src/operating/scan.ts";
import { MOST_SHOWN, streamFromStart, streamPage } from "../../../src/operating/streams.ts";
import { isLeftOut, LARGE } from "../../../src/store/large.ts";
import type { EventStore, ReadLogOptions, ReadStreamOptions } from "../../../src/store/port.ts";
import { sampleAppend, sampleMessage } from "../../../src/testing/store_suite.ts";

const STREAM = "test-a";

/** The most characters that one read may return. */
const MOST_READ = 8_000_000;

/** A store with a stream of messages of these sizes, that returns no more at a time than a process can hold. */
async function withStream(sizes: readonly number[]) {
  const inner = new MemoryEventStore();
  await inner.commit({
    appends: [sampleAppend("a", 0, "any", { messages: sizes.map((size) => sampleMessage("x".repeat(size))) })],
  });
  const checked = <T extends { readonly data: string }>(records: T[]): T[] => {
    const read = records.reduce((sum, { data }) => sum + data.length, 0);
    assert.ok(records.length === 1 || read <= MOST_READ, `${records.length} messages of ${read} characters were read`);
    return records;
  };
  const store: Pick<EventStore, "readStream" | "readLog" | "readAt"> = {
    readStream: async (stream, options?: ReadStreamOptions) => checked(await inner.readStream(stream, options)),
    readLog: async (options?: ReadLogOptions) => checked(await inner.readLog(options)),
    readAt: async (positions, options) => checked(await inner.readAt(positions, options)),
  };
  return store;
}

const charactersIn = (records: readonly { readonly data: string }[]) =>
  records.reduce((sum, { data }) => sum + data.length, 0);

/** Small ones, some just not left out, some as large as a message can be. */
const SIZES = Array.from({ length: 700 }, (_, i) => i % 100 === 7 ? 10_000_000 : i > 300 ? LARGE - 10 : i);
const VERSIONS = SIZES.map((_, i) => i);

Deno.test("pages of a stream hold all of it once, the newest first, and no more than fits into an answer", async () => {
  const store = await withStream(SIZES);
  for (const limit of [1, 99, 100, 101, 500]) {
    const found: number[] = [];
    let before: number | undefined;
    while (before !== -1) {
      const { records, next } = await streamPage(store, STREAM, { before, limit });
      assert.ok(records.length > 0 && records.length <= limit);
      assert.ok(charactersIn(records) <= MOST_SHOWN + LARGE);
      for (const record of records) assert.equal(isLeftOut(record), SIZES[record.version] > LARGE);
      found.push(...records.map(({ version }) => version));
      assert.ok(found.length <= SIZES.length, "no message comes twice");
      before = next ?? -1;
    }
    assert.deepEqual(found, VERSIONS.toReversed());
  }
  assert.deepEqual(await streamPage(store, STREAM, { before: 0, limit: 5 }), { records: [], next: null });
  assert.deepEqual(await streamPage(store, "test-none", { limit: 5 }), { records: [], next: null });
});

Deno.test("a stream is read from its start with all payloads, or not at all if it is too large", async () => {
  const store = await withStream(SIZES);
  const start = await streamFromStart(store, STREAM, 250, 50_000_000);
  assert.deepEqual(start!.map(({ data }) => data.length - 2), SIZES.slice(0, 251));
  assert.equal(await streamFromStart(store, STREAM, 699, 10_500_000), null);
  assert.deepEqual(await streamFromStart(store, STREAM, -1, 1), []);
});

Deno.test("a search gives up where its messages do not fit any more, and goes on from there", async () => {
  const store = await withStream(SIZES);
  const range = { largest: LARGE, most: MOST_SHOWN, limit: 10_000, until: Infinity };
  for (const backward of [false, true]) {
    const found: number[] = [];
    let [after, upTo] = [0, 700];
    while (true) {
      const { records, stoppedAt } = await scan(store, { ...range, after, upTo, backward });
      assert.ok(charactersIn(records) <= MOST_SHOWN + LARGE);
      found.push(...records.map(({ version }) => version));
      if (stoppedAt === null) break;
      if (backward) upTo = stoppedAt;
      else after = stoppedAt;
    }
    assert.deepEqual(found, backward ? VERSIONS.toReversed() : VERSIONS);
  }
});

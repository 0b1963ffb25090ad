import assert from "node:assert/strict";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { eventsOfRow, rowPage } from "../../../src/operating/projections.ts";
import { MOST_SHOWN } from "../../../src/operating/streams.ts";
import type { EventStore } from "../../../src/store/port.ts";
import { sampleAppend, sampleMessage } from "../../../src/testing/store_suite.ts";

Deno.test("pages of rows hold all of them once, by key, and no more than fits into an answer", async () => {
  const store = new MemoryEventStore();
  const rows = Array.from({ length: 600 }, (_, i) => ({
    projection: "Rows",
    key: String(i).padStart(3, "0"),
    row: JSON.stringify("x".repeat(i % 50 === 3 ? 4_000_000 : i)),
    position: i + 1,
  }));
  await store.commit({ rows });
  let largest = 0;
  const listRows: EventStore["listRows"] = async (projection, options) => {
    const page = await store.listRows(projection, options);
    largest = Math.max(largest, page.reduce((sum, { row }) => sum + row!.length, 0));
    return page;
  };
  for (const limit of [1, 100, 500]) {
    const found: string[] = [];
    let after: string | undefined | null;
    while (after !== null) {
      const { rows, next } = await rowPage({ listRows }, "Rows", { after, limit });
      assert.ok(rows.length > 0 && rows.length <= limit);
      const [last, ...others] = rows.toReversed();
      assert.ok(last.row !== null && others.reduce((sum, { row }) => sum + row!.length, 0) <= MOST_SHOWN);
      found.push(...rows.map(({ key }) => key));
      after = next;
    }
    assert.deepEqual(found, rows.map(({ key }) => key));
  }
  assert.ok(largest < 20_000_000, `${largest} characters were read at once`);
  assert.deepEqual(await rowPage(store, "None", { limit: 5 }), { rows: [], next: null });
});

Deno.test("the events that name a row are the last ones, looked for a few at a time", async () => {
  const inner = new MemoryEventStore();
  const messages = Array.from({ length: 3_000 }, (_, i) => {
    const text = "x".repeat(i % 1_000 === 7 ? 1_000_000 : 10);
    return sampleMessage({ rowId: i % 3 === 0 ? "mine" : "other", text }, { type: "Named" });
  });
  await inner.commit({ appends: [sampleAppend("a", 0, "any", { messages })] });
  let most = 0;
  const readLog: EventStore["readLog"] = async (options) => {
    const page = await inner.readLog(options);
    most = Math.max(most, page.length);
    return page;
  };
  const store = { readLog, readStream: inner.readStream.bind(inner), lastPosition: inner.lastPosition.bind(inner) };
  const found = { code: { key: "rowId" }, handler: { categories: ["test"], handles: ["Named"] } };
  const of = (key: string, limit: number) => eventsOfRow({ store } as never, found as never, key, limit);
  const positions = (await of("mine", 50)).map(({ position }) => position);
  assert.deepEqual(positions, Array.from({ length: 50 }, (_, i) => 2_998 - 3 * i));
  assert.deepEqual(await of("nobody's", 50), []);
  assert.ok(most <= 100, `${most}`);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import type { MessageRecord } from "../../../src/messages/envelope.ts";
import { MemoryEventStore } from "../../../src/store/memory.ts";
import { sampleAppend } from "../../../src/testing/store_suite.ts";
import { fromLine, toLine } from "../../../src/transfer/cloud_events.ts";
import { exportLines } from "../../../src/transfer/export.ts";
import { importLines, isHalfImported } from "../../../src/transfer/import.ts";

const text = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom(',"data":', '{"data":1}', "\u2028\r\n", '"'));
const anyRecord: fc.Arbitrary<MessageRecord> = fc.record({
  position: fc.nat(),
  id: text,
  type: text,
  schemaVersion: fc.nat(),
  category: text,
  stream: text,
  version: fc.nat(),
  time: fc.integer({ min: 0, max: 4e12 }),
  correlationId: text,
  causationId: fc.option(text),
  data: fc.oneof(
    fc.json(),
    fc.constantFrom('{"n":1.0}', '{"n":12345678901234567890}', '{"b":1,"1":2}', '{"data":{"data":"}"}}'),
  ),
  metadata: fc.option(fc.json()),
}, { noNullPrototype: true });

Deno.test("a message as a CloudEvent is one line, and the same letter by letter when it is read", () => {
  fc.assert(fc.property(anyRecord, (record) => {
    const line = toLine(record, "urn:annals:test");
    assert.ok(!line.includes("\n"));
    assert.equal(JSON.parse(line).specversion, "1.0");
    assert.deepEqual(fromLine(line), record);
  }));
});

const kept = { projections: new Set<string>(), groups: new Set<string>() };

async function* of(lines: readonly string[]) {
  yield* lines;
}

async function all(store: MemoryEventStore): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of exportLines(store, { domain: "test", kept })) lines.push(line);
  return lines;
}

Deno.test("what is exported is imported as it was, goes on where it was interrupted, and is refused when it is something else", async () => {
  const store = new MemoryEventStore();
  await store.commit({ appends: [sampleAppend("a", 3), sampleAppend("b", 2)] });
  await store.commit({
    appends: [sampleAppend("a", 1)],
    once: { key: "test:command:k", value: '{"id":"x"}' },
    rows: [{ projection: "p", key: "k", row: "{}", position: 6 }],
    checkpoint: { group: "g", category: "test", partitions: 1, partition: 0, position: 6 },
  });
  const lines = await all(store);
  const into = async (target: MemoryEventStore, given: readonly string[], domain = "test") =>
    await importLines(target, of(given), { domain });
  const target = new MemoryEventStore();
  await assert.rejects(into(target, lines.slice(0, 4)), /ends in the middle, after line 4/);
  assert.equal(await target.lastPosition(), 0);
  await assert.rejects(into(target, [...lines.slice(0, 4), "{", ...lines.slice(4)]), /Line 5: it is no CloudEvent/);
  await assert.rejects(into(target, [...lines.slice(0, 3), ...lines.slice(4)]), /Line 4: .* position 4 should be at 3/);
  await assert.rejects(into(target, lines, "other"), /export of domain "test", and the store is of "other"/);
  await assert.rejects(into(target, ["hello"]), /This is no export/);
  // Until it has ended, whatever is there of it, no server may begin.
  assert.ok(await isHalfImported(target));
  const cut = new MemoryEventStore();
  for (let end = 1; end < lines.length; end++) {
    await assert.rejects(into(cut, lines.slice(0, end)), /ends in the middle/);
    assert.ok(await isHalfImported(cut));
  }
  assert.deepEqual(await into(cut, lines), { messages: 6, found: 6, isRepeated: false });
  assert.deepEqual([await all(cut), await isHalfImported(cut)], [lines, false]);
  assert.deepEqual(await into(target, lines), { messages: 6, found: 0, isRepeated: false });
  assert.deepEqual(await into(target, lines), { messages: 6, found: 6, isRepeated: true });
  assert.deepEqual(await target.readLog(), await store.readLog());
  assert.deepEqual((await target.checkpoints("g")).map(({ position }) => position), [6]);
  assert.equal((await target.readRow("p", "k"))?.row, "{}");
  assert.deepEqual((await all(target)).filter((line) => !line.includes('"annals":"state"')).at(-1), lines.at(-1));
  // A group that has gone on since is not set back.
  await target.commit({ checkpoint: { group: "g", category: "test", partitions: 1, partition: 0, position: 9 } });
  await into(target, lines);
  assert.deepEqual((await target.checkpoints("g")).map(({ position }) => position), [9]);
  const changed = lines.map((line) => line.replace('"data":{"n":1}', '"data":{"n":2}'));
  await assert.rejects(into(new MemoryEventStore(), changed), /their digests differ/);
  await target.commit({ appends: [sampleAppend("a", 1)] });
  // What came since is no part of it.
  assert.deepEqual(await into(target, lines), { messages: 6, found: 6, isRepeated: true });
  // The log went on where it came from: that is another export.
  await store.commit({ appends: [sampleAppend("a", 1)] });
  const fourth = new MemoryEventStore();
  await into(fourth, lines);
  await assert.rejects(into(fourth, await all(store)), /an import of another export, of 6 messages, which has ended/);
  assert.equal(await fourth.lastPosition(), 6);
  const other = new MemoryEventStore();
  await other.commit({ appends: [sampleAppend("z", 6)] });
  await assert.rejects(into(other, lines), /has 6 messages that no import has brought/);
  // Of another log, whose import has ended.
  const third = new MemoryEventStore();
  await into(third, await all(other));
  await assert.rejects(into(third, lines), /another message at position 6/);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  parseTraceParent,
  type TraceParent,
  traceParentOf,
  withTraceParent,
} from "../../../src/messages/trace_parent.ts";

const hex = (length: number) =>
  fc.array(fc.constantFrom(..."0123456789abcdef"), { minLength: length, maxLength: length }).map((all) => all.join(""));
const id = (length: number) => hex(length).filter((digits) => !/^0+$/.test(digits));
const parents: fc.Arbitrary<TraceParent> = fc.record({ traceId: id(32), spanId: id(16), isRecorded: fc.boolean() }, {
  noNullPrototype: true,
});
const metadata = fc.option(fc.dictionary(fc.string(), fc.jsonValue()).map((all) => JSON.stringify(all)));

Deno.test("metadata keep everything beside the span that a message follows from, and that is the last one set", () => {
  fc.assert(fc.property(metadata, parents, parents, (before, first, second) => {
    const once = withTraceParent(before, first);
    assert.deepEqual(traceParentOf(once), first);
    const twice = withTraceParent(once, second);
    assert.deepEqual(traceParentOf(twice), second);
    const { $traceparent: text, ...rest } = JSON.parse(twice);
    assert.deepEqual(parseTraceParent(text), second);
    assert.deepEqual(rest, before === null ? {} : JSON.parse(before));
  }));
});

Deno.test("what only looks like a traceparent is none, and stays", () => {
  const parent: TraceParent = { traceId: "a".repeat(32), spanId: "b".repeat(16), isRecorded: true };
  const inside = JSON.stringify({ mine: { $traceparent: `00-${"c".repeat(32)}-${"d".repeat(16)}-01` } });
  assert.equal(traceParentOf(inside), null);
  assert.deepEqual(JSON.parse(withTraceParent(inside, parent)).mine, JSON.parse(inside).mine);
  for (const text of ["{}", '{"$traceparent":"x"}', '{"$traceparent":7}', "", "[]"]) {
    assert.equal(traceParentOf(text), null);
  }
  assert.equal(parseTraceParent("01-0-0-0"), null);
  assert.equal(parseTraceParent(`00-${"0".repeat(32)}-${"1".repeat(16)}-01`), null);
});

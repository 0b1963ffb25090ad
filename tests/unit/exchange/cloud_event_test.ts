import assert from "node:assert/strict";
import fc from "fast-check";
import { readCloudEvents } from "../../../src/messages/cloud_event.ts";
import { arrivedIn } from "../../../src/exchange/redis_source.ts";

const attribute = fc.string({ minLength: 1 });
const anyEvent = fc.record({
  specversion: fc.constant("1.0" as const),
  id: attribute,
  source: attribute,
  type: attribute,
  subject: attribute,
  time: fc.constantFrom("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123+02:00"),
  data: fc.jsonValue(),
}, { requiredKeys: ["specversion", "id", "source", "type", "data"] });

const again = (value: unknown) => JSON.parse(JSON.stringify(value));

Deno.test("CloudEvents are read as they are: alone, in a list, with data in base64, and from both forms of an entry", () => {
  fc.assert(fc.property(fc.array(anyEvent, { minLength: 1, maxLength: 3 }), (events) => {
    const expected = again(events).map((event: unknown) => ({ event }));
    assert.deepEqual(again(readCloudEvents(JSON.stringify(events))), expected);
    const [event] = events;
    assert.deepEqual(again(readCloudEvents(JSON.stringify(event))), [expected[0]]);
    const { data, ...attributes } = event;
    const bytes = new TextEncoder().encode(JSON.stringify(data));
    const encoded = { ...attributes, data_base64: bytes.toBase64() };
    assert.deepEqual(again(readCloudEvents(JSON.stringify(encoded))), [expected[0]]);
    const entry = (fields: string[]) => again(arrivedIn("here", ["1-0", fields], 1_000_000));
    assert.deepEqual(entry(["other", "x", "event", JSON.stringify(event)]), [expected[0]]);
    const fields = [...Object.entries(attributes).flat() as string[], "data", JSON.stringify(data)];
    assert.deepEqual(entry(fields), [expected[0]]);
  }));
});

Deno.test("what is no CloudEvent is named, and what is no JSON does not throw out of an entry", () => {
  const whole = { specversion: "1.0", id: "1", source: "s", type: "t" };
  const faults: [unknown, RegExp][] = [
    [null, /no JSON object/],
    [[[]], /no JSON object/],
    [{ ...whole, specversion: "0.3" }, /specversion is "0.3"/],
    [{ ...whole, id: undefined }, /id is missing/],
    [{ ...whole, source: "" }, /source is ""/],
    [{ ...whole, type: 5 }, /type is 5/],
    [{ ...whole, subject: "" }, /subject is ""/],
    [{ ...whole, time: "yesterday" }, /time is "yesterday"/],
    [{ ...whole, data_base64: "!" }, /data_base64/],
    [{ ...whole, data_base64: 1 }, /data_base64/],
    [{ ...whole, data_base64: btoa("no json") }, /data_base64/],
  ];
  for (const [value, expected] of faults) {
    const [found] = readCloudEvents(JSON.stringify(value));
    assert.match((found as { fault: string }).fault, expected);
  }
  assert.deepEqual(readCloudEvents(JSON.stringify({ ...whole, datacontenttype: "image/png", data_base64: "AA==" })), [
    { event: { ...whole, datacontenttype: "image/png", data: "AA==" } },
  ]);
  // Whatever its attributes are called, and of whatever type it is.
  const odd = { ...whole, fault: "SIM card", unreadable: "no", event: "x", data_base64: null };
  const { data_base64: _, ...kept } = odd;
  assert.deepEqual(readCloudEvents(JSON.stringify(odd)), [{ event: kept }]);
  for (
    const [text, message] of [["1e400", /is not a JSON number/], ['"\\u0000"', /U\+0000/], [
      '{"__proto__":1}',
      /__proto__/,
    ]]
  ) {
    const [found] = readCloudEvents(`{"specversion":"1.0","id":"1","source":"s","type":"t","data":[-0.0,${text}]}`);
    assert.ok("fault" in found && found.type === "t" && (message as RegExp).test(found.fault), JSON.stringify(found));
  }
  assert.ok("event" in readCloudEvents('{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"a":-0.0}}')[0]);
  for (const fields of [[], ["event", "{"], ["data", "{"], ["event", "\u0000"]]) {
    const [found] = arrivedIn("here", ["1-0", fields as string[]], 1_000);
    assert.ok("fault" in found && found.place === "here:1-0:0", JSON.stringify(found));
  }
  assert.deepEqual(arrivedIn("here", ["1-0", null], 1_000), []);
  const [large] = arrivedIn("here", ["1-0", ["event", "x".repeat(300_000)]], 1_000);
  assert.ok("fault" in large && /longer than max_message_bytes = 1000/.test(large.fault) && large.raw.length < 101_000);
});

import {
  command,
  decode,
  DomainDefinitionError,
  event,
  jsonFaults,
  type,
  UndecodableMessageError,
} from "@annals/annals";
import assert from "node:assert/strict";
import fc from "fast-check";
import { z } from "zod";
import { sampleRecord } from "../../../src/testing/broker_suite.ts";

Deno.test("event() refuses a payload with the path of each fault", () => {
  const Placed = event("Placed", {
    schema: z.object({ lines: z.array(z.object({ price: z.int() })), note: z.string() }),
  });
  assert.throws(() => Placed({ lines: [{ price: 1 }, { price: "x" as never }], note: 3 as never }), (error: any) => {
    assert.equal(error.name, "PayloadError");
    assert.deepEqual(error.faults.map((fault: { path: string }) => fault.path), ["lines[1].price", "note"]);
    return true;
  });
});

const lossy: [string, unknown, string][] = [
  ["a Date", { at: new Date() }, "at"],
  ["a Map", { map: new Map() }, "map"],
  ["NaN", { list: [1, NaN] }, "list[1]"],
  ["Infinity", { n: Infinity }, "n"],
  ["-0", { n: -0 }, "n"],
  ["a bigint", { a: { b: 1n } }, "a.b"],
  ["undefined", { gone: undefined }, "gone"],
  ["a function", { f: () => 1 }, "f"],
  ["a symbol key", { [Symbol("s")]: 1 }, '["Symbol(s)"]'],
  ["a Uint8Array", { "odd key": new Uint8Array(1) }, '["odd key"]'],
  ["undefined itself", undefined, ""],
];
for (const [name, value, path] of lossy) {
  Deno.test(`event() refuses ${name} in a payload`, () => {
    const Any = event("Any", { schema: type<any>() });
    assert.throws(() => Any(value), (error: any) => error.name === "PayloadError" && error.faults[0].path === path);
  });
}

Deno.test("jsonFaults() refuses a cycle and accepts whatever JSON gives back", () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  assert.equal(jsonFaults(cycle)[0].path, "self");
  // A key __proto__ is refused on purpose.
  const harmless = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("__proto__"));
  fc.assert(fc.property(harmless, (value) => {
    assert.deepEqual(jsonFaults(JSON.parse(JSON.stringify(value))), []);
  }));
});

Deno.test("jsonFaults() finds every value that JSON would change", () => {
  fc.assert(fc.property(fc.anything(), (value) => {
    if (jsonFaults(value).length > 0) return;
    assert.deepEqual(JSON.parse(JSON.stringify(value)), structuredClone(value));
  }));
});

const chain = event("Chained", {
  version: 3,
  schema: type<{ a: number; b: number; c: number }>(),
  upcast: { 1: (v1) => ({ ...v1, b: v1.a + 1 }), 2: (v2) => ({ ...v2, c: v2.b + 1 }) },
});
const types = new Map([["Chained", chain]]);
const stored = (schemaVersion: number, data: string, typeName = "Chained") =>
  sampleRecord(7, { type: typeName, schemaVersion, data });

Deno.test("decode() upcasts through every version", () => {
  assert.deepEqual(decode(stored(1, '{"a":1}'), types).payload, { a: 1, b: 2, c: 3 });
  assert.deepEqual(decode(stored(2, '{"a":1,"b":5}'), types).payload, { a: 1, b: 5, c: 6 });
  assert.deepEqual(decode(stored(3, '{"a":1,"b":5,"c":9}'), types).payload, { a: 1, b: 5, c: 9 });
});

const undecodable: [string, [number, string, string?], string][] = [
  ["a newer version", [4, "{}"], "newer version"],
  ["an unknown type", [1, "{}", "Other"], "unknown type"],
  ["damaged data", [3, "{"], "damaged"],
  ["a failing upcast", [1, "null"], "upcast failed"],
];
for (const [name, args, reason] of undecodable) {
  Deno.test(`decode() says why it cannot read ${name}`, () => {
    assert.throws(() => decode(stored(...args), types), (error: any) => {
      return error instanceof UndecodableMessageError && error.reason === reason && error.message.includes("7");
    });
  });
}

Deno.test("decode() refuses what an upcast makes when it does not fit the schema", () => {
  const amount = event("Chained", { version: 2, schema: z.object({ amount: z.int() }), upcast: { 1: (v1) => v1 } });
  const known = new Map([["Chained", amount]]);
  assert.deepEqual(decode(stored(1, '{"amount":1}'), known).payload, { amount: 1 });
  assert.throws(() => decode(stored(1, '{"amount":"1"}'), known), (error: UndecodableMessageError) => {
    assert.match(
      error.message,
      /^Cannot bring message 7 \("Chained"\) from version 1 to 2: the result does not fit.*amount/,
    );
    return error.reason === "upcast failed";
  });
});

Deno.test("event() refuses a gap in the chain of upcasts, and one that leads past the version", () => {
  const schema = type<unknown>();
  const one = (value: unknown) => value;
  assert.throws(() => event("E", { version: 3, schema, upcast: { 1: one } as never }), DomainDefinitionError);
  assert.throws(() => event("E", { version: 1, schema, upcast: { 1: one } }), DomainDefinitionError);
  assert.throws(() => event("E", { version: 0, schema }), DomainDefinitionError);
  assert.throws(() => event("bad name", { schema }), DomainDefinitionError);
  assert.throws(() => event("E", { schema: {} as never }), DomainDefinitionError);
});

Deno.test("command() makes a new aggregate id unless its payload names one", () => {
  const Create = command("Create", { schema: type<{ x: number }>() });
  const Change = command("Change", { schema: type<{ id: string }>(), target: (payload) => payload.id });
  assert.notEqual(Create({ x: 1 }).aggregateId, Create({ x: 1 }).aggregateId);
  assert.equal(Change({ id: "7" }).aggregateId, "7");
});

Deno.test("event() refuses an asynchronous schema instead of storing a promise", () => {
  const Async = event("Async", { schema: z.object({ a: z.string().refine(async () => await true) }) });
  assert.throws(() => Async({ a: "x" }));
});

import { type EngineEvent, lineOf, logTo } from "@annals/annals/engine";
import { logLine } from "../../../src/telemetry/log_line.ts";
import { harmless } from "../../../src/telemetry/events.ts";
import assert from "node:assert/strict";

const MESSAGE = { group: "G", category: "c", stream: "c-1", position: 7, messageType: "T" };

const CASES: [event: EngineEvent, level: string | null, text: RegExp][] = [
  [
    { type: "message.failed", ...MESSAGE, attempt: 1, attempts: 4, retryInMs: 1_234, error: "no" },
    "warn",
    /^T at 7 failed \(attempt 1 of 4\), retrying in 1\.2 s: no$/,
  ],
  [
    { type: "message.dead", ...MESSAGE, attempts: 4, deadLetter: "id", error: "no" },
    "error",
    /^Gave up on T at 7, kept as dead letter id: no$/,
  ],
  [{ type: "message.dead", ...MESSAGE, attempts: 4, deadLetter: null, error: "no" }, "error", /skipped it: no$/],
  [{ type: "handler.logged", group: "G", level: "debug", text: "hello", fields: { a: 1 } }, "debug", /^hello$/],
  [
    { type: "host.ended", host: "main", reason: "it left" },
    "error",
    /^Host "main" ended: it left; its groups continue/,
  ],
  [
    {
      type: "batch.handled",
      group: "G",
      category: "c",
      partition: 0,
      handled: 1,
      refused: 0,
      failed: 0,
      dead: 0,
      handlingMs: 1,
      commitMs: 1,
      milliseconds: 2,
    },
    null,
    /^/,
  ],
  [
    { type: "group.full", group: "G", deferred: 100_000 },
    "error",
    /^100000 messages wait .* nothing new is read until/,
  ],
  [{ type: "relay.published", messages: 1, position: 1, milliseconds: 1 }, null, /^/],
];

Deno.test("lineOf() says events in words, and keeps quiet about what happens all the time", () => {
  for (const [event, level, text] of CASES) {
    const line = lineOf(event);
    assert.equal(line?.level ?? null, level);
    assert.match(line?.text ?? "", text);
  }
});

Deno.test("logTo() writes the group, and facts as fields", () => {
  const lines: unknown[] = [];
  logTo((...line) => void lines.push(line))(CASES[0][0]);
  const [[group, level, , fields]] = lines as [[string, string, string, object]];
  assert.deepEqual([group, level, fields], ["G", "warn", { position: 7, type: "T", stream: "c-1" }]);
});

Deno.test("a listener that throws ends nothing, and is reported once", () => {
  const printed: unknown[][] = [];
  const { error } = console;
  console.error = (...given) => void printed.push(given);
  try {
    let calls = 0;
    const report = harmless(() => {
      calls++;
      throw new Error("mine");
    });
    for (let i = 0; i < 3; i++) report(CASES[0][0]);
    assert.equal(calls, 3);
    assert.equal(printed.length, 1);
  } finally {
    console.error = error;
  }
});

Deno.test("a group may be called like something that every object has", () => {
  for (const group of ["constructor", "toString", "hasOwnProperty"]) logLine(group, "debug", "heard");
});

Deno.test("a long error is cut in the log, and what a handler logs is not", () => {
  const facts = { group: "G", category: "c", stream: "s", position: 1, messageType: "T" };
  const failed = lineOf({
    type: "message.failed",
    ...facts,
    attempt: 1,
    attempts: 4,
    retryInMs: 100,
    error: "x".repeat(10_000),
  });
  assert.ok(failed !== null && failed.text.length < 2_100);
  assert.match(failed.text, /more characters\)$/);
  const logged = lineOf({ type: "handler.logged", group: "G", level: "info", text: "x".repeat(10_000), fields: {} });
  assert.equal(logged?.text.length, 10_000);
});

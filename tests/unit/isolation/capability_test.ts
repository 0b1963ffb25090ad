import assert from "node:assert/strict";
import fc from "fast-check";
import fidelis from "../../../examples/fidelis/domain.ts";
import type { BatchItem } from "../../../src/handling/executor.ts";
import { type Answer, Capability } from "../../../src/isolation/capability.ts";
import { describe } from "../../../src/isolation/describe.ts";
import { answerSchema, descriptionSchema, fromWorkerSchema } from "../../../src/isolation/protocol.ts";
import { newId } from "../../../src/messages/ids.ts";

const NOW = 1_700_000_000_000;
const description = describe(fidelis);
const capabilityOf = (group: string, sql = false) =>
  new Capability(description, description.handlers.find(({ name }) => name === group)!, sql);

const item = (position: number, type = "DepositMade", category = "fidelis::account"): BatchItem => ({
  attempt: 1,
  record: {
    position,
    id: newId(),
    type,
    schemaVersion: 2,
    category,
    stream: `${category}-1`,
    version: position,
    time: NOW,
    correlationId: `c${position}`,
    causationId: null,
    data: "{}",
    metadata: position === 1 ? '{"by":"me"}' : null,
  },
});
const items = [item(1), item(2)];
const NOTHING: Answer = {
  effects: { appends: [], rows: [], outcomes: [], statements: [], schedule: [], unschedule: [] },
  handled: [0, 1],
  failures: [],
  stuck: false,
};
const message = (cause: BatchItem, over: object = {}) => ({
  id: newId(),
  type: "DepositMade",
  schemaVersion: 2,
  time: NOW,
  correlationId: "forged",
  causationId: cause.record.id,
  data: '{"amount":1}',
  metadata: '{"forged":true}',
  ...over,
});
const append = (over: object = {}, messageOver: object = {}) => ({
  stream: "fidelis::account-1",
  category: "fidelis::account",
  expected: 3 as const,
  publish: true,
  messages: [message(items[0], messageOver)],
  ...over,
});
const effects = (over: object): Answer => ({ ...NOTHING, effects: { ...NOTHING.effects, ...over } }) as Answer;
const row = (over: object = {}) => ({ projection: "AccountSummary", key: "1", row: "{}", position: 1, ...over });
const later = (over: object = {}, messageOver: object = {}) => ({
  key: "key:k",
  due: { after: 5 },
  category: "fidelis::account:command",
  stream: "fidelis::account:command-1",
  message: message(items[0], { type: "CloseAccount", schemaVersion: 1, ...messageOver }),
  ...over,
});
const outcome = (over: object = {}) => ({ commandId: items[0].record.id, status: "accepted", detail: "{}", ...over });

const DECIDER = "AccountCommandHandler";
const PROJECTOR = "AccountSummaryProjector";
const POLICY = "ComplianceAlertHandler";

Deno.test("what a handler of a kind may have written is accepted, with the correlation of what caused it", () => {
  const result = capabilityOf(DECIDER).check(effects({ appends: [append()], outcomes: [outcome()] }), items, NOW);
  assert.ok(typeof result !== "string", String(result));
  assert.equal(result.effects.appends[0].messages[0].correlationId, "c1");
  assert.equal(result.effects.appends[0].messages[0].metadata, '{"by":"me"}');
  for (
    const [group, answer] of [
      [PROJECTOR, effects({ rows: [row()] })],
      [POLICY, effects({ rows: [row({ projection: "ComplianceAlert" })] })],
      [POLICY, effects({ schedule: [later()], unschedule: ["key:other"] })],
      [DECIDER, effects({ appends: [append({ messages: [] })] })],
      [
        DECIDER,
        effects({
          appends: [
            append(
              { stream: "fidelis::$reservation-number:A-1", category: "fidelis::$reservation", publish: false },
              { type: "ValueReserved", schemaVersion: 1 },
            ),
          ],
        }),
      ],
    ] as const
  ) {
    assert.ok(typeof capabilityOf(group).check(answer, items, NOW) !== "string", group);
  }
});

const FORGED: [what: string, group: string, answer: Answer][] = [
  ["an event by a projector", PROJECTOR, effects({ appends: [append()] })],
  ["an event by an event handler", POLICY, effects({ appends: [append()] })],
  ["an event of another domain", DECIDER, effects({ appends: [append({ category: "other::account" })] })],
  ["a stream of another category", DECIDER, effects({ appends: [append({ stream: "fidelis::transfer-1" })] })],
  ["a stream without an id", DECIDER, effects({ appends: [append({ stream: "fidelis::account-" })] })],
  ["an event without a version", DECIDER, effects({ appends: [append({ expected: "any" })] })],
  ["an event that is hidden from readers", DECIDER, effects({ appends: [append({ publish: false })] })],
  ["a type of no one", DECIDER, effects({ appends: [append({}, { type: "Stolen" })] })],
  ["a version of tomorrow", DECIDER, effects({ appends: [append({}, { schemaVersion: 3 })] })],
  ["a payload that is not JSON", DECIDER, effects({ appends: [append({}, { data: "{" })] })],
  ["an event from nowhere", DECIDER, effects({ appends: [append({}, { causationId: null })] })],
  ["an event of another batch", DECIDER, effects({ appends: [append({}, { causationId: newId() })] })],
  ["an event of next year", DECIDER, effects({ appends: [append({}, { time: NOW * 2 })] })],
  ["a row of a projection that another keeps", POLICY, effects({ rows: [row()] })],
  ["a row by a decider", DECIDER, effects({ rows: [row()] })],
  ["a row at another position", PROJECTOR, effects({ rows: [row({ position: 9 })] })],
  ["a row that is not JSON", PROJECTOR, effects({ rows: [row({ row: "nope" })] })],
  ["a payload with U+0000", DECIDER, effects({ appends: [append({}, { data: '{"a":"\\u0000"}' })] })],
  ["a row with half a character", PROJECTOR, effects({ rows: [row({ row: '{"a":"\\ud83d"}' })] })],
  ["a row with a key that cannot be stored", PROJECTOR, effects({ rows: [row({ key: "\u0000" })] })],
  ["the outcome of somebody else's command", DECIDER, effects({ outcomes: [outcome({ commandId: newId() })] })],
  ["two outcomes", DECIDER, effects({ outcomes: [outcome(), outcome()] })],
  ["an outcome by a projector", PROJECTOR, effects({ outcomes: [outcome()] })],
  ["a statement without a grant", POLICY, effects({ statements: [{ parts: ["select 1"], values: [] }] })],
  ["something scheduled by a projector", PROJECTOR, effects({ schedule: [later()] })],
  ["something scheduled by a decider", DECIDER, effects({ schedule: [later()] })],
  [
    "an event that comes later",
    POLICY,
    effects({ schedule: [later({ category: "fidelis::account", stream: "fidelis::account-1" })] }),
  ],
  ["a command of no one that comes later", POLICY, effects({ schedule: [later({}, { type: "Steal" })] })],
  ["something scheduled from nowhere", POLICY, effects({ schedule: [later({}, { causationId: null })] })],
  [
    "something scheduled by a key that is not the code's",
    POLICY,
    effects({ schedule: [later({ key: "timer:Transfer" })] }),
  ],
  [
    "something scheduled by the key of another message",
    POLICY,
    effects({ schedule: [later({ key: `id:${newId()}` })] }),
  ],
  ["something scheduled by a key that cannot be stored", POLICY, effects({ schedule: [later({ key: "key:" })] })],
  ["a cancellation by a projector", PROJECTOR, effects({ unschedule: ["key:k"] })],
  ["a cancellation of what is not the code's", POLICY, effects({ unschedule: ["timer:Transfer"] })],
  ["a message that is not in the batch", PROJECTOR, { ...NOTHING, handled: [2] }],
  ["a message twice", PROJECTOR, { ...NOTHING, handled: [0, 0] }],
  [
    "a message that failed and was handled",
    PROJECTOR,
    { ...NOTHING, handled: [0], failures: [[0, { error: "", stack: null }]] },
  ],
  ["effects of what was not handled", DECIDER, { ...effects({ appends: [append()] }), handled: [1] }],
  ["stuck at nothing", PROJECTOR, { ...NOTHING, stuck: true }],
];

for (const [what, group, answer] of FORGED) {
  Deno.test(`${what} is refused`, () => {
    assert.equal(typeof capabilityOf(group).check(answer, items, NOW), "string");
  });
}

Deno.test("statements need a grant, and a kind that may", () => {
  const answer = effects({ statements: [{ parts: ["select 1"], values: [] }] });
  assert.ok(typeof capabilityOf(POLICY, true).check(answer, items, NOW) !== "string");
  assert.equal(typeof capabilityOf(PROJECTOR, true).check(answer, items, NOW), "string");
});

Deno.test("a group reads streams and rows that its kind may, and no others", () => {
  assert.ok(capabilityOf(DECIDER).mayRead("fidelis::account-1"));
  assert.ok(capabilityOf(DECIDER).mayRead("fidelis::$reservation-number:A"));
  for (const stream of ["other::account-1", "fidelis::account:command-1", "fidelis::account", ""]) {
    assert.ok(!capabilityOf(DECIDER).mayRead(stream), stream);
  }
  assert.ok(!capabilityOf(PROJECTOR).mayRead("fidelis::account-1"));
  assert.ok(capabilityOf(PROJECTOR).mayReadRows("AccountSummary"));
  assert.ok(!capabilityOf(PROJECTOR).mayReadRows("ComplianceAlert"));
});

Deno.test("whatever a worker sends, it is taken apart without an error, and mostly refused", () => {
  fc.assert(fc.property(fc.anything({ withBigInt: false }), (value) => {
    const text = JSON.stringify(value) ?? "null";
    for (const schema of [fromWorkerSchema, answerSchema, descriptionSchema]) {
      assert.equal(schema.safeParse(JSON.parse(text)).success, false);
    }
  }));
});

Deno.test("of answers of the right shape, only those pass that touch nothing of others", () => {
  const text = fc.constantFrom("fidelis::account", "fidelis::account-1", "AccountSummary", "x", "", "{}", "1");
  const answers = fc.record({
    effects: fc.record({
      appends: fc.array(
        fc.record({
          stream: text,
          category: text,
          expected: fc.constantFrom("any" as const, -1, 0, 7),
          publish: fc.boolean(),
          messages: fc.array(fc.constantFrom(message(items[0]), message(items[1], { type: "AccountOpened" }))),
        }),
        { maxLength: 2 },
      ),
      rows: fc.array(fc.record({ projection: text, key: text, row: text, position: fc.nat(3) }), { maxLength: 2 }),
      outcomes: fc.constant([]),
      statements: fc.constant([]),
      schedule: fc.array(
        fc.record({
          key: text,
          due: fc.constant({ after: 0 }),
          category: text,
          stream: text,
          message: fc.constant(message(items[0])),
        }),
        { maxLength: 1 },
      ),
      unschedule: fc.array(text, { maxLength: 1 }),
    }),
    handled: fc.array(fc.nat(3)),
    failures: fc.constant([]),
    stuck: fc.boolean(),
  });
  fc.assert(fc.property(answers, (answer) => {
    const result = capabilityOf(PROJECTOR).check(answer as unknown as Answer, items, NOW);
    if (typeof result === "string") return;
    assert.deepEqual([result.effects.appends, result.effects.schedule, result.effects.unschedule], [[], [], []]);
    for (const { projection } of result.effects.rows) assert.equal(projection, "AccountSummary");
  }));
});

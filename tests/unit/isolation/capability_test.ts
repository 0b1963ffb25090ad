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
  effects: {
    appends: [],
    conditions: [],
    snapshots: [],
    rows: [],
    outcomes: [],
    statements: [],
    schedule: [],
    unschedule: [],
    deliveries: [],
  },
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
const row = (over: object = {}) => ({ projection: "AccountSummary@1", key: "1", row: "{}", position: 1, ...over });
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

Deno.test("events for other systems need a kind that may, are of the batch, and are JSON that can be stored", () => {
  const answer = (event = "{}", position = 1) => effects({ deliveries: [{ position, event }] });
  const check = (kind: string, given: Answer) => typeof capabilityOf(kind).check(given, items, NOW) !== "string";
  const projector = description.handlers.find(({ name }) => name === PROJECTOR)!;
  const feed = { ...projector, writes: { ...projector.writes, deliveries: true } };
  const capability = new Capability(description, feed, false, 100);
  const ours = (given: Answer) => typeof capability.check(given, items, NOW) !== "string";
  for (const kind of [PROJECTOR, POLICY, DECIDER]) assert.ok(!check(kind, answer()), kind);
  assert.ok(ours(answer()));
  for (const event of ["{", '"\\u0000"', JSON.stringify("x".repeat(100))]) assert.ok(!ours(answer(event)), event);
  assert.ok(!ours(answer("{}", 3)));
});

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
  assert.ok(capabilityOf(PROJECTOR).mayReadRows("AccountSummary@1"));
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
  const text = fc.constantFrom("fidelis::account", "fidelis::account-1", "AccountSummary@1", "x", "", "{}", "1");
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
    for (const { projection } of result.effects.rows) assert.equal(projection, "AccountSummary@1");
  }));
});

// Processes: who may write what into inboxes and journals, and in whose name.

const INBOX = "fidelis::funds-transfer:inbox";
const PROCESS = "FundsTransfer";
const input: BatchItem = {
  attempt: 1,
  record: { ...item(1, "$Event", INBOX).record, schemaVersion: 1, stream: `${INBOX}-t`, metadata: null },
};
const inName = (over: object = {}) => JSON.stringify({ $sender: { inbox: INBOX, id: "t", run: 1, ...over } });
const withdrawal = (messageOver: object = {}) => ({
  stream: "fidelis::account:command-1",
  category: "fidelis::account:command",
  expected: "any" as const,
  publish: true,
  messages: [message(input, { type: "MakeWithdrawal", schemaVersion: 1, metadata: inName(), ...messageOver })],
});
const journal = (over: object = {}, messageOver: object = {}) => ({
  stream: "fidelis::funds-transfer:process-t",
  category: "fidelis::funds-transfer:process",
  expected: -1 as const,
  publish: false,
  messages: [message(input, { type: "$Handled", schemaVersion: 1, ...messageOver })],
  ...over,
});
const timer = (over: object = {}) => ({
  key: `timer:${PROCESS}:stuck:t`,
  due: { after: 5 },
  category: INBOX,
  stream: `${INBOX}-t`,
  message: message(input, { type: "$Timer", schemaVersion: 1 }),
  ...over,
});
const one = (over: object): Answer => ({ ...effects(over), handled: [0] });

Deno.test("an instance writes its journal, its timers, and commands in its own name", () => {
  const answer = one({
    appends: [journal(), withdrawal()],
    schedule: [timer()],
    unschedule: [`timer:${PROCESS}:other:t`],
  });
  const result = capabilityOf(PROCESS).check(answer, [input], NOW);
  assert.ok(typeof result !== "string", String(result));
  assert.equal(result.effects.appends[1].messages[0].metadata, inName());
  assert.ok(capabilityOf(PROCESS).mayRead("fidelis::funds-transfer:process-t"));
  assert.ok(!capabilityOf(PROCESS).mayRead("fidelis::account-1"));
  assert.ok(capabilityOf(PROCESS).mayReadAt({ ...input.record, category: "fidelis::account" }));
  assert.ok(!capabilityOf(PROCESS).mayReadAt({ ...input.record, category: "fidelis::$reservation" }));
  assert.ok(!capabilityOf(POLICY).mayReadAt({ ...input.record, category: "fidelis::account" }));
});

const command: BatchItem = {
  attempt: 1,
  record: {
    ...item(7, "MakeWithdrawal", "fidelis::account:command").record,
    schemaVersion: 1,
    metadata: inName(),
  },
};
const end = (over: object = {}, messageOver: object = {}) => {
  const { position, id } = command.record;
  const data = JSON.stringify({ position, type: "MakeWithdrawal", id, run: 1, status: "refused", rule: "no", ...over });
  return {
    stream: `${INBOX}-t`,
    category: INBOX,
    expected: "any" as const,
    publish: true,
    messages: [message(command, { type: "$CommandEnd", schemaVersion: 1, data, ...messageOver })],
  };
};

Deno.test("whoever decides a command tells its sender, who passes nothing of it on", () => {
  const deposit = append({}, { causationId: command.record.id });
  const result = capabilityOf(DECIDER).check(one({ appends: [end(), deposit] }), [command], NOW);
  assert.ok(typeof result !== "string", String(result));
  assert.equal(result.effects.appends[1].messages[0].metadata, null);
});

Deno.test("in the middle of a deploy, a sender is told that only newer code knows", () => {
  const unknown = { inbox: "fidelis::account-audit:inbox", id: "t", run: 1 };
  const from = { ...command, record: { ...command.record, metadata: JSON.stringify({ $sender: unknown }) } };
  const told = { ...end(), category: unknown.inbox, stream: `${unknown.inbox}-t` };
  const result = capabilityOf(DECIDER).check(one({ appends: [told] }), [from], NOW);
  assert.ok(typeof result !== "string", String(result));
  for (const category of ["other::account-audit:inbox", "fidelis::account-audit:process", "fidelis::inbox"]) {
    const strange = { ...from.record, metadata: JSON.stringify({ $sender: { ...unknown, inbox: category } }) };
    const elsewhere = { ...told, category, stream: `${category}-t` };
    const refused = capabilityOf(DECIDER).check(one({ appends: [elsewhere] }), [{ ...from, record: strange }], NOW);
    assert.equal(typeof refused, "string", category);
  }
});

const IMPERSONATED: [what: string, group: string, from: BatchItem, over: object][] = [
  ["a command in the name of another instance", PROCESS, input, {
    appends: [withdrawal({ metadata: inName({ id: "u" }) })],
  }],
  ["a command in the name of another process", PROCESS, input, {
    appends: [withdrawal({ metadata: inName({ inbox: "fidelis::account" }) })],
  }],
  ["a command of a handler that is not told of refusals, in its name", POLICY, items[0], {
    appends: [{
      ...withdrawal(),
      messages: [message(items[0], { type: "MakeWithdrawal", schemaVersion: 1, metadata: inName() })],
    }],
  }],
  ["an event of an aggregate", PROCESS, input, { appends: [append({}, { causationId: input.record.id })] }],
  ["a journal without a version", PROCESS, input, { appends: [journal({ expected: "any" })] }],
  ["a journal that is published", PROCESS, input, { appends: [journal({ publish: true })] }],
  ["an event in a journal", PROCESS, input, { appends: [journal({}, { type: "DepositMade", schemaVersion: 2 })] }],
  ["a journal, by the router", "FundsTransferRouter", input, { appends: [journal()] }],
  ["a timer of another process", PROCESS, input, { schedule: [timer({ key: "timer:Other:stuck:t" })] }],
  ["a timer by a key of the code", PROCESS, input, { schedule: [timer({ key: "key:k" })] }],
  ["a timer, by the router", "FundsTransferRouter", input, { schedule: [timer()] }],
  ["a timer, by a policy", POLICY, input, { schedule: [timer()] }],
  ["the end of a command to another instance", DECIDER, command, { appends: [{ ...end(), stream: `${INBOX}-u` }] }],
  ["the end of another command", DECIDER, command, { appends: [end({ position: 8 })] }],
  ["the end of a command for another run", DECIDER, command, { appends: [end({ run: 2 })] }],
  ["an event in an inbox, by a decider", DECIDER, command, { appends: [end({}, { type: "$Event" })] }],
  ["the end of a command that nobody is to hear of", DECIDER, {
    ...command,
    record: { ...command.record, metadata: null },
  }, {
    appends: [end()],
  }],
];

for (const [what, group, from, over] of IMPERSONATED) {
  Deno.test(`${what} is refused`, () => {
    assert.equal(typeof capabilityOf(group).check(one(over), [from], NOW), "string");
  });
}

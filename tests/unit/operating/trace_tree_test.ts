import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type TracedGroup,
  type TracedMessage,
  type TraceParts,
  treeOf,
  walk,
} from "../../../src/operating/trace_tree.ts";
import type { MessageRecord } from "../../../src/messages/envelope.ts";
import type { DeadLetter, DeferredMessage, ScheduledMessage } from "../../../src/store/port.ts";

const CATEGORIES = [
  "bank::account:command",
  "bank::account",
  "bank::flow:inbox",
  "bank::flow:process",
  "bank::$reservation",
];

function record(position: number, given: Partial<MessageRecord> = {}): MessageRecord {
  const category = given.category ?? "bank::account";
  return {
    position,
    id: `m${position}`,
    type: "Deposited",
    schemaVersion: 1,
    category,
    stream: `${category}-1`,
    version: position,
    time: 1_000 + position,
    correlationId: "m1",
    causationId: null,
    data: "{}",
    metadata: null,
    ...given,
  };
}

function scheduled(key: string, given: Partial<MessageRecord>): ScheduledMessage {
  const { position: _, stream, category, version: __, ...message } = record(0, given);
  return { key, dueAt: 90_000, category, stream, message };
}

function letter(group: string, message: MessageRecord): DeadLetter {
  const attempts = [{ at: 5_000, error: "no money" }];
  return {
    id: `d${message.id}`,
    group,
    message,
    reason: "handler failed",
    error: "no money",
    stack: null,
    attempts,
    deadAt: 5_000,
  };
}

function deferred(
  group: string,
  { category, stream, position }: MessageRecord,
  given: Partial<DeferredMessage> = {},
): DeferredMessage {
  return {
    group,
    category,
    stream,
    position,
    attempts: 0,
    dueAt: 0,
    failures: [],
    replayed: false,
    awaits: null,
    ...given,
  };
}

function group(name: string, categories: string[], given: Partial<TracedGroup> = {}): TracedGroup {
  return { name, kind: "event handler", categories, handles: ["Deposited"], writes: () => false, ...given };
}

function idsOf(roots: readonly TracedMessage[]): string[] {
  return [...walk(roots)].map(({ message }) => message.id);
}

/** Logs as they can be: in order, half moved, or tampered with so that causes come later or go in a circle. */
const logs = fc.array(
  fc.record({
    cause: fc.option(fc.integer({ min: 1, max: 60 }), { nil: null }),
    category: fc.constantFrom(...CATEGORIES),
    fate: fc.constantFrom("logged", "logged", "logged", "missing", "scheduled", "dead", "dead only"),
  }),
  { maxLength: 50 },
);

function partsOf(log: typeof logs extends fc.Arbitrary<infer T> ? T : never): TraceParts & { readonly ids: string[] } {
  const records: MessageRecord[] = [];
  const later: ScheduledMessage[] = [];
  const dead: DeadLetter[] = [];
  const ids = new Set<string>();
  log.forEach(({ cause, category, fate }, i) => {
    const causationId = cause === null ? null : `m${cause}`;
    const one = record(i + 1, { category, causationId });
    if (fate === "missing") return;
    ids.add(one.id);
    if (causationId !== null) ids.add(causationId);
    if (fate === "scheduled") later.push(scheduled(`k${i}`, one));
    else {
      if (fate.startsWith("dead")) dead.push(letter("Flow", one));
      if (fate !== "dead only") records.push(one);
    }
  });
  const groups = [
    group("Flow", ["bank::account", "bank::flow:inbox"], { writes: (category) => category.endsWith(":command") }),
    group("Other", ["bank::account"], { writes: (category) => category.endsWith(":inbox") }),
  ];
  return { records, scheduled: later, dead, groups, ids: [...ids].sort() };
}

Deno.test("treeOf() has every message exactly once, and each missing cause once", () => {
  fc.assert(fc.property(logs, (log) => {
    const { ids, ...parts } = partsOf(log);
    assert.deepEqual(idsOf(treeOf(parts)).sort(), ids);
  }));
});

Deno.test("treeOf() without internals has every other message exactly once, and nothing twice", () => {
  fc.assert(fc.property(logs, (log) => {
    const { ids, ...parts } = partsOf(log);
    const shown = idsOf(treeOf({ ...parts, internals: false }));
    assert.equal(new Set(shown).size, shown.length);
    const isInternal = ({ category }: { category: string }) => /:(inbox|process)$|\$reservation$/.test(category);
    const internal = new Set(parts.records!.filter(isInternal).map(({ id }) => id));
    assert.deepEqual(shown.filter((id) => !internal.has(id)).sort(), ids.filter((id) => !internal.has(id)));
  }));
});

Deno.test("treeOf() puts nothing under what comes later, so a tampered log has no circle", () => {
  const roots = treeOf({ records: [record(1, { causationId: "m2" }), record(2, { causationId: "m1" })] });
  assert.deepEqual(idsOf(roots), ["m1", "m2"]);
  assert.deepEqual(idsOf(treeOf({ records: [record(1, { causationId: "m1" })] })), ["m1"]);
  // Two messages with one position, each the cause of the other.
  const pair = [record(1, { id: "a", causationId: "b" }), record(1, { id: "b", causationId: "a" })];
  assert.deepEqual(idsOf(treeOf({ records: pair })).sort(), ["a", "b"]);
});

Deno.test("treeOf() takes a chain of 10,000 messages, and one message with 10,000 children", () => {
  const chain = Array.from({ length: 10_000 }, (_, i) => record(i + 1, { causationId: i === 0 ? null : `m${i}` }));
  const roots = treeOf({ records: chain });
  assert.equal(idsOf(roots).length, 10_000);
  // It goes on as a root of its own, which says what caused it: whoever serialises a tree goes down as deep as it is.
  assert.ok(roots.length > 1 && roots.slice(1).every(({ causationId }) => causationId !== null));
  assert.ok(JSON.stringify(roots).length > 0);
  const wide = Array.from({ length: 10_000 }, (_, i) => record(i + 1, { causationId: i === 0 ? null : "m1" }));
  assert.equal(treeOf({ records: wide })[0].led.length, 9_999);
});

Deno.test("treeOf() says what each group did, and puts what it wrote under it", () => {
  const [command, event, sent] = [
    record(1, { category: "bank::account:command", type: "Deposit" }),
    record(2, { causationId: "m1" }),
    record(5, { category: "bank::account:command", type: "Notify", causationId: "m2" }),
  ];
  const reads = ["bank::account"];
  const groups = [
    group("Handler", ["bank::account:command"], { handles: ["Deposit"] }),
    group("Sender", reads, { writes: (category) => category.endsWith(":command") }),
    group("Done", reads),
    group("Behind", reads),
    group("Retrying", reads),
    group("Waiting", reads),
    group("Dead", reads),
    group("Aside", reads),
    group("Newer", reads),
    group("Elsewhere", reads, { handles: ["Withdrawn"] }),
  ];
  const failures = [{ at: 1_500, error: "no answer" }];
  const [tree] = treeOf({
    records: [command, event, sent],
    groups,
    outcomes: [{ commandId: "m1", status: "accepted", detail: "{}" }],
    checkpoints: [
      { group: "Done", category: "bank::account", partitions: 1, partition: 0, position: 2 },
      { group: "Behind", category: "bank::account", partitions: 1, partition: 0, position: 1 },
      { group: "Dead", category: "bank::account", partitions: 1, partition: 0, position: 9 },
    ],
    deferred: [
      deferred("Retrying", event, { attempts: 1, failures, dueAt: 9_000 }),
      deferred("Waiting", event),
      deferred("Aside", event, { failures, awaits: "a replay" }),
      deferred("Newer", event, { awaits: "Deposited@2" }),
      deferred("Past", event),
    ],
    dead: [letter("Dead", event), letter("Aside", event)],
  });
  assert.deepEqual([tree.state, tree.kind, tree.handled.length], ["accepted", "command", 1]);
  const [{ id, handled, after }] = tree.handled[0].led;
  assert.deepEqual([id, after], ["m2", 1]);
  assert.deepEqual(Object.fromEntries(handled.map(({ group, state }) => [group, state])), {
    Sender: "passed",
    Done: "passed",
    Behind: "behind",
    Retrying: "retrying",
    Waiting: "waiting",
    Dead: "dead",
    Aside: "set aside",
    Newer: "unknown type",
    // No code has it any more.
    Past: "waiting",
  });
  const by = (name: string) => handled.find(({ group }) => group === name)!;
  assert.deepEqual([by("Retrying").error, by("Retrying").dueAt, by("Retrying").after], ["no answer", 9_000, 498]);
  assert.deepEqual([by("Dead").deadLetter, by("Dead").error, by("Dead").attempts], ["dm2", "no money", 1]);
  assert.deepEqual(by("Sender").led.map(({ id, after, state }) => [id, after, state]), [["m5", 3, "undecided"]]);
});

Deno.test("a command has failed if it is a dead letter, and was decided if its group has passed it", () => {
  const command = record(1, { category: "bank::account:command" });
  const groups = [group("Handler", ["bank::account:command"])];
  const stateOf = (parts: Partial<TraceParts>) => treeOf({ records: [command], groups, ...parts })[0].state;
  assert.equal(stateOf({}), "undecided");
  assert.equal(stateOf({ dead: [letter("Handler", command)] }), "failed");
  const checkpoint = { group: "Handler", category: command.category, partitions: 1, partition: 0, position: 1 };
  assert.equal(stateOf({ checkpoints: [checkpoint] }), "decided");
  const refused = { commandId: "m1", status: "refused", detail: '{"message":"no money"}' } as const;
  assert.deepEqual([stateOf({ outcomes: [refused] }), treeOf({ records: [command], outcomes: [refused] })[0].reason], [
    "refused",
    "no money",
  ]);
});

Deno.test("treeOf() shows a command that was decided where it was sent, although the log does not have it", () => {
  const outcomes = [
    { commandId: "c1", status: "accepted", detail: "{}" },
    { commandId: "c2", status: "refused", detail: '{"message":"no"}' },
  ] as const;
  const roots = treeOf({ records: [record(1, { causationId: "c1" })], outcomes });
  assert.deepEqual(roots.map(({ id, state, kind, led }) => [id, state, kind, led.length]), [
    ["c1", "accepted", "command", 1],
    ["c2", "refused", "command", 0],
  ]);
});

Deno.test("messages of the toolkit itself are left out, unless something is wrong with them or they are timers", () => {
  const inbox = "bank::flow:inbox";
  const routed = record(2, { category: inbox, type: "$Event", causationId: "m1" });
  const journal = record(3, { category: "bank::flow:process", type: "$Handled", causationId: "m2" });
  const sent = record(4, { category: "bank::account:command", type: "Pay", causationId: "m2" });
  const timer = scheduled("timer:Flow:late:1", { id: "t1", category: inbox, type: "$Timer", causationId: "m2" });
  const groups = [
    group("Router", ["bank::account"], { writes: (category) => category === inbox }),
    group("Flow", [inbox], { handles: ["$Event", "$Timer"], writes: (category) => category !== inbox }),
  ];
  const parts = { records: [record(1), routed, journal, sent], scheduled: [timer], groups, internals: false };
  assert.deepEqual([...walk(treeOf(parts))].map(({ message, by }) => [message.id, by?.group, message.after]), [
    ["m1", undefined, null],
    ["m4", "Flow", 3],
    ["t1", "Flow", 88_999],
  ]);
  const failures = [{ at: 1_500, error: "boom" }];
  const held = treeOf({ ...parts, deferred: [deferred("Flow", routed, { failures, awaits: "a replay" })] });
  assert.deepEqual(idsOf(held), ["m1", "m2", "m4", "t1"]);
});

import assert from "node:assert/strict";
import { scheduleKey } from "../../../src/domain/scheduling.ts";
import { describe } from "../../../src/isolation/describe.ts";
import { newId } from "../../../src/messages/ids.ts";
import { traceOf, walk } from "../../../src/operating/trace.ts";
import { MemoryEventStore } from "../../../src/store/memory.ts";
import type { NewMessage } from "../../../src/messages/envelope.ts";
import timely from "../../fixtures/timely/domain.ts";

const domain = describe(timely);
const [EVENTS, COMMANDS] = ["timely::bell", "timely::bell:command"];

function message(given: Partial<NewMessage> = {}): NewMessage {
  const id = given.id ?? newId();
  const made = { type: "Rung", schemaVersion: 1, time: Date.now(), correlationId: id, causationId: null, data: "{}" };
  return { ...made, id, metadata: null, ...given };
}

/** A store with some messages, each list in one commit, as events or commands. */
async function logOf(...commits: readonly (readonly NewMessage[])[]): Promise<MemoryEventStore> {
  const store = new MemoryEventStore();
  for (const messages of commits) {
    const category = messages[0].type === "Ring" ? COMMANDS : EVENTS;
    await store.commit({ appends: [{ category, stream: `${category}-1`, expected: "any", publish: true, messages }] });
  }
  return store;
}

function idsOf(trace: Awaited<ReturnType<typeof traceOf>>): string[] {
  return [...walk(trace!.roots)].map(({ message }) => message.id);
}

Deno.test("a correlation of 10,000 messages is shown up to the limit, and what is left out is said", async () => {
  const root = message({ type: "Ring" });
  const of = { correlationId: root.id, causationId: root.id };
  const store = await logOf([root], Array.from({ length: 10_000 }, () => message(of)), [message()]);
  const most = await traceOf({ store, domain }, root.id, { limit: 2_500 });
  assert.equal(most!.messages, 2_500);
  assert.deepEqual(most!.leftOut, ["Messages behind position 2500 of 10002 were not looked at"]);
  const all = await traceOf({ store, domain }, root.id, { limit: 20_000 });
  assert.deepEqual([all!.messages, all!.leftOut], [10_001, []]);
  assert.equal((await traceOf({ store, domain }, root.id))!.messages, 10_000);
});

Deno.test("a trace has no more payloads and lines of groups than can be shown, and says what is left out", async () => {
  const root = message({ type: "Ring" });
  const of = { correlationId: root.id, causationId: root.id };
  const data = JSON.stringify({ text: "x".repeat(30_000) });
  const store = await logOf([root], Array.from({ length: 2_000 }, () => message({ ...of, data })));
  const whole = await traceOf({ store, domain }, root.id, { payloads: true });
  assert.equal(whole!.messages, 2_001);
  const payloads = [...walk(whole!.roots)].map(({ message }) => message.data?.length ?? 0);
  assert.ok(payloads[1] > 30_000);
  assert.ok(payloads.reduce((sum, size) => sum + size) < 4_000_000);
  assert.match(whole!.leftOut.join(), /^Payloads behind position \d+ were not read$/);
  const lines = (trace: typeof whole) => [...walk(trace!.roots)].flatMap(({ message }) => message.handled).length;
  assert.ok(lines(whole) > 2_000, "each message is for a group");
  const few = await traceOf({ store, domain }, root.id, { handlings: 100 });
  assert.ok(lines(few) <= 100 && few!.messages > 10);
  assert.match(few!.leftOut.join(), /^Messages behind position \d+ of 2001 were not looked at$/);
});

Deno.test("a message is found by id, position, correlation, dead letter and schedule key; others are not", async () => {
  const root = message({ type: "Ring", correlationId: "order 7" });
  const rung = message({ correlationId: "order 7", causationId: root.id });
  const later = message({ type: "Ring", correlationId: "order 7", causationId: rung.id });
  const store = await logOf([message()], [root], [rung], [message({ id: "not a uuid" })]);
  const [dead] = await store.readAt([3]);
  const letter = { id: newId(), group: "Echo", message: dead, reason: "handler failed", error: "no", stack: null };
  const deadLetters = [{ ...letter, attempts: [{ at: Date.now(), error: "no" }], deadAt: Date.now() }];
  const entry = {
    key: scheduleKey("echo 1"),
    due: { at: Date.now() + 1e6 },
    category: COMMANDS,
    stream: `${COMMANDS}-1`,
  };
  await store.commit({ deadLetters, schedule: [{ ...entry, message: later }] });
  const find = (id: string) => traceOf({ store, domain }, id);
  assert.deepEqual(idsOf(await find("order 7")), [root.id, rung.id, later.id]);
  assert.deepEqual(idsOf(await find(root.id.toUpperCase())), [root.id, rung.id, later.id]);
  for (const id of [rung.id, "3", letter.id]) {
    const trace = await find(id);
    assert.deepEqual([idsOf(trace), trace!.causes.map(({ id }) => id)], [[rung.id, later.id], [root.id]]);
    assert.deepEqual(trace!.roots[0].handled.map(({ group, state, deadLetter }) => [group, state, deadLetter]), [
      ["Echo", "dead", letter.id],
    ]);
  }
  for (const id of [later.id, "echo 1", scheduleKey("echo 1")]) {
    const trace = await find(id);
    assert.deepEqual([trace!.roots.map(({ id, state }) => [id, state]), trace!.causes.length], [
      [[later.id, "scheduled"]],
      2,
    ]);
  }
  assert.deepEqual(idsOf(await find("not a uuid")), ["not a uuid"]);
  for (const id of [newId(), "5", "nothing", ""]) assert.equal(await find(id), null);
  await store.commit({ outcomes: [{ commandId: "c", status: "refused", detail: '{"message":"no"}' }] });
  assert.deepEqual((await find("c"))!.roots.map(({ state, reason }) => [state, reason]), [["refused", "no"]]);
});

Deno.test("a timer's message is found although it was stored long after its id was made, and clocks differ", async () => {
  const old = message({ id: "01800000-0000-7000-8000-000000000000" });
  const others = Array.from({ length: 3_000 }, (_, i) => message({ time: Date.now() + i }));
  // A machine whose clock is five minutes ahead makes an id that the log has behind others of "later".
  const early = { id: "01ffffff-0000-7000-8000-000000000000", time: 0x01ffffff0000 - 300_000 };
  const store = await logOf(others, [old], [message(early)]);
  for (const id of [old.id, early.id, others[0].id, others.at(-1)!.id]) {
    assert.deepEqual(idsOf(await traceOf({ store, domain }, id)), [id]);
  }
});

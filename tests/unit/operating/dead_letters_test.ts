import assert from "node:assert/strict";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { newId } from "../../../src/messages/ids.ts";
import { deadLetterPage, replayDeadLetters } from "../../../src/operating/dead_letters.ts";
import { waitingMessages } from "../../../src/operating/deferred.ts";
import { withSender } from "../../../src/messages/sender.ts";
import { type DeadLetter, type EventStore, REPLAY } from "../../../src/store/port.ts";
import { sampleAppend } from "../../../src/testing/store_suite.ts";

/** Fills a store with dead letters; those of every tenth message say that the account is frozen. */
async function filled(count: number, over: Partial<DeadLetter["message"]> = {}): Promise<EventStore> {
  const store = new MemoryEventStore();
  await store.commit({ appends: [sampleAppend("a", 1)] });
  const [message] = await store.readLog();
  const deadLetters = Array.from({ length: count }, (_, i) => ({
    id: newId(),
    group: i % 2 === 0 ? "even" : "odd",
    message: { ...message, position: i + 1, ...over },
    reason: "handler failed",
    error: i % 10 === 0 ? "The account is FROZEN" : "no",
    stack: null,
    attempts: [],
    deadAt: i,
  }));
  await store.commit({ deadLetters });
  return store;
}

Deno.test("pages of dead letters hold all of them once, the newest first, however they are filtered", async () => {
  const store = await filled(25_000);
  const read = async (filter: { group?: string; text?: string }) => {
    const found: number[] = [];
    let [pages, before] = [0, undefined as string | undefined];
    do {
      const page = await deadLetterPage({ store }, filter, { limit: 1_000, ...(before !== undefined && { before }) });
      assert.ok(page.letters.length <= 1_000);
      found.push(...page.letters.map(({ message }) => message.position));
      before = page.next ?? undefined;
      pages++;
    } while (before !== undefined);
    return { found, pages };
  };
  const all = Array.from({ length: 25_000 }, (_, i) => 25_000 - i);
  assert.deepEqual((await read({})).found, all);
  assert.deepEqual((await read({ group: "odd" })).found, all.filter((position) => position % 2 === 0));
  assert.deepEqual((await read({ text: "frozen" })).found, all.filter((position) => position % 10 === 1));
  // Not one of them matches, and no answer looks through all.
  const { found, pages } = await read({ text: "nothing like it" });
  assert.deepEqual(found, []);
  assert.ok(pages > 1, `${pages}`);
  await store.close();
});

Deno.test("a replay of all that a filter selects goes to the groups, and leaves what a process was told of", async () => {
  const store = await filled(20);
  assert.deepEqual(await replayDeadLetters({ store }, { group: "even", text: "frozen" }), { replayed: 2, left: 0 });
  assert.deepEqual((await store.deferred("even")).map(({ position }) => position), [1, 11]);
  assert.deepEqual(await store.countDeadLetters(), { even: 8, odd: 10 });
  const ids = (await store.deadLetters({ limit: 2 })).map(({ id }) => id);
  assert.deepEqual(await replayDeadLetters({ store }, { ids: [...ids, ids[0], "none"] }), { replayed: 2, left: 0 });
  await store.close();
  const told = await filled(4, {
    category: "d::a:command",
    metadata: withSender(null, { inbox: "d::p:inbox", id: "1", run: 1 }),
  });
  assert.deepEqual(await replayDeadLetters({ store: told }, { group: "odd" }), { replayed: 0, left: 2 });
  assert.deepEqual(await replayDeadLetters({ store: told }, { group: "odd" }, { isAnyway: true }), {
    replayed: 2,
    left: 0,
  });
  await told.close();
});

Deno.test("a deferred message waits for a retry, its turn, an operator, or code that knows it", async () => {
  const store = new MemoryEventStore();
  await store.commit({ appends: ["a", "a", "b", "b", "c"].map((id) => sampleAppend(id)) });
  const one = { group: "g", category: "test", dueAt: 7, failures: [], replayed: false, awaits: null };
  await store.commit({
    defer: [
      { ...one, stream: "test-a", position: 1, attempts: 1 },
      { ...one, stream: "test-a", position: 2, attempts: 0 },
      { ...one, stream: "test-b", position: 3, attempts: 0, awaits: REPLAY },
      { ...one, stream: "test-b", position: 4, attempts: 0 },
      { ...one, stream: "test-c", position: 5, attempts: 0, awaits: "Tested@9" },
    ],
  });
  const read = async (page: { after?: number; limit: number }) =>
    (await waitingMessages({ store }, "g", page)).map(({ position, type, waitsFor, behind }) => [
      position,
      type,
      waitsFor,
      behind,
    ]);
  const all = [
    [1, "Tested", "a retry", null],
    [2, "Tested", "its turn", 1],
    [3, "Tested", "a replay", null],
    [4, "Tested", "its turn", 3],
    [5, "Tested", "code", null],
  ];
  assert.deepEqual(await read({ limit: 10 }), all);
  assert.deepEqual([...await read({ limit: 3 }), ...await read({ after: 3, limit: 3 })], all);
  await store.close();
});

Deno.test("a store that takes long for large dead letters is asked for few at a time, and a list is short then", async () => {
  const inner = await filled(70);
  let most = 0;
  const deadLetters: EventStore["deadLetters"] = async (options) => {
    most = Math.max(most, options!.limit!);
    const found = await inner.deadLetters(options);
    await new Promise((resolve) => setTimeout(resolve, 20 * found.length));
    return found;
  };
  const store = { deadLetters } as EventStore;
  const pages: number[][] = [];
  let before: string | undefined | null;
  while (before !== null) {
    const page = await deadLetterPage({ store }, {}, { limit: 100, ...(before !== undefined && { before }) });
    pages.push(page.letters.map(({ message }) => message.position));
    before = page.next;
  }
  assert.ok(most <= 4, `${most}`);
  assert.ok(pages.length > 1, "nobody waits for all");
  assert.deepEqual(pages.flat(), Array.from({ length: 70 }, (_, i) => 70 - i));
});

import assert from "node:assert/strict";
import type { MessageRecord, NewMessage } from "../messages/envelope.ts";
import { projectionSuite } from "./projection_suite.ts";
import { newId } from "../messages/ids.ts";
import { AppendConditionError, FencedError, ScheduleChangedError, WrongExpectedVersionError } from "../store/errors.ts";
import type {
  DeadLetter,
  DeferredMessage,
  Due,
  EventStore,
  ExpectedVersion,
  LeaseRequest,
  ScheduledMessage,
  ScheduleEntry,
  StreamAppend,
} from "../store/port.ts";

/** Registers one test with a runner: `Deno.test`, or any function of the same shape. */
export type Register = (name: string, run: () => Promise<void>) => void;

/** A fresh adapter for one test. */
export interface StoreUnderTest {
  /** An empty store. */
  readonly store: EventStore;
  /** Advances the store's clock by some milliseconds, if it can be set. */
  readonly advance: (milliseconds: number) => void;
  /** Closes the store and removes its files. */
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

/** Creates a message to append in a test. */
export function sampleMessage(data: unknown = {}, over: Partial<NewMessage> = {}): NewMessage {
  const id = newId();
  return {
    id,
    type: "Tested",
    schemaVersion: 1,
    time: 1_700_000_000_000,
    correlationId: id,
    causationId: null,
    data: JSON.stringify(data),
    metadata: null,
    ...over,
  };
}

/** Creates an append of `count` messages to `test-<id>`. */
export function sampleAppend(
  id: string,
  count = 1,
  expected: ExpectedVersion = "any",
  over: Partial<StreamAppend> = {},
): StreamAppend {
  const messages = Array.from({ length: count }, (_, n) => sampleMessage({ n }));
  return { category: "test", stream: `test-${id}`, expected, messages, publish: true, ...over };
}

/** Command ids are UUIDs, like all message ids. */
const [C, D] = [newId(), newId()];

const positions = (messages: readonly { position: number }[]) => messages.map((message) => message.position);

/**
 * The contract tests of an event store, for adapters of your own.
 *
 * @param register Registers one test.
 * @param open Creates an empty store for each test.
 *
 * @example Testing an adapter
 * ```ts ignore
 * eventStoreSuite((name, run) => Deno.test(`my store ${name}`, run), openMyStore);
 * ```
 */
export function eventStoreSuite(register: Register, open: () => Promise<StoreUnderTest>): void {
  const test = (name: string, run: (store: EventStore, advance: (ms: number) => void) => Promise<void>) =>
    register(name, async () => {
      const opened = await open();
      // Node 22 has no `using`.
      try {
        await run(opened.store, opened.advance);
      } finally {
        await opened[Symbol.asyncDispose]();
      }
    });

  const entry = (key: string, due: Due, data: unknown = {}): ScheduleEntry => ({
    key,
    due,
    category: "test",
    stream: `test-${key}`,
    message: sampleMessage(data),
  });

  test("commit() gives positions and versions in order", async (store) => {
    const result = await store.commit({ appends: [sampleAppend("a", 2), sampleAppend("b", 1)] });
    assert.deepEqual(result, { lastPosition: 3, versions: [1, 0], repeated: null });
    assert.deepEqual(positions(await store.readLog()), [1, 2, 3]);
    assert.deepEqual((await store.readStream("test-a")).map((m) => m.version), [0, 1]);
    assert.equal(await store.lastPosition(), 3);
  });

  test("readStream() gives back every field that was appended", async (store) => {
    const message = sampleMessage({ text: "é\u0000☃" }, {
      causationId: "cause",
      correlationId: "all",
      schemaVersion: 7,
      metadata: '{"user":"x"}',
    });
    await store.commit({ appends: [sampleAppend("a", 0, "none", { messages: [message] })] });
    const expected: MessageRecord = { ...message, position: 1, version: 0, stream: "test-a", category: "test" };
    assert.deepEqual(await store.readStream("test-a"), [expected]);
  });

  const cases: [string, number, ExpectedVersion, boolean][] = [
    ["none on an empty stream", 0, "none", true],
    ["none on a stream", 1, "none", false],
    ["exists on an empty stream", 0, "exists", false],
    ["exists on a stream", 1, "exists", true],
    ["any on an empty stream", 0, "any", true],
    ["any on a stream", 3, "any", true],
    ["the exact version", 3, 2, true],
    ["a stale version", 3, 1, false],
    ["a version not reached yet", 3, 3, false],
    ["version -1 on an empty stream", 0, -1, true],
  ];
  for (const [name, existing, expected, fits] of cases) {
    test(`commit() ${fits ? "accepts" : "refuses"} ${name}`, async (store) => {
      if (existing > 0) await store.commit({ appends: [sampleAppend("a", existing)] });
      const append = store.commit({ appends: [sampleAppend("a", 1, expected)] });
      if (fits) await append;
      else {
        await assert.rejects(append, (error) => {
          assert(error instanceof WrongExpectedVersionError);
          assert.deepEqual([error.stream, error.expected, error.actual], ["test-a", expected, existing - 1]);
          return true;
        });
      }
      assert.equal((await store.readStream("test-a")).length, existing + Number(fits));
    });
  }

  test("commit() writes nothing at all when one of several streams is stale", async (store) => {
    await store.commit({ appends: [sampleAppend("b")] });
    await assert.rejects(
      store.commit({
        appends: [sampleAppend("a", 2, "none"), sampleAppend("b", 1, "none")],
        checkpoint: { group: "g", category: "test", partitions: 1, partition: 0, position: 9 },
        rows: [{ projection: "p", key: "k", row: "{}", position: 1 }],
        outcomes: [{ commandId: C, status: "accepted", detail: "[]" }],
        once: { key: "k", value: "v" },
        defer: [{ ...deferredSample, position: 1 }],
        deadLetters: [await deadSample(store, 1)],
      }),
      WrongExpectedVersionError,
    );
    assert.deepEqual(positions(await store.readLog()), [1]);
    assert.equal((await store.outboxStatus()).waiting, 1);
    assert.deepEqual(await store.checkpoints(), []);
    assert.equal(await store.readRow("p", "k"), null);
    assert.equal(await store.outcome(C), null);
    assert.deepEqual(await store.deferred("g"), []);
    assert.deepEqual(await store.deadLetters(), []);
    assert.equal((await store.commit({ once: { key: "k", value: "w" } })).repeated, null);
  });

  test("commit() counts two appends to one stream in one commit", async (store) => {
    const result = await store.commit({ appends: [sampleAppend("a", 1, "none"), sampleAppend("a", 1, 0)] });
    assert.deepEqual(result.versions.at(-1), 1);
    assert.deepEqual((await store.readStream("test-a")).map((m) => m.version), [0, 1]);
  });

  test("commit() gives each of many concurrent calls its own fate", async (store) => {
    const results = await Promise.allSettled(
      Array.from({ length: 40 }, (_, i) => store.commit({ appends: [sampleAppend(`${i % 20}`, 2, "none")] })),
    );
    assert.equal(results.filter((result) => result.status === "fulfilled").length, 20);
    for (const result of results) {
      if (result.status === "rejected") assert(result.reason instanceof WrongExpectedVersionError);
    }
    assert.deepEqual(positions(await store.readLog()), Array.from({ length: 40 }, (_, i) => i + 1));
  });

  test("readStream() reads forward, backward, from, to and limited", async (store) => {
    await store.commit({ appends: [sampleAppend("other", 3), sampleAppend("a", 5)] });
    const versions = async (options: Parameters<EventStore["readStream"]>[1]) =>
      (await store.readStream("test-a", options)).map((message) => message.version);
    assert.deepEqual(await versions({}), [0, 1, 2, 3, 4]);
    assert.deepEqual(await versions({ from: 2 }), [2, 3, 4]);
    assert.deepEqual(await versions({ from: 1, to: 3 }), [1, 2, 3]);
    assert.deepEqual(await versions({ limit: 2 }), [0, 1]);
    assert.deepEqual(await versions({ backward: true }), [4, 3, 2, 1, 0]);
    assert.deepEqual(await versions({ backward: true, from: 3, to: 2 }), [3, 2]);
    assert.deepEqual(await versions({ backward: true, limit: 1 }), [4]);
    assert.deepEqual(await versions({ from: 9 }), []);
    assert.deepEqual(await store.readStream("test-none"), []);
  });

  test("readLog() reads all, by category, type, correlation, time and position", async (store) => {
    await store.commit({
      appends: [
        sampleAppend("a", 2),
        {
          ...sampleAppend("b", 0, "any", { stream: "more-b", category: "more" }),
          messages: [
            sampleMessage({}, { type: "Other", correlationId: "x", time: 1_800_000_000_000 }),
            sampleMessage(),
          ],
        },
        sampleAppend("a", 1),
      ],
    });
    const read = async (options: Parameters<EventStore["readLog"]>[0]) => positions(await store.readLog(options));
    assert.deepEqual(await read({}), [1, 2, 3, 4, 5]);
    assert.deepEqual(await read({ after: 2 }), [3, 4, 5]);
    assert.deepEqual(await read({ after: 1, upTo: 3 }), [2, 3]);
    assert.deepEqual(await read({ limit: 2 }), [1, 2]);
    assert.deepEqual(await read({ limit: 2, backward: true }), [5, 4]);
    assert.deepEqual(await read({ category: "test", upTo: 4, limit: 1, backward: true }), [2]);
    assert.deepEqual(await read({ category: "test" }), [1, 2, 5]);
    assert.deepEqual(await read({ category: "test", after: 1, limit: 1 }), [2]);
    assert.deepEqual(await read({ category: "none" }), []);
    assert.deepEqual(await read({ type: "Other" }), [3]);
    assert.deepEqual(await read({ correlationId: "x" }), [3]);
    const [{ id }] = await store.readLog({ after: 3, limit: 1 });
    assert.deepEqual(await read({ id }), [4]);
    assert.deepEqual(await read({ id, after: 2, upTo: 4 }), [4]);
    assert.deepEqual(await read({ id, upTo: 3 }), []);
    assert.deepEqual(await read({ id: "none" }), []);
    assert.deepEqual(await read({ since: 1_800_000_000_000 }), [3]);
  });

  test("payloads larger than asked for are left out, however well they compress", async (store) => {
    let seed = 1;
    const noise = Array.from({ length: 4_000 }, () => ((seed = seed * 48_271 % 0x7fffffff) % 36).toString(36)).join("");
    const payloads = [{}, { text: "x".repeat(500) }, { text: "x".repeat(200_000) }, { text: noise }].map((data) =>
      sampleMessage(data)
    );
    await store.commit({ appends: [sampleAppend("a", 0, "any", { messages: payloads })] });
    const whole = await store.readLog();
    assert.deepEqual(whole.map(({ data }) => data), payloads.map(({ data }) => data));
    const parts = whole.map((record, i) => i < 2 ? record : { ...record, data: "" });
    assert.deepEqual(await store.readLog({ largest: 1_000 }), parts);
    assert.deepEqual(await store.readLog({ largest: 1_000, category: "test", backward: true }), parts.toReversed());
    assert.deepEqual((await store.readLog({ largest: 0 })).map(({ data }) => data), ["", "", "", ""]);
    assert.deepEqual(await store.readStream("test-a", { largest: 1_000 }), parts);
    assert.deepEqual(await store.readStream("test-a", { largest: 1_000, backward: true, from: 2 }), [
      ...parts.slice(0, 3).toReversed(),
    ]);
  });

  test("the outbox counts what is to be published until it is marked", async (store) => {
    await store.commit({ appends: [sampleAppend("a", 2), sampleAppend("b", 1, "any", { publish: false })] });
    await store.commit({ appends: [sampleAppend("c", 1)] });
    assert.deepEqual(await store.outboxStatus(), { waiting: 3, oldest: 1_700_000_000_000, published: 0 });
    assert.equal(await store.published(), 0);
    await store.markPublished(2);
    assert.equal(await store.published(), 2);
    await store.markPublished(1);
    assert.deepEqual(await store.outboxStatus(), { waiting: 1, oldest: 1_700_000_000_000, published: 2 });
  });

  test("checkpoints, rows and outcomes are written with the messages and replaced later", async (store) => {
    const checkpoint = { group: "g", category: "test", partitions: 1, partition: 0, position: 1 };
    await store.commit({
      appends: [sampleAppend("a")],
      checkpoint,
      rows: [{ projection: "p", key: "k", row: '{"n":1}', position: 1 }, {
        projection: "p",
        key: "l",
        row: "{}",
        position: 1,
      }],
      outcomes: [{ commandId: C, status: "refused", detail: '"no"' }],
    });
    await store.commit({
      checkpoint: { ...checkpoint, position: 5 },
      rows: [{ projection: "p", key: "k", row: '{"n":2}', position: 5 }, {
        projection: "p",
        key: "l",
        row: null,
        position: 5,
      }],
    });
    await store.commit({ checkpoint: { ...checkpoint, partitions: 2, partition: 1, position: 3 } });
    await store.commit({ checkpoint: { ...checkpoint, group: "h" } });
    assert.deepEqual(await store.checkpoints("g"), [
      { ...checkpoint, position: 5 },
      { ...checkpoint, partitions: 2, partition: 1, position: 3 },
    ]);
    assert.equal((await store.checkpoints()).length, 3);
    assert.equal((await store.checkpoints("g", checkpoint.category)).length, 2);
    assert.deepEqual(await store.checkpoints("g", "another"), []);
    assert.deepEqual(await store.readRow("p", "k"), { projection: "p", key: "k", row: '{"n":2}', position: 5 });
    assert.equal(await store.readRow("p", "l"), null);
    assert.deepEqual((await store.readRows("p", ["k", "l", "m"])).map((row) => row.key), ["k"]);
    assert.deepEqual(await store.outcome(C), { commandId: C, status: "refused", detail: '"no"' });
    assert.equal(await store.outcome(D), null);
  });

  test("listRows() lists by key, behind a key, limited", async (store) => {
    const rows = ["c", "a", "b"].map((key) => ({ projection: "p", key, row: "{}", position: 1 }));
    await store.commit({ rows: [...rows, { projection: "q", key: "z", row: "{}", position: 1 }] });
    const keys = async (options = {}) => (await store.listRows("p", options)).map((row) => row.key);
    assert.deepEqual(await keys(), ["a", "b", "c"]);
    assert.deepEqual(await keys({ after: "a" }), ["b", "c"]);
    assert.deepEqual(await keys({ limit: 2 }), ["a", "b"]);
  });

  projectionSuite((name, run) => test(name, run));

  test("commit() with a once key writes the first time only", async (store) => {
    const first = await store.commit({ appends: [sampleAppend("a")], once: { key: "k", value: "first" } });
    const again = await store.commit({ appends: [sampleAppend("a")], once: { key: "k", value: "second" } });
    assert.equal(first.repeated, null);
    assert.deepEqual(again, { lastPosition: 0, versions: [], repeated: "first" });
    assert.equal(await store.lastPosition(), 1);
  });

  const request = { name: "g#0/1", group: "g", partitions: 1, owner: "me", ttl: 1000 };

  test("a lease has one holder until it ends, and a new token each time", async (store, advance) => {
    assert.deepEqual(await store.acquireLease(request), { token: 1, clean: true, again: false, ends: null });
    assert.equal(await store.acquireLease({ ...request, owner: "you" }), null);
    advance(900);
    assert.deepEqual(await store.renewLeases([{ lease: "g#0/1", token: 1 }], 1000), []);
    advance(900);
    assert.deepEqual((await store.leases()).map(({ isHeld }) => isHeld), [true]);
    assert.equal(await store.acquireLease({ ...request, owner: "you" }), null);
    advance(200);
    assert.deepEqual((await store.leases()).map(({ isHeld }) => isHeld), [false]);
    assert.deepEqual(await store.acquireLease({ ...request, owner: "you" }), {
      token: 2,
      clean: false,
      again: false,
      ends: null,
    });
    assert.deepEqual(await store.renewLeases([{ lease: "g#0/1", token: 1 }], 1000), ["g#0/1"]);
    assert.deepEqual((await store.leases()).map(({ owner, token }) => [owner, token]), [["you", 2]]);
  });

  test("members that are gone are forgotten", async (store, advance) => {
    await store.enroll({ owner: "killed", types: { A: 1 } }, 1_000);
    await store.enroll({ owner: "alive", types: {} }, 1_000);
    advance(3_600_000);
    assert.deepEqual(await store.members(), []);
    await store.enroll({ owner: "alive", types: { B: 2 } }, 1_000);
    await store.enroll({ owner: "new", types: {} }, 1_000);
    await store.enroll({ owner: "new", types: {} }, 0);
    assert.deepEqual(await store.members(), [{ owner: "alive", types: { B: 2 } }]);
  });

  test("leases and members of killed processes do not last when the clock is set back", async (store, advance) => {
    await store.acquireLease(request);
    await store.acquireLease({ ...request, name: "long", group: "long", ttl: 30_000 });
    await store.enroll({ owner: "me", types: {} }, 1_000);
    await store.enroll({ owner: "you", types: {} }, 1_000);
    advance(1_000);
    assert.deepEqual((await store.leases()).filter(({ isHeld }) => isHeld).map(({ name }) => name), ["long"]);
    advance(-3_600_000);
    await store.enroll({ owner: "you", types: {} }, 1_000);
    assert.equal(await store.acquireLease({ ...request, owner: "you" }), null);
    advance(1_001);
    await store.enroll({ owner: "you", types: {} }, 1_000);
    assert.deepEqual((await store.members()).map(({ owner }) => owner), ["you"]);
    // Its holder may live, and renew it at long intervals.
    assert.equal(await store.acquireLease({ ...request, owner: "you" }), null);
    advance(60_000);
    assert.deepEqual(await store.acquireLease({ ...request, owner: "you" }), {
      token: 2,
      clean: false,
      again: false,
      ends: null,
    });
  });

  test("onceKeys() lists keys with their values, page by page", async (store) => {
    const keys = ["b:2", "a:1", "a:10", "c"];
    // All at once, and with nothing else in the commit.
    await Promise.all(keys.map((key) => store.commit({ once: { key, value: `{"id":"${key}"}` } })));
    const found: string[] = [];
    let after: string | undefined;
    while (true) {
      const page = await store.onceKeys({ limit: 2, ...(after !== undefined && { after }) });
      for (const { key, value } of page) assert.equal(value, `{"id":"${key}"}`);
      found.push(...page.map(({ key }) => key));
      if (page.length < 2) break;
      after = page[1].key;
    }
    assert.deepEqual(found.toSorted(), keys.toSorted());
    assert.equal((await store.onceKeys()).length, 4);
  });

  test("a lease that was given back is free at once, clean or not", async (store) => {
    await store.acquireLease(request);
    await store.releaseLease({ lease: "g#0/1", token: 1 }, true);
    assert.deepEqual(await store.acquireLease(request), { token: 3, clean: true, again: false, ends: null });
    await store.releaseLease({ lease: "g#0/1", token: 3 }, false);
    assert.deepEqual(await store.acquireLease(request), { token: 5, clean: false, again: false, ends: null });
    await store.releaseLease({ lease: "g#0/1", token: 1 }, true);
    assert.equal(await store.acquireLease({ ...request, owner: "you" }), null);
  });

  test("how the work under a lease ended is kept from holder to holder, and only its holder writes it", async (store) => {
    const ends = { at: [1, 2], rests: 1, restingUntil: 3, reason: "it \u{1f4a5} ended" };
    await store.acquireLease(request);
    await store.recordEnds({ lease: "g#0/1", token: 1 }, ends);
    await store.releaseLease({ lease: "g#0/1", token: 1 }, true);
    assert.deepEqual(await store.acquireLease({ ...request, owner: "you" }), {
      token: 3,
      clean: true,
      again: false,
      ends,
    });
    await store.recordEnds({ lease: "g#0/1", token: 1 }, null);
    assert.deepEqual((await store.leases()).map((lease) => lease.ends), [ends]);
    await store.recordEnds({ lease: "g#0/1", token: 3 }, null);
    assert.deepEqual((await store.leases()).map((lease) => lease.ends), [null]);
  });

  test("the holder of a lease that asks again gets a new token, and fences the old one", async (store) => {
    await store.acquireLease(request);
    assert.deepEqual(await store.acquireLease(request), { token: 2, clean: false, again: false, ends: null });
    await assert.rejects(store.commit({ fence: { lease: "g#0/1", token: 1 } }), FencedError);
    await store.commit({ fence: { lease: "g#0/1", token: 2 }, appends: [sampleAppend("a")] });
  });

  test("whoever asks for a lease again is told whether anybody else has had it", async (store, advance) => {
    const ask = (held: number, over: Partial<LeaseRequest> = {}) => store.acquireLease({ ...request, held, ...over });
    assert.deepEqual(await ask(0), { token: 1, clean: true, again: false, ends: null });
    // The answer was lost: it is repeated, and none of what was said of the work before.
    assert.deepEqual(await ask(0), { token: 2, clean: true, again: false, ends: null });
    // Its end could not be written.
    assert.deepEqual(await ask(2), { token: 3, clean: false, again: true, ends: null });
    await store.releaseLease({ lease: "g#0/1", token: 3 }, true);
    assert.deepEqual(await ask(3), { token: 5, clean: true, again: true, ends: null });
    assert.deepEqual(await ask(3), { token: 6, clean: true, again: true, ends: null }, "unheard once more");
    advance(1001);
    // Another one vanished with it.
    assert.deepEqual(await ask(0, { owner: "you" }), { token: 7, clean: false, again: false, ends: null });
    await store.releaseLease({ lease: "g#0/1", token: 6 }, true);
    advance(1001);
    assert.deepEqual(await ask(6), { token: 8, clean: false, again: false, ends: null });
    assert.deepEqual(await ask(6), { token: 9, clean: false, again: false, ends: null });
    await store.releaseLease({ lease: "g#0/1", token: 9 }, true);
    assert.deepEqual(await ask(9, { owner: "you" }), { token: 11, clean: true, again: false, ends: null });
    await store.releaseLease({ lease: "g#0/1", token: 11 }, true);
    assert.deepEqual(await ask(11), { token: 13, clean: true, again: false, ends: null });
    await store.releaseLease({ lease: "g#0/1", token: 13 }, true);
    // One with another number of partitions vanished in between.
    await ask(0, { name: "g#0/2", partitions: 2, owner: "you" });
    advance(1001);
    assert.deepEqual(await ask(13), { token: 15, clean: false, again: false, ends: null });
  });

  test(
    "a lease of another number of partitions is nobody's any more, nor are those beside one that hears of it",
    async (store, advance) => {
      const ask = (name: string, partitions: number, owner: string, held = 0) =>
        store.acquireLease({ name, group: "g", partitions, owner, held, ttl: 1000 });
      await ask("g#1/3", 3, "me");
      await store.releaseLease({ lease: "g#1/3", token: 1 }, true);
      await ask("g#0/2", 2, "you");
      advance(1001);
      assert.equal((await ask("g#0/3", 3, "other"))!.clean, false);
      assert.deepEqual(await ask("g#1/3", 3, "me", 1), { token: 3, clean: false, again: false, ends: null });
      for (const [lease, token] of [["g#0/3", 1], ["g#1/3", 3]] as const) {
        await store.releaseLease(
          { lease, token },
          true,
        );
      }
      await ask("g#2/3", 3, "other");
      await store.releaseLease({ lease: "g#2/3", token: 1 }, true);
      // All of it was handled by others meanwhile.
      assert.equal((await ask("g#0/2", 2, "you", 1))!.again, false);
    },
  );

  test("members are there until their time is over, or they leave", async (store, advance) => {
    await store.enroll({ owner: "b", types: { B: 2 } }, 1000);
    await store.enroll({ owner: "a", types: {} }, 1000);
    assert.deepEqual(await store.members(), [{ owner: "a", types: {} }, { owner: "b", types: { B: 2 } }]);
    advance(900);
    await store.enroll({ owner: "a", types: { A: 1 } }, 1000);
    advance(200);
    assert.deepEqual(await store.members(), [{ owner: "a", types: { A: 1 } }]);
    await store.enroll({ owner: "a", types: { A: 1 } }, 0);
    assert.deepEqual(await store.members(), []);
  });

  test("a group is never leased in two partitionings at once", async (store, advance) => {
    await store.acquireLease(request);
    const other = { ...request, name: "g#0/2", partitions: 2 };
    assert.equal(await store.acquireLease(other), null);
    assert.notEqual(await store.acquireLease({ ...other, group: "h", name: "h#0/2" }), null);
    advance(1001);
    // The holder of the other partitioning vanished, and is fenced should it wake up. All partitions hear of it, as what it
    // had in flight may be of any.
    assert.deepEqual(await store.acquireLease(other), { token: 1, clean: false, again: false, ends: null });
    const fence = { lease: "g#0/1", token: 1 };
    await assert.rejects(store.commit({ fence }), FencedError);
    assert.deepEqual(await store.renewLeases([fence], 1000), ["g#0/1"]);
    assert.deepEqual(await store.acquireLease({ ...other, name: "g#1/2" }), {
      token: 1,
      clean: false,
      again: false,
      ends: null,
    });
  });

  test("a commit under a lease that was lost writes nothing", async (store, advance) => {
    await store.acquireLease(request);
    const fence = { lease: "g#0/1", token: 1 };
    await store.commit({ fence, appends: [sampleAppend("a")] });
    advance(1001);
    await store.acquireLease({ ...request, owner: "you" });
    await assert.rejects(store.commit({ fence, appends: [sampleAppend("a")] }), FencedError);
    await assert.rejects(store.markPublished(1, fence), FencedError);
    assert.equal(await store.lastPosition(), 1);
    assert.equal((await store.outboxStatus()).waiting, 1);
    await store.releaseLease({ lease: "g#0/1", token: 2 }, true);
    await assert.rejects(store.commit({ fence: { lease: "g#0/1", token: 2 } }), FencedError);
  });

  const deferredSample: DeferredMessage = {
    group: "g",
    category: "test",
    stream: "test-a",
    position: 1,
    attempts: 1,
    dueAt: 5,
    failures: [{ at: 4, error: "no" }],
    replayed: false,
    awaits: null,
  };

  test("deferred messages are kept by group, replaced and removed", async (store) => {
    await store.commit({
      defer: [deferredSample, { ...deferredSample, position: 3 }, { ...deferredSample, group: "h" }],
    });
    await store.commit({
      defer: [{ ...deferredSample, attempts: 2, awaits: "T@2" }],
      resume: [{ group: "g", position: 3 }],
    });
    assert.deepEqual(await store.deferred("g"), [{ ...deferredSample, attempts: 2, awaits: "T@2" }]);
    assert.deepEqual(await store.deferred("h"), [{ ...deferredSample, group: "h" }]);
    assert.deepEqual(await store.deferred("g", { replayedOnly: true }), []);
    assert.deepEqual(await store.replayed(), []);
    const other = { ...deferredSample, category: "other", stream: "other-a", position: 2 };
    await store.commit({ defer: [other] });
    assert.deepEqual(await store.deferred("g", { category: "other" }), [other]);
    assert.deepEqual(await store.deferred("g", { category: "none" }), []);
    assert.equal((await store.deferred("g", { limit: 1 })).length, 1);
    assert.deepEqual(await store.deferred("g", { after: 1 }), [other]);
  });

  test("countDeferred() counts those of all groups, by what they wait for", async (store) => {
    const at = (position: number, over: Partial<DeferredMessage> = {}) => ({ ...deferredSample, position, ...over });
    await store.commit({
      defer: [
        at(1),
        at(2, { attempts: 3 }),
        at(3, { attempts: 0 }),
        at(4, { attempts: 0, awaits: "T@2" }),
        at(1, { group: "h" }),
      ],
    });
    const counts = (await store.countDeferred()).map(({ group, awaits, isTried, count }) =>
      `${group} ${awaits} ${isTried} ${count}`
    );
    assert.deepEqual(counts.sort(), ["g T@2 false 1", "g null false 1", "g null true 2", "h null true 1"]);
  });

  async function deadSample(store: EventStore, position: number, over: Partial<DeadLetter> = {}): Promise<DeadLetter> {
    const [message] = await store.readLog({ after: position - 1, limit: 1 });
    const attempts = [{ at: 1, error: "no" }, { at: 2, error: "still no" }];
    return {
      id: newId(),
      group: "g",
      message,
      reason: "handler failed",
      error: "x",
      stack: "at y",
      attempts,
      deadAt: 3,
      ...over,
    };
  }

  test("dead letters keep everything, and a replay goes to their group only", async (store) => {
    await store.commit({ appends: [sampleAppend("a", 2)] });
    const one = await deadSample(store, 1);
    const two = await deadSample(store, 2, { group: "h", stack: null });
    await store.commit({ deadLetters: [one, two] });
    assert.deepEqual(await store.deadLetter(one.id), one);
    assert.deepEqual(await store.deadLetter("none"), null);
    assert.deepEqual((await store.deadLetters()).map((dead) => dead.id), [two.id, one.id]);
    assert.deepEqual(await store.deadLetters({ limit: 1 }), [two]);
    assert.deepEqual(await store.deadLetters({ limit: 1, before: two.id }), [one]);
    assert.deepEqual(await store.deadLetters({ before: one.id }), []);
    assert.deepEqual(await store.deadLetters({ group: "h" }), [two]);
    const { message } = two;
    const [long] = await store.deadLetters({ largest: 5, limit: 1 });
    assert.deepEqual({ ...long, message: { ...long.message } }, { ...two, message: { ...message, data: "" } });
    assert.deepEqual(await store.deadLetters({ largest: 10_000, limit: 1 }), [two]);
    assert.deepEqual(await store.countDeadLetters(), { g: 1, h: 1 });
    assert.equal(await store.replayDeadLetters([one.id, "none"]), 1);
    assert.deepEqual(await store.deferred("h"), []);
    assert.deepEqual(await store.deferred("g", { replayedOnly: true }), [
      { ...deferredSample, attempts: 0, dueAt: 0, failures: [], replayed: true },
    ]);
    assert.deepEqual(await store.countDeadLetters(), { h: 1 });
    assert.equal(await store.purgeDeadLetters({ group: "g" }), 0);
    assert.equal(await store.purgeDeadLetters({ ids: [two.id] }), 1);
    assert.deepEqual(await store.deadLetters(), []);
  });

  test("lag() counts what is behind a position, with the time of the oldest", async (store) => {
    await store.commit({ appends: [sampleAppend("a", 3), sampleAppend("b", 1, "any", { category: "more" })] });
    assert.deepEqual(await store.lag("test", 1), { messages: 2, oldest: 1_700_000_000_000 });
    assert.deepEqual(await store.lag("test", 3), { messages: 0, oldest: null });
    const at = (category: string, after: number) => ({ category, after });
    assert.deepEqual(await store.lags([]), []);
    const asked = [
      at("test", 2),
      at("more", 0),
      at("test", 0),
      at("test", 3),
      at("none", 0),
      at("test", 2),
      at("test", 99),
    ];
    assert.deepEqual((await store.lags(asked)).map(({ messages }) => messages), [1, 1, 3, 0, 0, 1, 0]);
    assert.deepEqual(
      (await store.lags(asked)).map(({ oldest }) => oldest !== null),
      [1, 1, 1, 0, 0, 1, 0].map(Boolean),
    );
  });

  test("changed() resolves on a write, on timeout and on abort", async (store) => {
    const waiting = store.changed(60_000);
    await store.commit({ appends: [sampleAppend("a")] });
    await waiting;
    await store.changed(1);
    const abort = new AbortController();
    const aborted = store.changed(60_000, abort.signal);
    abort.abort();
    await aborted;
  });

  test("close() refuses what comes later, and may be called twice", async (store) => {
    await store.commit({ appends: [sampleAppend("a")] });
    await store.close();
    await assert.rejects(store.commit({ appends: [sampleAppend("a")] }), { name: "StoreUnavailableError" });
    await assert.rejects(store.readLog(), { name: "StoreUnavailableError" });
    await store.close();
  });

  const keysOf = (messages: readonly ScheduledMessage[]) => messages.map(({ key }) => key);

  test("readAt() returns the messages at some positions, in order, and leaves out what is not there", async (store) => {
    await store.commit({ appends: [sampleAppend("a", 3), sampleAppend("b", 2)] });
    assert.deepEqual(positions(await store.readAt([5, 2, 2, 99])), [2, 5]);
    assert.deepEqual(await store.readAt([]), []);
    const [whole] = await store.readAt([4]);
    assert.deepEqual(whole, (await store.readStream("test-b"))[0]);
    assert.equal((await store.readAt([4], { largest: 3 }))[0].data, "");
  });

  test(
    "outcomes and keys are forgotten once they are old, a few at a time, and nothing else is",
    async (store, advance) => {
      const ids = [newId(), newId(), newId()];
      const outcomes = ids.map((commandId) => ({ commandId, status: "accepted" as const, detail: "{}" }));
      const once = (key: string, id = newId()) => ({ once: { key, value: JSON.stringify({ id }) } });
      const later = entry("later", { after: 9_000_000 });
      await store.commit({ outcomes, ...once("d:command:a") });
      await store.commit({ schedule: [later], ...once("d:command:later", later.message.id) });
      await store.commit(once("$start G"));
      // Where it is the database's clock that counts, time has to pass.
      advance(600);
      await new Promise((resolve) => setTimeout(resolve, 600));
      await store.commit({ outcomes: [{ ...outcomes[0], commandId: C }], ...once("d:command:new") });
      const isKnown = async (key: string) => (await store.commit(once(key))).repeated !== null;
      const ages = (age: number) => ({ outcomes: age, keys: { of: "d:command:", age } });
      assert.equal(await store.tidy(ages(Infinity), 100), 0);
      assert.equal(await store.tidy(ages(550), 2), 2);
      assert.equal(await store.tidy(ages(550), 2), 1);
      assert.equal(await store.tidy(ages(550), 2), 0);
      for (const id of ids) assert.equal(await store.outcome(id), null);
      assert.deepEqual(await store.outcome(C), { ...outcomes[0], commandId: C });
      assert.ok(await isKnown("d:command:new"));
      // Whoever sends it again would send it twice.
      assert.ok(await isKnown("d:command:later"));
      assert.ok(await isKnown("$start G"));
      assert.ok(!await isKnown("d:command:a"));
    },
  );

  test("messages are scheduled by the store's clock, and due in order of due time", async (store, advance) => {
    const { now } = await store.due(10);
    assert.equal((await store.due(10)).wait, null);
    await store.commit({ schedule: [entry("late", { after: 3_600_000 }), entry("b", { at: now - 5 })] });
    await store.commit({ schedule: [entry("a", { at: now - 9 }), entry("c", { after: 0 })] });
    advance(1);
    const due = await store.due(10);
    assert.deepEqual(keysOf(due.messages), ["a", "b", "c"]);
    assert.equal(due.messages[0].dueAt, now - 9);
    assert.ok(due.wait! > 3_590_000 && due.wait! <= 3_600_000, `${due.wait}`);
    const first = await store.due(2);
    assert.deepEqual([keysOf(first.messages), first.wait], [["a", "b"], 0]);
    // Nothing of it is in the log.
    assert.equal(await store.lastPosition(), 0);
  });

  test("a scheduled message keeps all that it has, and comes once it is due", async (store, advance) => {
    const { now } = await store.due(1);
    const one = entry("k", { at: now + 10_000 }, { text: 'quotes " and {braces}, \\ and é' });
    await store.commit({ schedule: [one] });
    const [found] = await store.scheduled();
    assert.deepEqual({ ...found }, {
      key: "k",
      dueAt: now + 10_000,
      category: "test",
      stream: "test-k",
      message: one.message,
    });
    advance(9_000);
    assert.deepEqual(keysOf((await store.due(10)).messages), []);
    advance(1_500);
    assert.deepEqual(keysOf((await store.due(10)).messages), ["k"]);
  });

  test("a message with the same key replaces the one before", async (store) => {
    const { now } = await store.due(1);
    await store.commit({ schedule: [entry("k", { at: now - 2 })] });
    const second = entry("k", { at: now - 1 });
    // Of several in one commit, the last.
    await store.commit({ schedule: [entry("k", { at: now + 9 }), second] });
    const { messages } = await store.due(10);
    assert.deepEqual(messages.map(({ message, dueAt }) => [message.id, dueAt]), [[second.message.id, now - 1]]);
  });

  test("what is unscheduled does not come, and what is unknown is ignored", async (store) => {
    await store.commit({ schedule: [entry("a", { after: 0 }), entry("b", { after: 0 })] });
    await store.commit({ unschedule: ["a", "nobody"] });
    assert.deepEqual(keysOf(await store.scheduled()), ["b"]);
    // It is taken out before anything is put in.
    await store.commit({ unschedule: ["b", "c"], schedule: [entry("c", { after: 0 })] });
    assert.deepEqual(keysOf(await store.scheduled()), ["c"]);
  });

  test("a release takes the message out and appends it, or does nothing if it has changed meanwhile", async (store) => {
    const { now } = await store.due(1);
    const one = entry("k", { at: now - 1 });
    await store.commit({ schedule: [one, entry("other", { at: now - 1 })] });
    const as = { key: "k", id: one.message.id, dueAt: now - 1 };
    const append = {
      category: "test",
      stream: "test-k",
      expected: "any" as const,
      messages: [one.message],
      publish: true,
    };
    for (const wrong of [{ ...as, id: newId() }, { ...as, dueAt: now }, { ...as, key: "nobody" }]) {
      await assert.rejects(store.commit({ appends: [append], release: [wrong] }), ScheduleChangedError);
    }
    // All of it or nothing.
    await assert.rejects(
      store.commit({ appends: [append], release: [as, { ...as, key: "other" }] }),
      ScheduleChangedError,
    );
    assert.equal(await store.lastPosition(), 0);
    assert.deepEqual(keysOf(await store.scheduled()), ["k", "other"]);
    assert.equal((await store.commit({ appends: [append], release: [as] })).lastPosition, 1);
    assert.deepEqual(keysOf(await store.scheduled()), ["other"]);
    await assert.rejects(store.commit({ release: [as] }), ScheduleChangedError);
  });

  test("a release and a change of the same message at the same time: one of the two", async (store) => {
    const { now } = await store.due(1);
    for (let round = 0; round < 20; round++) {
      const one = entry("k", { at: now - 1 });
      await store.commit({ schedule: [one] });
      const as = { key: "k", id: one.message.id, dueAt: now - 1 };
      const append = { category: "t", stream: "t-k", expected: "any" as const, messages: [one.message], publish: true };
      const before = await store.lastPosition();
      const [released] = await Promise.allSettled([
        store.commit({ appends: [append], release: [as] }),
        store.commit(round % 2 === 0 ? { unschedule: ["k"] } : { schedule: [entry("k", { at: now + 60_000 })] }),
      ]);
      assert.equal(await store.lastPosition() - before, released.status === "fulfilled" ? 1 : 0);
      await store.commit({ unschedule: ["k"] });
    }
  });

  test("nothing of a commit that is refused is scheduled", async (store) => {
    const commit = { schedule: [entry("k", { after: 0 })], appends: [sampleAppend("a", 1, 7)] };
    await assert.rejects(store.commit(commit), WrongExpectedVersionError);
    assert.deepEqual(await store.scheduled(), []);
  });

  test("scheduled() pages by key", async (store) => {
    await store.commit({ schedule: ["c", "a", "d", "b"].map((key) => entry(key, { after: 60_000 })) });
    assert.deepEqual(keysOf(await store.scheduled({ limit: 2 })), ["a", "b"]);
    assert.deepEqual(keysOf(await store.scheduled({ after: "b", limit: 9 })), ["c", "d"]);
    assert.deepEqual(keysOf(await store.scheduled({ key: "c" })), ["c"]);
    assert.deepEqual(keysOf(await store.scheduled({ key: "x" })), []);
  });

  test("snapshots are kept by stream, the newest of their code", async (store) => {
    const snapshot = (stream: string, version: number, fingerprint = "a") => ({
      stream,
      version,
      message: C,
      fingerprint,
      state: JSON.stringify({ version, odd: '\\ "é☃' }),
    });
    assert.equal(await store.readSnapshot("s", "a"), null);
    await store.writeSnapshots([snapshot("s", 5), snapshot("t", 1)]);
    assert.deepEqual({ ...await store.readSnapshot("s", "a") }, snapshot("s", 5));
    assert.equal(await store.readSnapshot("s", "b"), null);
    await store.writeSnapshots([snapshot("s", 4)]);
    assert.deepEqual({ ...await store.readSnapshot("s", "a") }, snapshot("s", 5));
    await store.writeSnapshots([snapshot("s", 6)]);
    assert.deepEqual({ ...await store.readSnapshot("s", "a") }, snapshot("s", 6));
    // Of other code, also an older one: that goes on with it.
    await store.writeSnapshots([snapshot("s", 3, "b")]);
    assert.deepEqual({ ...await store.readSnapshot("s", "b") }, snapshot("s", 3, "b"));
    assert.equal(await store.readSnapshot("s", "a"), null);
    assert.deepEqual({ ...await store.readSnapshot("t", "a") }, snapshot("t", 1));
    await store.writeSnapshots([]);
  });

  /** An append of one message with tags. */
  const tagged = (tags: readonly string[], type = "Tested", stream = "a"): StreamAppend =>
    sampleAppend(stream, 0, "any", { messages: [sampleMessage({ tags }, { type, tags })] });
  const seat = { tag: "course:1", types: ["Tested"] };

  test("readTagged() returns each message with one of the tags and its types once, in order", async (store) => {
    assert.deepEqual(await store.readTagged([seat]), { messages: [], last: 0 });
    const odd = `{"a":'b'}, \\ \u001e ☃`;
    await store.commit({
      appends: [
        tagged(["course:1", "student:1"]),
        tagged(["course:2"], "Tested", "b"),
        tagged(["course:1"], "Other", "b"),
        tagged([odd, "student:1"], "Other"),
        sampleAppend("c"),
      ],
    });
    const found = async (...given: Parameters<EventStore["readTagged"]>) => {
      const { messages, last } = await store.readTagged(...given);
      assert.equal(last, 5);
      return positions(messages);
    };
    assert.deepEqual(await found([seat]), [1]);
    assert.deepEqual(await found([{ tag: "course:1", types: ["Tested", "Other"] }]), [1, 3]);
    assert.deepEqual(await found([seat, { tag: "student:1", types: ["Tested", "Other"] }]), [1, 4]);
    assert.deepEqual(await found([{ tag: odd, types: ["Other"] }]), [4]);
    assert.deepEqual(await found([{ tag: "course", types: ["Tested"] }, { ...seat, types: [] }]), []);
    assert.deepEqual(await found([]), []);
    const all = ["course:1", "course:2", "student:1"].map((tag) => ({ tag, types: ["Tested", "Other"] }));
    assert.deepEqual(await found(all), [1, 2, 3, 4]);
    assert.deepEqual(await found(all, { after: 1, upTo: 3 }), [2, 3]);
    assert.deepEqual(await found(all, { after: 1, limit: 2 }), [2, 3]);
    // Tags are no field of a message.
    const [message] = (await store.readTagged([seat])).messages;
    assert.deepEqual(message, (await store.readStream("test-a"))[0]);
  });

  test("a commit is refused once there is a message that its condition excludes", async (store) => {
    await store.commit({ appends: [tagged(["course:1"]), tagged(["course:2"]), tagged(["course:1"], "Other")] });
    const append = tagged(["course:1"], "Tested", "new");
    const attempt = (after: number, ...among: { tag: string; types: string[] }[]) =>
      store.commit({ appends: [append], schedule: [entry("k", { after: 0 })], conditions: [{ among, after }] });
    await assert.rejects(attempt(0, seat), AppendConditionError);
    await assert.rejects(attempt(2, seat, { ...seat, types: ["Other"] }), AppendConditionError);
    await assert.rejects(attempt(1, seat, { tag: "course:2", types: ["Tested"] }), AppendConditionError);
    // Also if there is nothing to append.
    await assert.rejects(store.commit({ conditions: [{ among: [seat], after: 0 }] }), AppendConditionError);
    assert.equal(await store.lastPosition(), 3);
    assert.deepEqual(await store.scheduled(), []);
    await store.commit({ conditions: [{ among: [seat], after: 1 }] });
    await attempt(1, seat, { tag: "course:3", types: ["Tested"] });
    assert.equal(await store.lastPosition(), 4);
    await assert.rejects(attempt(3, seat), AppendConditionError);
  });

  test("of commits at the same time on the same condition, one is written", async (store) => {
    for (let round = 0; round < 10; round++) {
      const after = await store.lastPosition();
      const results = await Promise.allSettled(
        Array.from({ length: 12 }, (_, i) =>
          store.commit({
            appends: [tagged([`odd:${i % 2}`, "course:1"], "Tested", `s${i}`)],
            conditions: [{ among: [{ tag: `odd:${i % 2}`, types: ["Tested"] }], after }],
          })),
      );
      for (const odd of [0, 1]) {
        const kept = results.filter(({ status }, i) => i % 2 === odd && status === "fulfilled");
        assert.equal(kept.length, 1, `round ${round}`);
      }
      for (const result of results) {
        if (result.status === "rejected") assert(result.reason instanceof AppendConditionError);
      }
      assert.equal(await store.lastPosition(), after + 2);
    }
  });

  test("messages that are stored already can be given tags", async (store) => {
    await store.commit({ appends: [sampleAppend("a", 3)] });
    await store.commit({ tag: [{ position: 3, type: "Tested", tags: ["course:1"] }] });
    await store.commit({ appends: [tagged(["course:1"])] });
    const tag = [1, 3].map((position) => ({ position, type: "Tested", tags: ["course:1", "x"] }));
    await store.commit({ tag });
    assert.deepEqual(positions((await store.readTagged([seat])).messages), [1, 3, 4]);
    await assert.rejects(store.commit({ conditions: [{ among: [seat], after: 3 }] }), AppendConditionError);
    // Nothing of a commit that is refused is tagged.
    const refused = { tag: [{ position: 2, type: "Tested", tags: ["course:1"] }], appends: [sampleAppend("a", 1, 0)] };
    await assert.rejects(store.commit(refused), WrongExpectedVersionError);
    assert.deepEqual(positions((await store.readTagged([seat])).messages), [1, 3, 4]);
  });
}

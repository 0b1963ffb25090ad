import assert from "node:assert/strict";
import { GroupMissingError } from "../broker/errors.ts";
import type { Broker } from "../broker/port.ts";
import type { MessageRecord } from "../messages/envelope.ts";
import { type Register, sampleMessage } from "./store_suite.ts";

/** A fresh adapter for one test. */
export interface BrokerUnderTest {
  /** An empty broker. */
  readonly broker: Broker;
  /** Advances the broker's clock by some milliseconds. */
  readonly advance: (milliseconds: number) => void | Promise<void>;
  /** Closes the broker and removes its files. */
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

/** Creates a stored message at a position. */
export function sampleRecord(position: number, over: Partial<MessageRecord> = {}): MessageRecord {
  return { ...sampleMessage({ position }), category: "test", stream: "test-a", version: 0, position, ...over };
}

const positions = (messages: readonly MessageRecord[]) => messages.map((message) => message.position);

/**
 * The contract tests of a broker, for adapters of your own.
 *
 * @param register Registers one test.
 * @param open Creates an empty broker for each test.
 *
 * @example Testing an adapter
 * ```ts ignore
 * brokerSuite((name, run) => Deno.test(`my broker ${name}`, run), openMyBroker);
 * ```
 */
export function brokerSuite(register: Register, open: () => Promise<BrokerUnderTest>): void {
  const test = (name: string, run: (broker: Broker, advance: BrokerUnderTest["advance"]) => Promise<void>) =>
    register(name, async () => {
      const opened = await open();
      // Node 22 has no `using`.
      try {
        await run(opened.broker, opened.advance);
      } finally {
        await opened[Symbol.asyncDispose]();
      }
    });
  const read = async (broker: Broker, options: ReturnType<typeof from>) => [...(await broker.read(options)).messages];
  const from = (consumer: string, over: object = {}) => ({
    stream: "test",
    group: "g",
    consumer,
    count: 100,
    block: 0,
    ...over,
  });

  test("read() gives each group every message once, unchanged and in order", async (broker) => {
    const messages = [1, 2].map((position) => sampleRecord(position, { metadata: '{"a":"\\u0000é"}' }));
    // One whose payload stays in the log.
    messages.push(sampleRecord(5, { data: "" }));
    await broker.createGroup("test", "g", 0);
    await broker.createGroup("test", "h", 0);
    assert.equal(await broker.publish(messages), 3);
    assert.deepEqual(await read(broker, from("a", { count: 2 })), messages.slice(0, 2));
    assert.deepEqual(await read(broker, from("b")), messages.slice(2));
    assert.deepEqual(await read(broker, from("a")), []);
    assert.deepEqual(await read(broker, from("a", { group: "h" })), messages);
  });

  test("publish() passes over what is there already", async (broker) => {
    await broker.createGroup("test", "g", 0);
    await broker.publish([1, 2, 3].map((position) => sampleRecord(position)));
    assert.equal(await broker.publish([2, 3, 4].map((position) => sampleRecord(position))), 1);
    await broker.publish([sampleRecord(1)]);
    assert.deepEqual(positions(await read(broker, from("a"))), [1, 2, 3, 4]);
  });

  test("read() tells what was published before each message", async (broker) => {
    await broker.createGroup("test", "g", 0);
    await broker.publish([1, 2].map((position) => sampleRecord(position)));
    await broker.publish([sampleRecord(5), sampleRecord(6, { category: "more" })], new Map([["test", 2], ["more", 0]]));
    await broker.publish([5, 9].map((position) => sampleRecord(position)), undefined, new Map([["test", 2]]));
    await broker.publish([sampleRecord(12)], undefined, new Map([["test", 11]]));
    assert.deepEqual((await broker.read(from("a"))).previous, [0, 1, 2, 5, 11]);
  });

  test("publish() refuses to write to a stream that has lost its end", async (broker) => {
    await broker.publish([sampleRecord(1), sampleRecord(2, { category: "more" })]);
    await broker.publish([sampleRecord(3)], new Map([["test", 1]]));
    const late = [sampleRecord(5), sampleRecord(6, { category: "more" })];
    await assert.rejects(broker.publish(late, new Map([["test", 3], ["more", 4]])), { name: "BrokerBehindError" });
    assert.equal((await broker.describe("test")).last, 3);
    assert.equal((await broker.describe("more")).last, 2);
  });

  test("adopt() keeps the copy of the same log, and deletes that of another", async (broker) => {
    assert.equal(await broker.adopt("one"), false);
    await broker.createGroup("test", "g", 0);
    await broker.publish([sampleRecord(1)]);
    assert.equal(await broker.adopt("one"), false);
    assert.equal((await read(broker, from("a"))).length, 1);
    assert.equal(await broker.adopt("two"), true);
    assert.deepEqual(await broker.describe("test"), { last: 0, lastId: null, first: null, length: 0, groups: [] });
    await assert.rejects(read(broker, from("a")), { name: "GroupMissingError" });
  });

  test("remove() deletes a stream with its groups, and no other", async (broker) => {
    await broker.createGroup("test", "g", 0);
    await broker.publish([sampleRecord(1), sampleRecord(2, { category: "more" })]);
    await broker.remove("test");
    assert.deepEqual(await broker.describe("test"), { last: 0, lastId: null, first: null, length: 0, groups: [] });
    assert.equal((await broker.describe("more")).last, 2);
  });

  test("publish() passes over what was trimmed", async (broker) => {
    await broker.publish([1, 2].map((position) => sampleRecord(position)));
    await broker.trim("test", 2);
    assert.equal(await broker.publish([1, 2, 3].map((position) => sampleRecord(position))), 1);
    assert.deepEqual((await broker.describe("test")).first, 3);
  });

  test("publish() sorts messages into the streams of their categories", async (broker) => {
    await broker.createGroup("test", "g", 0);
    await broker.createGroup("more", "g", 0);
    await broker.publish([sampleRecord(1), sampleRecord(2, { category: "more" }), sampleRecord(3)]);
    assert.deepEqual(positions(await read(broker, from("a"))), [1, 3]);
    assert.deepEqual(positions(await read(broker, from("a", { stream: "more" }))), [2]);
  });

  test("read() waits for a message", async (broker) => {
    await broker.createGroup("test", "g", 0);
    const reading = read(broker, from("a", { block: 60_000 }));
    await new Promise((resolve) => setTimeout(resolve, 5));
    await broker.publish([sampleRecord(1)]);
    assert.deepEqual(positions(await reading), [1]);
    assert.deepEqual(await read(broker, from("a", { block: 5 })), []);
  });

  test("read() ends its wait when aborted", async (broker) => {
    await broker.createGroup("test", "g", 0);
    const abort = new AbortController();
    const reading = read(broker, from("a", { block: 60_000, signal: abort.signal }));
    abort.abort();
    assert.deepEqual(await reading, []);
  });

  test("read() and claim() say when the group is missing", async (broker) => {
    await broker.publish([sampleRecord(1)]);
    await assert.rejects(read(broker, from("a")), GroupMissingError);
    await assert.rejects(broker.claim({ ...from("a"), idle: 0 }), GroupMissingError);
  });

  test("createGroup() starts behind a position and leaves an existing group alone", async (broker) => {
    await broker.publish([1, 2, 3].map((position) => sampleRecord(position)));
    await broker.createGroup("test", "g", 1);
    assert.deepEqual(positions(await read(broker, from("a", { count: 1 }))), [2]);
    await broker.createGroup("test", "g", 0);
    assert.deepEqual(positions(await read(broker, from("a"))), [3]);
  });

  test("seek() puts a group anywhere, with nothing pending", async (broker) => {
    await broker.publish([1, 2, 3].map((position) => sampleRecord(position)));
    await broker.seek("test", "g", 0);
    assert.deepEqual(positions(await read(broker, from("a"))), [1, 2, 3]);
    await broker.seek("test", "g", 2);
    assert.deepEqual((await broker.describe("test")).groups, [
      { group: "g", delivered: 2, pending: 0, lowestPending: null },
    ]);
    assert.deepEqual(positions(await read(broker, from("a"))), [3]);
  });

  test("what a consumer that died had not acknowledged is claimed by another", async (broker, advance) => {
    await broker.createGroup("test", "g", 0);
    await broker.publish([1, 2, 3, 4].map((position) => sampleRecord(position)));
    await read(broker, from("dead", { count: 3 }));
    await broker.acknowledge("test", "g", [2]);
    assert.deepEqual(await broker.claim({ ...from("live"), idle: 60_000 }), []);
    await advance(2_100);
    await read(broker, from("live"));
    assert.deepEqual(positions(await broker.claim({ ...from("live"), idle: 2_000, count: 1 })), [1]);
    assert.deepEqual(positions(await broker.claim({ ...from("live"), idle: 2_000 })), [3]);
    assert.deepEqual(await broker.claim({ ...from("live"), idle: 60_000 }), []);
    await broker.acknowledge("test", "g", [1, 3, 4]);
    assert.deepEqual((await broker.describe("test")).groups[0].pending, 0);
  });

  test("acknowledge() is for one group, and harmless when repeated or wrong", async (broker) => {
    await broker.createGroup("test", "g", 0);
    await broker.createGroup("test", "h", 0);
    await broker.publish([1, 2].map((position) => sampleRecord(position)));
    await read(broker, from("a"));
    await read(broker, from("a", { group: "h" }));
    await broker.acknowledge("test", "g", [1, 1, 9]);
    await broker.acknowledge("test", "g", [1]);
    await broker.acknowledge("test", "none", [1]);
    await broker.acknowledge("test", "g", []);
    assert.deepEqual((await broker.describe("test")).groups, [
      { group: "g", delivered: 2, pending: 1, lowestPending: 2 },
      { group: "h", delivered: 2, pending: 2, lowestPending: 1 },
    ]);
  });

  test("trim() deletes up to a position, and describe() says what is left", async (broker) => {
    assert.deepEqual(await broker.describe("test"), { last: 0, lastId: null, first: null, length: 0, groups: [] });
    const records = [1, 2, 5].map((position) => sampleRecord(position));
    await broker.publish(records);
    const rest = { last: 5, groups: [] };
    assert.deepEqual(await broker.describe("test"), { ...rest, lastId: records[2].id, first: 1, length: 3 });
    assert.equal(await broker.trim("test", 3), 2);
    assert.deepEqual(await broker.describe("test"), { ...rest, lastId: records[2].id, first: 5, length: 1 });
    assert.equal(await broker.trim("test", 3), 0);
    assert.equal(await broker.trim("test", 5), 1);
    assert.deepEqual(await broker.describe("test"), { ...rest, lastId: null, first: null, length: 0 });
  });

  test("lasts() says how far each stream has come, also of what was trimmed", async (broker) => {
    assert.deepEqual(await broker.lasts([]), []);
    await broker.publish([1, 2, 5].map((position) => sampleRecord(position)));
    await broker.createGroup("empty", "g", 0);
    assert.deepEqual(await broker.lasts(["none", "test", "empty"]), [0, 5, 0]);
    await broker.trim("test", 5);
    assert.deepEqual(await broker.lasts(["test"]), [5]);
    await broker.remove("test");
    assert.deepEqual(await broker.lasts(["test"]), [0]);
  });

  test("many readers of one group never get the same message", async (broker) => {
    await broker.createGroup("test", "g", 0);
    await broker.publish(Array.from({ length: 200 }, (_, i) => sampleRecord(i + 1)));
    const seen: number[] = [];
    await Promise.all(Array.from({ length: 5 }, async (_, consumer) => {
      for (let found; (found = await read(broker, from(`${consumer}`, { count: 7 }))).length > 0;) {
        seen.push(...positions(found));
      }
    }));
    assert.deepEqual(seen.sort((a, b) => a - b), Array.from({ length: 200 }, (_, i) => i + 1));
  });
}

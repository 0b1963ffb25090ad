import fc from "fast-check";
import assert from "node:assert/strict";
import { REPLAY } from "../../../src/store/port.ts";
import { type Deferred, RetryQueue } from "../../../src/subscriptions/retry_queue.ts";

const message = (stream: string, position: number, over: Partial<Deferred> = {}): Deferred => ({
  group: "G",
  category: "c",
  stream,
  position,
  attempts: 0,
  dueAt: 0,
  failures: [],
  replayed: false,
  awaits: null,
  quarantined: false,
  suspect: false,
  ...over,
});

const positions = (found: readonly Deferred[]) => found.map(({ position }) => position);

Deno.test("RetryQueue is not full of what waits for an operator, until that is ten times as much", () => {
  const queue = new RetryQueue();
  for (let i = 0; i < 150_000; i++) queue.put(message(`s${i % 3}`, i, i < 3 ? { awaits: REPLAY } : {}));
  assert.ok(!queue.isFull);
  for (let i = 0; i < 100_000; i++) queue.put(message(`t${i}`, 1_000_000 + i));
  assert.ok(queue.isFull);
});

Deno.test("RetryQueue gives out what failed alone, when it is due, and what waits behind it never before", () => {
  const queue = new RetryQueue();
  queue.put(message("a", 3));
  queue.put(message("a", 1, { attempts: 1, dueAt: 100 }));
  queue.put(message("b", 2, { attempts: 2, dueAt: 50 }));
  assert.deepEqual(positions(queue.due(49, 10)), []);
  assert.deepEqual(positions(queue.due(50, 10)), [2]);
  assert.equal(queue.untilDue(40), 10);
  queue.remove("b", 2);
  assert.deepEqual(positions(queue.due(100, 10)), [1]);
  queue.remove("a", 1);
  assert.deepEqual(positions(queue.due(100, 10)), [3]);
  assert.ok(queue.blocks("a") && !queue.blocks("b"));
});

Deno.test("RetryQueue gives out what would wait for longer than it can have been told to", () => {
  const queue = new RetryQueue((attempts) => attempts * 1_000);
  queue.put(message("a", 1, { attempts: 1, dueAt: 5_000 }));
  queue.put(message("b", 2, { attempts: 2, dueAt: 5_500 }));
  assert.deepEqual(positions(queue.due(4_000, 10)), []);
  assert.equal(queue.untilDue(4_000), 1_000);
  assert.deepEqual(positions(queue.due(3_999, 10)), [1]);
  assert.ok(queue.untilDue(3_999) <= 0);
});

Deno.test("RetryQueue keeps neither what failed waiting for what did not, nor the other way round", () => {
  const queue = new RetryQueue();
  queue.put(message("a", 1, { attempts: 1, dueAt: 90 }));
  queue.put(message("b", 2, { attempts: 1, dueAt: 50 }));
  queue.put(message("c", 3, { quarantined: true }));
  queue.put(message("d", 4));
  queue.put(message("e", 5));
  assert.deepEqual(positions(queue.due(100, 10)), [3]);
  queue.remove("c", 3);
  assert.deepEqual(positions(queue.due(100, 10)), [2], "it has been due for longer");
  assert.deepEqual(positions(queue.due(100, 10, "batch")), [4, 5]);
  queue.remove("d", 4);
  queue.remove("e", 5);
  assert.deepEqual(positions(queue.due(100, 10, "batch")), [2]);
});

Deno.test("RetryQueue gives out messages that only waited together, in order of position, as many as asked for", () => {
  const queue = new RetryQueue();
  for (const [stream, position] of [["b", 2], ["a", 1], ["b", 5], ["a", 4]] as const) {
    queue.put(message(stream, position));
  }
  assert.deepEqual(positions(queue.due(0, 3)).length, 3);
  assert.deepEqual(positions(queue.due(0, 10)), [1, 2, 4, 5]);
  queue.put(message("a", 4, { quarantined: true }));
  assert.deepEqual(positions(queue.due(0, 10)), [1, 2, 5], "what may have killed somebody is tried alone");
});

Deno.test("RetryQueue never lets a message of a stream overtake an earlier one, whatever is put and removed", () => {
  const step = fc.record({
    stream: fc.constantFrom("a", "b", "c"),
    position: fc.integer({ min: 1, max: 30 }),
    attempts: fc.integer({ min: 0, max: 2 }),
    dueAt: fc.integer({ min: 0, max: 5 }),
    quarantined: fc.boolean(),
    removes: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 5 }), (steps, now) => {
    const queue = new RetryQueue();
    const model = new Map<string, Deferred>();
    for (const { removes, stream, position, ...over } of steps) {
      const key = `${stream} ${position}`;
      if (removes) model.delete(key), queue.remove(stream, position);
      else model.set(key, message(stream, position, over)), queue.put(message(stream, position, over));
    }
    assert.equal(queue.size, model.size);
    const due = queue.due(now, 10);
    const lone = due.some(({ attempts, quarantined }) => attempts > 0 || quarantined);
    assert.ok(!lone || due.length === 1);
    for (const one of due) {
      const before = [...model.values()].filter((other) =>
        other.stream === one.stream && other.position < one.position
      );
      assert.ok(before.every((other) => due.some(({ position }) => position === other.position)));
      assert.ok(one.dueAt <= now || before.length > 0);
    }
  }));
});

Deno.test("RetryQueue is full of messages, or of the texts of their errors", () => {
  const queue = new RetryQueue();
  for (let i = 0; i < 99_999; i++) queue.put(message(`${i}`, i));
  assert.ok(!queue.isFull);
  queue.put(message("last", 99_999));
  assert.ok(queue.isFull);
  queue.remove("last", 99_999);
  const failures = [{ at: 0, error: "x".repeat(1_000_000) }];
  for (let i = 0; i < 63; i++) queue.put(message(`${i}`, i, { failures }));
  // Again, in place of itself.
  for (let i = 0; i < 63; i++) queue.put(message(`${i}`, i, { failures }));
  assert.ok(!queue.isFull);
  queue.put(message("63", 63, { failures }));
  assert.ok(queue.isFull);
  queue.put(message("63", 63));
  assert.ok(!queue.isFull);
});

Deno.test("RetryQueue gives out what failed together, one a stream, where that is asked for; never what a crash may be due to", () => {
  const queue = new RetryQueue();
  for (let i = 0; i < 90; i++) queue.put(message(`s${i}`, i, { attempts: 1, dueAt: i < 68 ? 0 : 100 }));
  queue.put(message("s0", 1_000));
  queue.put(message("x", 2_000, { attempts: 1, quarantined: true, suspect: true }));
  const together = () => positions(queue.due(50, 100, "alone", new Set(), true));
  assert.deepEqual(together(), [2_000]);
  queue.remove("x", 2_000);
  assert.deepEqual(together(), Array.from({ length: 64 }, (_, i) => i));
  assert.equal(queue.due(50, 10).length, 1);
  for (let i = 0; i < 64; i++) queue.remove(`s${i}`, i);
  // What only waited has its turn as well.
  assert.deepEqual(positions(queue.due(50, 10, "batch", new Set(), true)), [1_000]);
  assert.deepEqual(together(), [64, 65, 66, 67]);
  // Of what only waited, each stream has its share.
  for (let i = 0; i < 30; i++) queue.put(message(`w${i % 3}`, 3_000 + i));
  const share = queue.due(50, 8, "batch", new Set(), true);
  assert.deepEqual(positions(share), [1_000, 3_000, 3_001, 3_002, 3_003, 3_004, 3_005, 3_006]);
});

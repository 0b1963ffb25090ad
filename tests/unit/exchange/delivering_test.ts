import assert from "node:assert/strict";
import fc from "fast-check";
import type { Delivered, Delivery } from "../../../src/exchange/courier.ts";
import { delivering } from "../../../src/exchange/delivering.ts";
import { NO_EFFECTS } from "../../../src/handling/batch.ts";
import type { BatchItem, BatchResult } from "../../../src/handling/executor.ts";
import type { GroupWorker, HandlerSession } from "../../../src/handling/runner.ts";

const NEVER = new AbortController().signal;

function item(position: number, stream: string): BatchItem {
  const record = {
    ...{ position, id: `id${position}`, type: "Tested", schemaVersion: 1, category: "c", stream, version: 0, time: 1 },
    ...{ correlationId: "c", causationId: null, data: "{}", metadata: null },
  };
  return { record, attempt: 1 };
}

/** Runs a batch whose handler has made an event of each message that it did not fail on. */
async function run(
  items: readonly BatchItem[],
  failing: ReadonlySet<number>,
  silent: ReadonlySet<number>,
  deliver: (events: readonly Delivery[]) => Promise<Delivered>,
): Promise<BatchResult> {
  const blocked = new Set<string>();
  const handled: number[] = [];
  const failures = new Map<number, { error: string; stack: null }>();
  for (const [i, { record }] of items.entries()) {
    if (blocked.has(record.stream)) continue;
    if (failing.has(i)) {
      failures.set(i, { error: "handler", stack: null });
      blocked.add(record.stream);
    } else handled.push(i);
  }
  const deliveries = handled.filter((i) => !silent.has(i)).map((i) => ({
    position: items[i].record.position,
    event: "{}",
  }));
  const result: BatchResult = { effects: { ...NO_EFFECTS, deliveries }, handled, failures, stuck: false };
  const session: HandlerSession = {
    run: () => Promise.resolve(result),
    settle() {},
    forget() {},
    abandon() {},
    close() {},
  };
  const worker: GroupWorker = { load: () => Promise.resolve(), open: () => session, replace() {} };
  const courier = { place: "there", deliver, close() {} };
  const found = await delivering(worker, () => Promise.resolve(courier), (work) => work()).open().run(items, NEVER);
  assert.notEqual(found, "apart");
  return found as BatchResult;
}

Deno.test("what does not arrive fails, and nothing of its stream passes it", async () => {
  const anyItem = fc.record({
    stream: fc.constantFrom("a", "b", "c"),
    fails: fc.boolean(),
    isSilent: fc.boolean(),
    arrives: fc.constantFrom("yes", "yes", "no", "not begun"),
  });
  await fc.assert(fc.asyncProperty(fc.array(anyItem, { minLength: 1, maxLength: 12 }), async (given) => {
    const items = given.map(({ stream }, i) => item(i + 1, stream));
    const pick = (is: (one: (typeof given)[number]) => boolean) =>
      new Set(given.flatMap((one, i) => is(one) ? [i] : []));
    let begun = 0;
    const deliver = (events: readonly Delivery[]): Promise<Delivered> => {
      const arrived = new Set<number>();
      const failed = new Map<number, string>();
      const over = new Set<string>();
      for (const { position, stream, id } of events) {
        assert.equal(id, `id${position}`);
        if (over.has(stream)) continue;
        const { arrives } = given[position - 1];
        if (arrives === "yes") arrived.add(position);
        else over.add(stream);
        if (arrives === "no") failed.set(position, "courier");
      }
      begun = arrived.size + failed.size;
      return Promise.resolve({ arrived, failed });
    };
    const result = await run(items, pick(({ fails }) => fails), pick(({ isSilent }) => isSilent), deliver).catch(
      (error) => {
        assert.equal(error.name, "StoppedError");
        assert.equal(begun, 0);
        return null;
      },
    );
    if (result === null) return;
    for (const stream of ["a", "b", "c"]) {
      let expected = "handled";
      for (const [i, { record }] of items.entries()) {
        if (record.stream !== stream) continue;
        const isUnderWay: boolean = result.underWay?.has(i) ?? false;
        const is: string = result.handled.includes(i) ? "handled" : result.failures.has(i) ? "failed" : "left";
        // Only the first of a stream that was begun and has not ended.
        assert.equal(isUnderWay, is === "left" && expected === "handled");
        if (expected === "handled") {
          const { fails, isSilent, arrives } = given[i];
          expected = fails
            ? "failed"
            : isSilent || arrives === "yes"
            ? "handled"
            : arrives === "no"
            ? "failed"
            : "left";
          assert.equal(is, expected);
        } else assert.equal(is, "left");
      }
    }
  }));
});

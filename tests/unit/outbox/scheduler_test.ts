import assert from "node:assert/strict";
import fc from "fast-check";
import { Scheduler } from "@annals/annals/outbox";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { DuplicateMessageError } from "../../../src/store/errors.ts";
import type { Due, ScheduleEntry } from "../../../src/store/port.ts";
import { VirtualTime } from "../../support/virtual_clock.ts";

const entry = (key: string, due: Due, stream = `s-${key}`, data: unknown = {}): ScheduleEntry => ({
  key,
  due,
  category: "s",
  stream,
  message: sampleMessage({ key, ...data as object }),
});

function world(seed = 1) {
  const time = new VirtualTime(seed);
  const clock = { ...time.machine().clock, advance: (milliseconds: number) => time.pass(milliseconds) };
  const store = new MemoryEventStore({ clock });
  const lates: number[] = [];
  const scheduler = new Scheduler({
    store,
    outbox: true,
    clock,
    report: (event) => event.type === "schedule.released" && void lates.push(event.lateMs),
  });
  const keys = async () => (await store.readLog({ limit: 10_000 })).map(({ data }) => JSON.parse(data).key);
  return { clock, store, scheduler, keys, lates };
}

Deno.test("what is due is appended in order of due time, at the time of its release, and no more than once", async () => {
  const { clock, store, scheduler, keys } = world();
  const start = clock.now();
  await store.commit({
    schedule: [entry("c", { after: 300 }), entry("a", { after: 100 }), entry("b", { after: 200 })],
  });
  assert.deepEqual(await keys(), []);
  await clock.advance(1_000);
  await scheduler.release();
  await scheduler.release();
  assert.deepEqual(await keys(), ["a", "b", "c"]);
  for (const { time } of await store.readLog()) assert.equal(time, start + 1_000);
  assert.equal((await store.outboxStatus()).waiting, 3);
});

Deno.test("a message that is in the log already stops no other: it leaves the schedule", async () => {
  const { clock, store, scheduler, keys } = world();
  const twice = entry("twice", { after: 0 });
  await store.commit({ schedule: [twice] });
  await clock.advance(1);
  await scheduler.release();
  // As a store over a network does.
  const commit = store.commit.bind(store);
  store.commit = async (given) => {
    const ids = new Set((await store.readLog({ limit: 10_000 })).map(({ id }) => id));
    for (const { messages } of given.appends ?? []) {
      if (messages.some(({ id }) => ids.has(id))) throw new DuplicateMessageError("A message with this id is stored");
    }
    return await commit(given);
  };
  await commit({ schedule: [...["a", "b", "c", "d"].map((key) => entry(key, { after: 0 })), twice] });
  await clock.advance(1);
  await scheduler.release();
  assert.deepEqual(await store.scheduled(), []);
  assert.deepEqual((await keys()).sort(), ["a", "b", "c", "d", "twice"]);
});

Deno.test("whoever cancels or moves a message while it is being released decides, or the release does", async () => {
  for (const change of ["cancel", "move", "replace"] as const) {
    const { clock, store, scheduler, keys } = world();
    await store.commit({ schedule: [entry("k", { after: 0 }), entry("other", { after: 0 })] });
    await clock.advance(1);
    const commit = store.commit.bind(store);
    let isFirst = true;
    store.commit = async (given) => {
      if (isFirst && given.release) {
        isFirst = false;
        const [found] = await store.scheduled({ key: "k" });
        if (change === "cancel") await commit({ unschedule: ["k"] });
        else if (change === "move") await commit({ schedule: [{ ...found, due: { after: 60_000 } }] });
        else await commit({ schedule: [entry("k", { after: 60_000 })] });
      }
      return await commit(given);
    };
    assert.equal(await scheduler.release(), 0);
    await scheduler.release();
    assert.deepEqual(await keys(), ["other"], change);
  }
});

Deno.test("other errors of the store are not swallowed", async () => {
  const { clock, store, scheduler } = world();
  await store.commit({ schedule: [entry("k", { after: 0 })] });
  await clock.advance(1);
  store.commit = () => Promise.reject(new Error("no"));
  await assert.rejects(scheduler.release(), /no/);
});

Deno.test("a scheduler notices what is due before everything else within 250 ms", async () => {
  const { clock, store, scheduler, keys, lates } = world();
  const stop = new AbortController();
  const running = scheduler.run(stop.signal);
  await store.commit({ schedule: [entry("far", { after: 3_600_000 })] });
  await clock.advance(5_000);
  await store.commit({ schedule: [entry("near", { after: 20 })] });
  await clock.advance(250);
  assert.deepEqual(await keys(), ["near"]);
  assert.ok(lates.every((late) => late <= 250));
  await clock.advance(3_600_000);
  assert.deepEqual(await keys(), ["near", "far"]);
  stop.abort();
  await clock.advance(200);
  await running;
});

Deno.test("large messages are released a few at a time, and many are all released", async () => {
  const { clock, store, scheduler, keys } = world();
  const large = Array.from({ length: 5 }, (_, i) => entry(`l${i}`, { after: 0 }, "s-l", { x: "x".repeat(3_000_000) }));
  await store.commit({ schedule: large });
  await clock.advance(1);
  await scheduler.release();
  assert.equal((await keys()).length, 2);
  while (await scheduler.release() === 0);
  await store.commit({ schedule: Array.from({ length: 2_500 }, (_, i) => entry(`m${i}`, { after: 0 }, "s-m")) });
  await clock.advance(1);
  while (await scheduler.release() === 0);
  assert.equal((await keys()).length, 2_505);
  assert.deepEqual(await store.scheduled(), []);
});

Deno.test("whatever is scheduled, replaced and cancelled: what is left comes once, never early", async () => {
  const change = fc.oneof(
    fc.record({ put: fc.constantFrom("a", "b", "c"), after: fc.integer({ min: 0, max: 500 }) }),
    fc.record({ cancel: fc.constantFrom("a", "b", "c") }),
    fc.record({ wait: fc.integer({ min: 1, max: 400 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 20 }), async (changes) => {
      const { clock, store, scheduler } = world();
      const expected = new Map<string, { due: number; n: number }>();
      const came: number[] = [];
      const take = async () => {
        while (await scheduler.release() === 0);
        const due = [...expected].filter(([, one]) => one.due <= clock.now()).sort(([, a], [, b]) => a.due - b.due);
        for (const [key, { n }] of due) {
          expected.delete(key);
          came.push(n);
        }
        const log = (await store.readLog()).map(({ data }) => JSON.parse(data).n);
        assert.deepEqual([...log].sort(), [...came].sort());
      };
      let n = 0;
      for (const one of changes) {
        if ("put" in one) {
          n++;
          await store.commit({ schedule: [entry(one.put, { after: one.after }, "s-1", { n })] });
          expected.set(one.put, { due: clock.now() + one.after, n });
        } else if ("cancel" in one) {
          await store.commit({ unschedule: [one.cancel] });
          expected.delete(one.cancel);
        } else await clock.advance(one.wait);
        await take();
      }
    }),
    { numRuns: 200 },
  );
});

import { StoreUnavailableError } from "@annals/annals/store";
import { renamedMark } from "../../../src/store/generations.ts";
import assert from "node:assert/strict";
import { leaseName } from "../../../src/groups/partition.ts";
import { NO_EFFECTS } from "../../../src/handling/batch.ts";
import { WorkerEndedError } from "../../../src/handling/errors.ts";
import { type Clock, REAL_CLOCK } from "../../../src/lib/clock.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { until } from "../../support/server.ts";

import { FAST, handled, withRunner } from "../../support/breaking_group.ts";

for (const reason of ["unsure", "unreachable"] as const) {
  Deno.test(`a message is not given up because what its handler did could not be written (${reason})`, async () => {
    let calls = 0;
    await withRunner(
      (items) => Promise.resolve(handled(items, calls++ === 0 ? [0] : [])),
      async ({ store }) => {
        store.breaks = ({ resume }) => resume?.length && store.broken < 12 ? reason : null;
        await store.put("test::a");
        await until(async () => store.broken === 12 && (await store.deferred("G")).length === 0, () => "the retry");
        assert.deepEqual(await store.deadLetters(), []);
      },
    );
  });
}

Deno.test("an attempt that ends with the process still counts, also after ends that do not", async () => {
  await withRunner(
    () => Promise.reject(new WorkerEndedError("killed", true)),
    async ({ store }) => {
      await store.put("test::a");
      await until(async () => (await store.deadLetters()).length === 1, () => "the message to be given up", 30_000);
    },
  );
});

for (
  const [isSuspect, categories] of [
    [false, ["test::a", "test::b"]],
    [true, ["test::a", "test::b"]],
    // What ends the other subscription of the group hides it no more than the other way round.
    [true, ["test::b", "test::a"]],
  ] as const
) {
  Deno.test(`a checkpoint that may still be written when a worker ends finds another fencing token, and a crash is ${isSuspect ? "kept in mind" : "none"} (${categories})`, async () => {
    let isKilled = false;
    let mayKill = false;
    await withRunner(
      (items) => {
        if (!mayKill || isKilled) return Promise.resolve(handled(items));
        isKilled = true;
        return Promise.reject(new WorkerEndedError("killed", isSuspect));
      },
      async ({ store, runner }) => {
        const checkpointOfB = async () =>
          (await store.checkpoints("G")).find(({ category }) => category === "test::b")?.position ?? 0;
        store.breaks = ({ checkpoint }) =>
          isKilled && checkpoint?.category === "test::b" && !store.broken ? "unsure" : null;
        // Its checkpoint is postponed, and written when the worker is.
        await store.put("test::b", "Passed");
        mayKill = true;
        await store.put("test::a");
        await until(() => store.broken === 1, () => "the connection to break");
        await store.put("test::b", "Passed");
        const last = await store.lastPosition();
        await until(async () => await checkpointOfB() === last, () => "the group to go on");
        await assert.rejects(store.land(), { name: "FencedError" });
        assert.equal(await checkpointOfB(), last);
        assert.ok(runner.fence!.token > 1);
        assert.equal(store.granted[1], !isSuspect);
      },
      { categories: [...categories] },
    );
  });
}

Deno.test("a group that has rested works when its lease moves, also if the clock was set back meanwhile", async () => {
  const SPEED = 500;
  let setBack = 0;
  const clock: Clock = {
    ...REAL_CLOCK,
    now: () => REAL_CLOCK.now() * SPEED - setBack,
    elapsed: () => REAL_CLOCK.elapsed() * SPEED,
    sleep: (milliseconds, signal) => REAL_CLOCK.sleep(milliseconds / SPEED, signal),
  };
  let isBroken = true;
  await withRunner(
    (items) => Promise.resolve(handled(items)),
    async ({ store, runner, seen }) => {
      for (let i = 0; i < 20; i++) await store.put("test::a");
      await until(() => seen.includes("group.rested"), () => "the group to rest");
      setBack = 3_600_000;
      isBroken = false;
      await until(() => seen.includes("batch.handled"), () => "the group to work");
      const rests = seen.filter((type) => type === "group.rested").length;
      const leases = seen.filter((type) => type === "lease.acquired").length;
      runner.yield();
      await until(() => seen.filter((type) => type === "lease.acquired").length > leases, () => "the lease");
      const before = seen.length;
      await store.put("test::a");
      await until(() => seen.slice(before).includes("batch.handled"), () => "the group to work again");
      assert.equal(seen.filter((type) => type === "group.rested").length, rests);
    },
    { clock, load: () => isBroken ? Promise.reject(new Error("broken while it loads")) : Promise.resolve() },
  );
});

Deno.test("a group that was renamed is left alone by servers that know its old name", async () => {
  let ran = 0;
  await withRunner(
    (items) => {
      ran++;
      return Promise.resolve(handled(items));
    },
    async ({ store, seen }) => {
      await store.put("test::a");
      await until(() => seen.includes("group.renamed"), () => "it to be said");
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(ran, 0);
      assert.equal(seen.filter((type) => type === "group.renamed").length, 1);
    },
    {
      clock: { ...REAL_CLOCK, sleep: (milliseconds, signal) => REAL_CLOCK.sleep(milliseconds / 100, signal) },
      prepare: async (store) => void await store.commit({ checkpoint: renamedMark("G") }),
    },
  );
});

Deno.test("a crash is not forgotten because the server is stopped in order before it goes on", async () => {
  let crashed: () => void = () => {};
  const crash = new Promise<void>((resolve) => crashed = resolve);
  await withRunner(
    () => {
      crashed();
      return Promise.reject(new WorkerEndedError("killed", true));
    },
    async ({ store, runner }) => {
      await store.put("test::a");
      await crash;
      runner.stop();
      await until(() => runner.health.state === "stopped", () => "the runner to stop");
      const granted = await store.acquireLease({
        name: leaseName("G", 0, 1),
        group: "G",
        partitions: 1,
        owner: "other",
        ttl: 1_000,
      });
      assert.equal(granted?.clean, false);
    },
  );
});

Deno.test("a message that ends its worker is given up also if the answer to a commit is lost each time", async () => {
  let [kills, lost] = [0, 0];
  await withRunner(
    () => {
      kills++;
      return Promise.reject(new WorkerEndedError("killed", true));
    },
    async ({ store }) => {
      store.breaks = ({ defer }) => {
        if (kills === lost || !defer?.some(({ attempts }) => attempts > 0)) return null;
        lost = kills;
        return "unsure";
      };
      await store.put("test::a");
      await until(async () => (await store.deadLetters()).length === 1, () => "the message to be given up", 30_000);
      assert.ok(kills <= 6, `${kills} workers ended`);
    },
    { clock: FAST },
  );
});

for (const how of ["stop", "yield"] as const) {
  Deno.test(`a crash is not forgotten because the store is away until the group is to ${how}`, async () => {
    let kills = 0;
    await withRunner(
      () => {
        kills++;
        return Promise.reject(new WorkerEndedError("killed", true));
      },
      async ({ store, runner }) => {
        let away = false;
        store.breaks = ({ defer }) => kills > 0 && defer ? (away = true, "unreachable") : null;
        await store.put("test::a");
        await until(() => away, () => "the store to be away");
        const grants = store.granted.length;
        runner[how]();
        if (how === "yield") await until(() => store.granted.length > grants, () => "the next lease");
        else {
          await until(() => runner.health.state === "stopped", () => "the runner to stop");
          await store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "you", ttl: 1_000 });
        }
        assert.equal(store.granted.at(-1), false);
      },
      { clock: FAST },
    );
  });
}

for (const times of [1, 2, 5]) {
  Deno.test(`an attempt counts once if its effects could not be written, and ${times} times nothing else`, async () => {
    let [calls, failures] = [0, 0];
    await withRunner(
      (items) => calls++ === 0 ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items)),
      async ({ store }) => {
        store.breaks = ({ resume, defer }) => {
          if (failures === times || !(failures === 0 ? resume?.length : defer?.some(({ attempts }) => attempts > 0))) {
            return null;
          }
          failures++;
          return "unreachable";
        };
        await store.put("test::a");
        await until(
          async () => failures === times && (await store.deferred("G")).length === 0,
          () => "it to be handled",
        );
        assert.deepEqual(await store.deadLetters(), []);
      },
      { clock: FAST, maxRetries: 0 },
    );
  });
}

for (const lost of [0, 1, 3]) {
  Deno.test(`an attempt does not count because the answer to the request for a lease was lost (${lost} times)`, async () => {
    let [calls, left] = [0, 0];
    await withRunner(
      (items) => Promise.resolve(handled(items, calls++ === 0 ? [0] : [])),
      async ({ store }) => {
        const acquire = store.acquireLease.bind(store);
        store.acquireLease = async (request) => {
          const granted = await acquire(request);
          if (left-- <= 0) return granted;
          throw new StoreUnavailableError("Lost the connection before it answered", "unsure", true);
        };
        store.breaks = ({ resume }) => {
          if (!resume?.length || store.broken > 0) return null;
          left = lost;
          return "unsure";
        };
        await store.put("test::a");
        await until(async () => calls > 2 && (await store.deferred("G")).length === 0, () => "it to be handled");
        assert.deepEqual(await store.deadLetters(), []);
      },
      { clock: FAST, maxRetries: 1 },
    );
  });
}

for (const reason of ["unsure", "unreachable"] as const) {
  Deno.test(`a batch that takes too long to write is tried with fewer messages (${reason})`, async () => {
    await withRunner(
      (items) =>
        Promise.resolve({
          ...handled(items),
          effects: {
            ...NO_EFFECTS,
            rows: items.map(({ record: { position } }) => ({
              projection: "P",
              key: String(position),
              row: "{}",
              position,
            })),
          },
        }),
      async ({ store }) => {
        store.breaks = ({ rows }) => (rows?.length ?? 0) > 3 ? reason : null;
        for (let i = 0; i < 100; i++) await store.put("test::a");
        await until(async () => (await store.listRows("P")).length === 100, () => "all rows");
        assert.ok(store.broken > 0);
      },
      { clock: FAST },
    );
  });
}

Deno.test("what waits behind others waits for itself after a moment without the store, not for a crash before", async () => {
  let [kills, fails] = [0, 0];
  const together: number[] = [];
  await withRunner(
    (items) => {
      if (kills++ === 0) return Promise.reject(new WorkerEndedError("killed", true));
      together.push(items.length);
      return Promise.resolve(handled(items, items[0].record.version === 1 && fails++ === 0 ? [0] : []));
    },
    async ({ store, seen }) => {
      await store.put("test::a");
      await until(() => seen.includes("batch.handled"), () => "the group to go on");
      // It finds nothing more of what was in flight.
      await new Promise((resolve) => setTimeout(resolve, 150));
      // The first one waits for its retry, and the others behind it.
      for (let i = 0; i < 60; i++) await store.put("test::a");
      let blips = 1;
      store.breaks = () => blips-- > 0 ? "unreachable" : null;
      await store.put("test::a");
      const last = await store.lastPosition();
      await until(
        async () => (await store.checkpoints("G"))[0]?.position === last && (await store.deferred("G")).length === 0,
        () => "all to be handled",
      );
      assert.ok(together.length < 30, `${together.length} batches for 62 messages`);
    },
    { clock: { ...REAL_CLOCK, random: () => 1 } },
  );
});

Deno.test("a crash is dealt with once what was in flight was tried: what waits for other code does not count", async () => {
  let kills = 0;
  await withRunner(
    (items) => kills++ === 0 ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items)),
    async ({ store, runner, seen }) => {
      await store.put("test::b", "Unknown");
      await until(async () => (await store.deferred("G")).length === 1, () => "it to wait");
      await store.put("test::a");
      await until(() => seen.includes("batch.handled"), () => "the group to go on");
      await new Promise((resolve) => setTimeout(resolve, 150));
      const grants = store.granted.length;
      runner.yield();
      await until(() => store.granted.length > grants, () => "the next lease");
      assert.equal(store.granted.at(-1), true);
    },
    { categories: ["test::a", "test::b"] },
  );
});

Deno.test("a read of the retry queue that breaks off forgets no crash", async () => {
  let kills = 0;
  const together: number[] = [];
  await withRunner(
    (items) => {
      if (kills++ === 0) return Promise.reject(new WorkerEndedError("killed", true));
      together.push(items.length);
      return Promise.resolve(handled(items));
    },
    async ({ store }) => {
      const deferred = store.deferred.bind(store);
      let failures = 0;
      store.deferred = (group, options) => {
        if (kills === 0 || options || failures++ % 2 === 0) return deferred(group, options);
        return Promise.reject(new StoreUnavailableError("away", "unreachable", true));
      };
      let blips = 3;
      store.breaks = ({ defer }) => defer?.some(({ attempts }) => attempts > 0) && blips-- > 0 ? "unreachable" : null;
      const messages = () => [sampleMessage({}, { type: "Ticked" })];
      await store.commit({
        appends: Array.from({ length: 5 }, (_, i) => ({
          category: "test::a",
          stream: `test::a-${i}`,
          expected: "any",
          publish: true,
          messages: messages(),
        })),
      });
      await until(
        async () => (await store.checkpoints("G"))[0]?.position === 5 && (await deferred("G")).length === 0,
        () => "all to be handled",
      );
      assert.deepEqual(together, [1, 1, 1, 1, 1]);
    },
    { clock: FAST },
  );
});

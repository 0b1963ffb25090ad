import { StoreUnavailableError } from "@annals/annals/store";
import assert from "node:assert/strict";
import { leaseName } from "../../../src/groups/partition.ts";
import { WorkerEndedError } from "../../../src/handling/errors.ts";
import { ModuleLoadError } from "../../../src/isolation/errors.ts";
import { REAL_CLOCK } from "../../../src/lib/clock.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { BOOM, Breaking, FAST, handled, withRunner } from "../../support/breaking_group.ts";
import { until } from "../../support/server.ts";

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("a killer that waited for newer code is given up", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1", "New");
  await withRunner((items) => Promise.resolve(handled(items)), async ({ store }) => {
    await until(async () => (await store.deferred("G")).length === 1, () => "wait");
  }, { store, keep: true });
  let kills = 0;
  await withRunner(() => {
    kills++;
    return Promise.reject(new WorkerEndedError("killed", true));
  }, async ({ store }) => {
    await until(async () => kills > 30 || (await store.deadLetters()).length === 1, () => "dead", 20_000);
    assert.ok(kills <= 5, `${kills} kills`);
  }, {
    store,
    types: ["Ticked", "Passed", "New"],
    clock: {
      ...FAST,
      now: (() => {
        let t = REAL_CLOCK.now();
        return () => t += 100_000;
      })(),
    },
  });
});

Deno.test("an attempt whose begin was written and not heard of is not charged", async () => {
  let calls = 0;
  await withRunner(
    (items) => calls++ === 0 ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items)),
    async ({ store }) => {
      store.lands = true;
      store.breaks = ({ defer }) => defer?.some((d) => d.attempts > 0) && store.broken === 0 ? "unsure" : null;
      await store.put("test::a");
      await until(async () => store.broken === 1 && (await store.deferred("G")).length === 0, () => "handled");
      assert.deepEqual((await store.deadLetters()).map((d) => d.attempts), []);
    },
    { clock: FAST, maxRetries: 0 },
  );
});

Deno.test("what newer code deferred is not charged by old code in quarantine", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1", "New");
  await store.commit({
    appends: [],
    defer: [{
      group: "G",
      category: "test::a",
      stream: "test::a-1",
      position: 1,
      attempts: 0,
      dueAt: 0,
      failures: [],
      replayed: false,
      awaits: null,
    }],
    checkpoint: { group: "G", category: "test::a", partitions: 1, partition: 0, position: 1 },
  });
  // a crash of a server before
  await store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "dead", ttl: 0 });
  await withRunner((items) => Promise.resolve(handled(items)), async ({ store }) => {
    await until(async () => (await store.deferred("G")).some((d) => d.awaits), () => "await");
  }, { store, keep: true, maxRetries: 0 });
  // another, real crash before the new code comes
  await store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "dead", ttl: 0 });
  let tries = 0;
  await withRunner((items) => {
    tries++;
    return Promise.resolve(handled(items));
  }, async ({ store }) => {
    await until(async () => (await store.deferred("G")).length === 0, () => "gone");
    assert.deepEqual([(await store.deadLetters()).map((d) => d.attempts), tries], [[], 1]);
  }, { store, types: ["Ticked", "Passed", "New"], maxRetries: 0 });
});

Deno.test("a worker that cannot be loaded charges no attempt", async () => {
  let calls = 0, failLoad = false, failed = 0;
  await withRunner((items) => Promise.resolve(handled(items, calls++ === 0 ? [0] : [])), async ({ store }) => {
    store.breaks = ({ resume }) => resume?.length && store.broken === 0 ? (failLoad = true, "unsure") : null;
    await store.put("test::a");
    await until(async () => failed > 0 && (await store.deferred("G")).length === 0, () => "done");
    assert.deepEqual((await store.deadLetters()).map((d) => d.attempts), []);
  }, {
    clock: FAST,
    maxRetries: 1,
    load: () => failLoad && failed++ === 0 ? Promise.reject(new ModuleLoadError("cannot")) : Promise.resolve(),
  });
});

Deno.test("a crash of another category's message charges no attempt that ended well", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  await store.putTo("test::b-1");
  await store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "dead", ttl: 0 });
  const runs: string[] = [];
  let kills = 0, over = false;
  const breaks = ({ resume }: any) =>
    resume?.some((r: any) => r.position === 2) && !over ? "unreachable" as const : null;
  store.breaks = breaks;
  await withRunner(async (items) => {
    const c = items.map((i) => i.record.stream).join();
    runs.push(c);
    if (c.includes("test::a")) {
      await sleep(5);
      kills++;
      throw new WorkerEndedError("killed", true);
    }
    return handled(items);
  }, async ({ store, seen }) => {
    await until(() => seen.includes("worker.replaced"), () => "crash");
    over = true;
    await until(
      async () => (await store.deadLetters()).length >= 1 && (await store.deferred("G")).length === 0,
      () => "done",
      30_000,
    );
    assert.deepEqual((await store.deadLetters()).map((d) => d.message.stream), ["test::a-1"]);
  }, { categories: ["test::b", "test::a"], clock: FAST, store, maxRetries: 0 });
});

Deno.test("a waiting batch too slow to write gets through while new messages arrive", async () => {
  let fails = 0;
  const store = new Breaking();
  await store.putTo("test::a-1");
  let n = 0;
  await withRunner((items) => {
    const i = items.findIndex((x) => x.record.position === 1);
    return Promise.resolve(i >= 0 && fails++ === 0 ? handled(items, [i]) : handled(items));
  }, async ({ store }) => {
    await until(async () => (await store.deferred("G")).length === 1, () => "deferred");
    for (let i = 0; i < 60; i++) await store.putTo("test::a-1");
    const most: number[] = [];
    store.breaks = ({ resume }) =>
      (resume?.length ?? 0) > 35 ? (most.push(resume!.length), "unreachable" as const) : null;
    let on = true;
    const traffic = (async () => {
      while (on) {
        await store.putTo(`test::a-n${n++}`).catch(() => on = false);
        await sleep(1);
      }
    })();
    await until(
      async () => store.broken >= 60 || (fails > 1 && (await store.deferred("G")).length === 0),
      () => `end, broken ${store.broken} new ${n}`,
      15_000,
    ).catch((e) => console.log(String(e)));
    on = false;
    await traffic;
    const left = (await store.deferred("G")).length;
    assert.equal(left, 0);
  }, { clock: FAST, store, delay: 0.3 });
});

Deno.test("a handover in quarantine charges no attempt that no crash ended", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  await store.putTo("test::a-2");
  let calls = 0;
  await withRunner(
    (items) => calls++ === 0 ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items)),
    async ({ store, runner }) => {
      let away = false;
      store.breaks = ({ resume }) => resume?.length ? (away = true, "unreachable") : null;
      await until(() => away, () => "away");
      runner.stop();
      await until(() => runner.health.state === "stopped", () => "stopped");
      store.breaks = () => null;
    },
    { clock: FAST, maxRetries: 0, store, keep: true },
  );
  await withRunner((items) => Promise.resolve(handled(items)), async ({ store }) => {
    await until(async () => (await store.deferred("G")).length === 0, () => "done");
    assert.deepEqual((await store.deadLetters()).map((d) => d.attempts), []);
  }, { clock: FAST, maxRetries: 0, store, owner: "other" });
});

Deno.test("a crash of X on another server is not forgotten by one that began X before", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  let calls = 0;
  const attempts: number[] = [];
  await withRunner(
    (items) => {
      attempts.push(items[0].attempt);
      return Promise.resolve(handled(items, calls++ === 0 ? [0] : []));
    },
    async ({ store, runner }) => {
      store.breaks = ({ resume }) => resume?.length ? "unreachable" : null;
      await until(() => store.broken > 0, () => "begun here");
      const lease = leaseName("G", 0, 1);
      const acquire = store.acquireLease.bind(store);
      let other: any;
      store.acquireLease = async (request) => {
        if (!other) {
          // another server gets it first, begins the attempt, and is killed by it
          other = await acquire({ ...request, owner: "other", ttl: 0 });
          const [row] = await store.deferred("G");
          store.breaks = () => null;
          await store.commit({
            fence: { lease, token: other.token },
            defer: [{ ...row, attempts: row.failures.length + 1 }],
          });
        }
        return await acquire(request);
      };
      runner.yield();
      await until(async () => other && (await store.deferred("G")).length === 0, () => "end");
      // The attempt of the other counts, but nobody knows whether the message ended it.
      assert.deepEqual([...new Set(attempts)], [1, 2, 3]);
      assert.deepEqual(await store.deadLetters(), []);
    },
    { clock: FAST, maxRetries: 1, store },
  );
});

Deno.test("a crash is counted at once, although its message waits behind a replay", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  await store.putTo("test::a-1");
  // position 1 was replayed and failed: due in an hour. Position 2 was begun, and killed its worker
  const at = Date.now();
  const base = { group: "G", category: "test::a", stream: "test::a-1", replayed: false, awaits: null };
  await store.commit({
    defer: [{ ...base, position: 2, attempts: 1, dueAt: 0, failures: [] }, {
      ...base,
      position: 1,
      attempts: 1,
      dueAt: at + 300,
      failures: [{ at, error: "boom" }],
    }],
    checkpoint: { group: "G", category: "test::a", partitions: 1, partition: 0, position: 2 },
  });
  await store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "dead", ttl: 0 });
  await withRunner((items) => Promise.resolve(handled(items)), async ({ store, runner }) => {
    await sleep(150);
    const grants = store.granted.length;
    const [, crashed] = await store.deferred("G");
    assert.deepEqual([crashed.position, crashed.attempts, crashed.failures.length], [2, 1, 1]);
    runner.yield();
    await until(() => store.granted.length > grants, () => "next");
  }, { store });
});

Deno.test("a crash before the number of workers is changed is known to each of the new ones", async () => {
  const store = new Breaking();
  await store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "dead", ttl: 0 });
  const granted = [];
  for (const p of [0, 1]) {
    granted.push(
      (await store.acquireLease({ name: leaseName("G", p, 2), group: "G", partitions: 2, owner: "me", ttl: 1000 }))!
        .clean,
    );
  }
  await store.close();
  assert.deepEqual(granted, [false, false]);
});

Deno.test("a message that ends its worker is given up also if another category's handlers hang", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  for (let i = 0; i < 12; i++) await store.putTo(`test::b-${i}`);
  let kills = 0, stucks = 0;
  await withRunner(async (items) => {
    await sleep(2);
    if (items[0].record.stream === "test::a-1") {
      kills++;
      throw new WorkerEndedError("killed", true);
    }
    stucks++;
    return { handled: [], failures: new Map([[0, BOOM]]), effects: handled([]).effects, stuck: true };
  }, async ({ store }) => {
    await until(
      async () => kills > 40 || (await store.deadLetters()).some((d) => d.message.stream === "test::a-1"),
      () => `kills ${kills}`,
      15_000,
    );
    assert.ok(kills <= 5, `${kills} kills`);
  }, {
    categories: ["test::a", "test::b"],
    store,
    clock: {
      ...FAST,
      now: (() => {
        let t = REAL_CLOCK.now();
        return () => t += 20_000;
      })(),
    },
  });
});

Deno.test("a killer that waited for newer code blocks nobody", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1", "New");
  await withRunner((items) => Promise.resolve(handled(items)), async ({ store }) => {
    await until(async () => (await store.deferred("G")).length === 1, () => "wait");
  }, { store, keep: true });
  await store.putTo("test::a-2");
  const runs: string[] = [];
  await withRunner((items) => {
    runs.push(items.map((i) => i.record.stream).join());
    return items[0].record.type === "New"
      ? Promise.reject(new WorkerEndedError("killed", true))
      : Promise.resolve(handled(items));
  }, async () => {
    await until(() => runs.length > 30 || runs.includes("test::a-2"), () => "x", 20_000);
    assert.ok(runs.includes("test::a-2"));
  }, {
    store,
    types: ["Ticked", "Passed", "New"],
    clock: {
      ...FAST,
      now: (() => {
        let t = REAL_CLOCK.now();
        return () => t += 100_000;
      })(),
    },
  });
});

Deno.test("a single retry that cannot be written does not keep other retries waiting", async () => {
  const tried = new Set<number>();
  await withRunner(
    (items) =>
      Promise.resolve(handled(
        items,
        items.map((_, i) => i).filter((i) =>
          !tried.has(items[i].record.position) && tried.add(items[i].record.position)
        ),
      )),
    async ({ store }) => {
      store.breaks = ({ resume }) => resume?.some(({ position }) => position === 1) ? "unreachable" : null;
      await store.putTo("test::a-1");
      await until(async () => (await store.deferred("G")).length === 1, () => "1");
      await store.putTo("test::a-2");
      await until(
        async () => store.broken > 60 || (tried.has(2) && !(await store.deferred("G")).some((d) => d.position === 2)),
        () => "2",
        10_000,
      );
      assert.ok(
        !(await store.deferred("G")).some((d) => d.position === 2),
      );
    },
    { clock: FAST },
  );
});

Deno.test("a lease is not taken for one's own if another layout crashed in between", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  const sizes: number[] = [];
  await withRunner((items) => {
    sizes.push(items.length);
    return Promise.resolve(handled(items));
  }, async ({ store, runner, seen }) => {
    await until(() => seen.includes("batch.handled"), () => "run");
    await sleep(200);
    const release = store.releaseLease.bind(store), acquire = store.acquireLease.bind(store);
    let [lostRelease, lostAcquire, done] = [1, 1, false];
    store.releaseLease = async (f, c) => {
      if (lostRelease-- > 0) throw new StoreUnavailableError("away", "unreachable", true);
      return await release(f, c);
    };
    store.acquireLease = async (request) => {
      if (lostAcquire-- > 0) {
        // it never arrived; meanwhile the lease expires, and a server with two workers takes over, begins messages 2 to 4, and crashes
        const now = Date.now;
        Date.now = () => now() + 10_000;
        await acquire({
          name: leaseName("G", 0, 2),
          group: "G",
          partitions: 2,
          owner: "other",
          ttl: -20_000,
        });
        Date.now = now;
        for (let i = 2; i <= 4; i++) await store.putTo(`test::a-${i}`);
        done = true;
        throw new StoreUnavailableError("away", "unsure", true);
      }
      return await acquire(request);
    };
    runner.yield();
    await until(
      async () => done && (await store.checkpoints("G")).some((c) => c.partitions === 1 && c.position === 4),
      () => "go on",
    );
    assert.deepEqual(sizes, [1, 1, 1, 1]);
  }, { store });
});

Deno.test("a handler that hangs charges no attempt of another category", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  await store.putTo("test::b-1");
  await store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "dead", ttl: 0 });
  let over = false, hung = 0;
  store.breaks = ({ resume }) => resume?.some((r) => r.position === 2) && !over ? "unreachable" : null;
  await withRunner(async (items) => {
    if (items[0].record.stream === "test::a-1" && hung++ === 0) {
      await sleep(5);
      return { handled: [], failures: new Map([[0, BOOM]]), effects: handled([]).effects, stuck: true };
    }
    return handled(items);
  }, async ({ store, runner }) => {
    await until(() => runner.health.restarts > 0, () => "stuck");
    over = true;
    await until(async () => (await store.deferred("G")).length === 0, () => "all");
    assert.ok(!(await store.deadLetters()).some((d) => d.message.stream === "test::b-1"));
  }, { categories: ["test::b", "test::a"], store, maxRetries: 0, clock: FAST });
});

Deno.test("a batch whose deferred part is all there is to write is cut too", async () => {
  const store = new Breaking();
  await store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "dead", ttl: 0 });
  for (let i = 0; i < 50; i++) await store.putTo(`test::a-${i}`);
  store.breaks = ({ defer }) => (defer?.length ?? 0) > 10 ? "unreachable" : null;
  let n = 0;
  await withRunner((items) => {
    n += items.length;
    return Promise.resolve(handled(items));
  }, async ({ store }) => {
    await until(() => n >= 50 || store.broken > 60, () => "x");
    assert.equal(n, 50);
  }, { store, clock: FAST });
});

Deno.test("a message is not given up because servers are stopped while they handle it, unless that never ends", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  const lease = leaseName("G", 0, 1);
  /** Another server that takes over, begins the attempt, and is heard of no more. */
  const lose = async () => {
    const granted = (await store.acquireLease({ name: lease, group: "G", partitions: 1, owner: "you", ttl: -1 }))!;
    const [row] = await store.deferred("G");
    const waiting = { group: "G", category: "test::a", stream: "test::a-1", position: 1, dueAt: 0, replayed: false };
    const attempts = (row?.attempts ?? 0) + 1;
    const failures = Array.from({ length: attempts - 1 }, () => ({ at: 0, error: "lost", lost: true as const }));
    await store.commit({
      fence: { lease, token: granted.token },
      defer: [{ ...waiting, awaits: null, attempts, failures }],
      checkpoint: { group: "G", category: "test::a", partition: 0, partitions: 1, position: 1 },
    });
  };
  for (let i = 0; i < 10; i++) await lose();
  const attempts: number[] = [];
  await withRunner((items) => {
    attempts.push(items[0].attempt);
    return Promise.resolve(handled(items, [0]));
  }, async ({ store }) => {
    await until(async () => (await store.deadLetters()).length === 1, () => "it to be given up for its own failures");
  }, { clock: FAST, store, keep: true, maxRetries: 1 });
  assert.deepEqual(attempts, [11, 12]);
  const [dead] = await store.deadLetters();
  assert.deepEqual(dead.attempts.map(({ lost }) => lost ?? false), [...Array(10).fill(true), false, false]);
  assert.match(
    dead.attempts[9].error,
    /^The server that handled this message ended, was stopped for seconds, or was cut off/,
  );
  await store.replayDeadLetters([dead.id]);
  for (let i = 0; i < 12; i++) await lose();
  await withRunner((items) => Promise.resolve(handled(items)), async ({ store }) => {
    await until(
      async () => (await store.deadLetters()).length === 1,
      () => "it to be given up, as it may end machines",
    );
  }, { clock: FAST, store, maxRetries: 1 });
});

const dead = (store: Breaking) =>
  store.acquireLease({ name: leaseName("G", 0, 1), group: "G", partitions: 1, owner: "dead", ttl: 0 });

for (const reason of ["unsure", "unreachable"] as const) {
  Deno.test(`messages whose effects can never be written after a crash do not keep new ones waiting (${reason})`, async () => {
    const store = new Breaking();
    for (const n of [1, 2, 3]) await store.putTo(`test::a-${n}`);
    await dead(store);
    store.breaks = ({ resume }) => resume?.some(({ position }) => position <= 3) ? reason : null;
    const runs = new Set<number>();
    await withRunner((items) => {
      for (const { record } of items) runs.add(record.position);
      return Promise.resolve(handled(items));
    }, async ({ store }) => {
      await until(() => runs.size === 3, () => "those of the crash");
      await store.putTo("test::a-99");
      await until(() => runs.has(4), () => "the new one", 10_000);
    }, { store, clock: FAST });
  });
}

Deno.test("what was lost with a server is not charged because another message ends the worker then", async () => {
  const store = new Breaking();
  for (const n of [1, 2]) await store.putTo(`test::a-${n}`);
  const row = (position: number) => ({
    ...{ group: "G", category: "test::a", stream: `test::a-${position}`, position, attempts: 1, dueAt: 0 },
    ...{ failures: [], replayed: false, awaits: null },
  });
  const checkpoint = { group: "G", category: "test::a", partitions: 1, partition: 0, position: 2 };
  await store.commit({ defer: [row(1), row(2)], checkpoint });
  await dead(store);
  const runs: number[] = [];
  await withRunner((items) => {
    runs.push(...items.map(({ record }) => record.position));
    return runs.at(-1) === 2 ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items));
  }, async ({ store }) => {
    await until(async () => (await store.deferred("G")).length === 0, () => "the end");
    assert.deepEqual((await store.deadLetters()).map(({ message }) => message.position), [2]);
    const [{ attempts }] = await store.deadLetters();
    assert.deepEqual(attempts.map(({ lost }) => lost ?? false), [true, false]);
    assert.match(attempts[1].error, /^The worker ended while it handled this message: killed$/);
    assert.ok(runs.includes(1));
  }, { store, clock: FAST, maxRetries: 0 });
});

Deno.test("a crash is not taken back because the next attempt cannot be counted before the server stops", async () => {
  const store = new Breaking();
  await store.putTo("test::a-1");
  let kills = 0;
  const kill = () => {
    kills++;
    return Promise.reject(new WorkerEndedError("killed", true));
  };
  for (let round = 0; round < 6 && (await store.deadLetters()).length === 0; round++) {
    let isBroken = false;
    const before = kills;
    await withRunner(kill, async ({ store, runner }) => {
      store.breaks = ({ defer }) => {
        if (
          isBroken || kills === before ||
          !defer?.some(({ attempts, failures }) => failures.length > 0 && attempts > failures.length)
        ) {
          return null;
        }
        isBroken = true;
        runner.stop();
        return "unreachable";
      };
      await until(async () => isBroken || (await store.deadLetters()).length > 0, () => "the next attempt");
      await until(() => !isBroken || runner.health.state === "stopped", () => "the end");
    }, { store, keep: true, clock: FAST, maxRetries: 1, owner: `p${round}` });
  }
  assert.equal((await store.deadLetters()).length, 1);
  assert.ok(kills <= 4, `${kills} kills`);
});

Deno.test("handing over does not make batches smaller", async () => {
  const store = new Breaking();
  const sizes: number[] = [];
  await withRunner(async (items) => {
    sizes.push(items.length);
    await sleep(5);
    return handled(items);
  }, async ({ store, runner }) => {
    for (let round = 0; round < 8; round++) {
      for (const n of Array(16).keys()) for (const c of ["a", "b"]) await store.putTo(`test::${c}-${n}`);
      await until(() => runner.health.state === "running", () => "running");
      runner.yield();
      await sleep(20);
    }
    await store.commit({
      appends: Array.from({ length: 64 }, (_, n) => ({
        ...{ category: "test::a", stream: `test::a-${n}`, expected: "any" as const, publish: true },
        messages: [sampleMessage({}, { type: "Ticked" })],
      })),
    });
    await until(() => sizes.at(-1)! >= 32, () => `a large batch: ${sizes}`);
  }, { store, categories: ["test::a", "test::b"], perTick: 64, clock: FAST });
});

import { MemoryEventStore } from "@annals/annals/store/memory";
import { type Commit, StoreUnavailableError } from "@annals/annals/store";
import assert from "node:assert/strict";
import { GroupRunner } from "../../../src/engine/group_runner.ts";
import { leaseName } from "../../../src/groups/partition.ts";
import { NO_EFFECTS } from "../../../src/handling/batch.ts";
import type { BatchItem, BatchResult } from "../../../src/handling/executor.ts";
import { WorkerEndedError } from "../../../src/handling/errors.ts";
import { type Clock, REAL_CLOCK } from "../../../src/lib/clock.ts";
import type { CommitResult, GrantedLease, LeaseRequest } from "../../../src/store/port.ts";
import { SharedRowError } from "../../../src/subscriptions/errors.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { until } from "../../support/server.ts";

const BOOM = { error: "boom", stack: null };

/** A store whose connection may break under a commit. */
class Breaking extends MemoryEventStore {
  /** Chooses the commits whose answer is lost, and why. */
  breaks: (commit: Commit) => "unsure" | "unreachable" | null = () => null;
  /** Commits whose answer was lost, still under way. */
  readonly late: Commit[] = [];
  /** For each lease that was granted, whether the one before it was given back in order. */
  readonly granted: boolean[] = [];
  broken = 0;

  override async acquireLease(request: LeaseRequest): Promise<GrantedLease | null> {
    const found = await super.acquireLease(request);
    if (found) this.granted.push(found.clean);
    return found;
  }

  override commit(commit: Commit): Promise<CommitResult> {
    const reason = this.breaks(commit);
    if (reason === null) return super.commit(commit);
    this.broken++;
    this.late.push(commit);
    return Promise.reject(new StoreUnavailableError("Lost the connection before it answered", reason, true));
  }

  /** Lets the first of them happen after all. */
  async land(): Promise<void> {
    await super.commit(this.late.shift()!);
  }

  async put(category: string, type = "Ticked"): Promise<void> {
    const messages = [sampleMessage({}, { type })];
    await super.commit({
      appends: [{ category, stream: `${category}-1`, expected: "any", publish: true, messages }],
    });
  }
}

interface Ground {
  readonly store: Breaking;
  readonly runner: GroupRunner;
  readonly seen: string[];
}

/** A group on a store that breaks, run by what the test makes of its batches. */
async function withRunner(
  handle: (items: readonly BatchItem[]) => Promise<BatchResult>,
  test: (ground: Ground) => Promise<void>,
  { categories = ["test::a"], clock = REAL_CLOCK }: { categories?: string[]; clock?: Clock } = {},
): Promise<void> {
  const store = new Breaking();
  const seen: string[] = [];
  const runner = new GroupRunner({
    store,
    broker: null,
    owner: "me",
    group: {
      name: "G",
      categories,
      handles: new Set(["Ticked"]),
      types: new Map([["Ticked", 1], ["Passed", 1]]),
    },
    partition: 0,
    partitions: 1,
    settings: {
      messagesPerTick: 100,
      blockingTimeoutMs: 20,
      maxRetries: 3,
      retryDelaySeconds: 0.01,
      enableDlq: true,
      handlerTimeoutSeconds: 30,
    },
    outbox: true,
    worker: {
      load: () => Promise.resolve(),
      open: () => ({ run: handle, settle: () => {}, abandon: () => {}, close: () => {} }),
      replace: () => {},
    },
    replays: () => Promise.resolve([]),
    last: () => store.lastPosition(),
    turn: async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return true;
    },
    clock,
    report: ({ type }) => void seen.push(type),
  });
  const running = runner.run();
  await runner.ready;
  try {
    await test({ store, runner, seen });
  } finally {
    runner.stop();
    await running;
    await store.close();
  }
}

function handled(items: readonly BatchItem[], failing: readonly number[] = []): BatchResult {
  const all = items.map((_, i) => i);
  return {
    handled: all.filter((i) => !failing.includes(i)),
    failures: new Map(failing.map((i) => [i, BOOM])),
    effects: NO_EFFECTS,
    stuck: false,
  };
}

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

for (const isSuspect of [false, true]) {
  Deno.test(`a checkpoint that may still be written when a worker ends finds another fencing token, and a crash is ${isSuspect ? "kept in mind" : "none"}`, async () => {
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
      { categories: ["test::a", "test::b"] },
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
    (items) => isBroken ? Promise.reject(new WorkerEndedError("killed", true)) : Promise.resolve(handled(items)),
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
    { clock },
  );
});

Deno.test("a row that several workers would change costs no attempt: the group goes on where it was", async () => {
  let isMended = false;
  await withRunner(
    (items) => isMended ? Promise.resolve(handled(items)) : Promise.reject(new SharedRowError("several workers")),
    async ({ store, seen }) => {
      for (let i = 0; i < 5; i++) await store.put("test::a");
      await until(() => seen.filter((type) => type === "lease.acquired").length > 5, () => "the group to try again");
      isMended = true;
      await until(() => seen.includes("batch.handled"), () => "the group to go on");
      assert.deepEqual(await store.deadLetters(), []);
    },
    { clock: { ...REAL_CLOCK, sleep: (milliseconds, signal) => REAL_CLOCK.sleep(milliseconds / 100, signal) } },
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

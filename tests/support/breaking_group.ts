import { MemoryEventStore } from "@annals/annals/store/memory";
import { type Commit, StoreUnavailableError } from "@annals/annals/store";
import { GroupRunner } from "../../src/engine/group_runner.ts";
import { retryForever } from "../../src/engine/retry.ts";
import { NO_EFFECTS } from "../../src/handling/batch.ts";
import type { BatchItem, BatchResult } from "../../src/handling/executor.ts";
import { type Clock, REAL_CLOCK } from "../../src/lib/clock.ts";
import type { CommitResult, GrantedLease, LeaseRequest } from "../../src/store/port.ts";
import { sampleMessage } from "../../src/testing/store_suite.ts";

/** Time in which pauses take a hundredth. */
export const FAST: Clock = {
  ...REAL_CLOCK,
  sleep: (milliseconds, signal) => REAL_CLOCK.sleep(milliseconds / 100, signal),
};

export const BOOM = { error: "boom", stack: null };

/** A store whose connection may break under a commit. */
export class Breaking extends MemoryEventStore {
  /** Chooses the commits whose answer is lost, and why. */
  breaks: (commit: Commit) => "unsure" | "unreachable" | null = () => null;
  /** Commits whose answer was lost, still under way. */
  readonly late: Commit[] = [];
  /** For each lease that was granted, whether the one before it was given back in order. */
  readonly granted: boolean[] = [];
  broken = 0;
  /** Whether commits whose answer is lost happen all the same. */
  lands = false;

  override async acquireLease(request: LeaseRequest): Promise<GrantedLease | null> {
    const found = await super.acquireLease(request);
    if (found) this.granted.push(found.clean);
    return found;
  }

  override commit(commit: Commit): Promise<CommitResult> {
    const reason = this.breaks(commit);
    if (reason === null) return super.commit(commit);
    this.broken++;
    if (this.lands) {
      return super.commit(commit).then(() =>
        Promise.reject(new StoreUnavailableError("Lost the answer", reason, true))
      );
    }
    this.late.push(commit);
    return Promise.reject(new StoreUnavailableError("Lost the connection before it answered", reason, true));
  }

  /** Appends a message to a stream, like `test::a-1`. */
  async putTo(stream: string, type = "Ticked"): Promise<void> {
    const [category] = stream.split("-");
    const messages = [sampleMessage({}, { type })];
    await super.commit({ appends: [{ category, stream, expected: "any", publish: true, messages }] });
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

export interface Ground {
  readonly store: Breaking;
  readonly runner: GroupRunner;
  readonly seen: string[];
}

/** A group on a store that breaks, run by what the test makes of its batches. */
export async function withRunner(
  handle: (items: readonly BatchItem[]) => Promise<BatchResult>,
  test: (ground: Ground) => Promise<void>,
  {
    categories = ["test::a"],
    clock = REAL_CLOCK,
    maxRetries = 3,
    prepare = async () => {},
    isReady = true,
    store = new Breaking(),
    types = ["Ticked", "Passed"],
    load = () => Promise.resolve(),
    owner = "me",
    keep = false,
    perTick = 100,
    delay = 0.01,
  }: {
    prepare?: (store: Breaking) => Promise<void>;
    isReady?: boolean;
    store?: Breaking;
    /** The types that the code knows; it handles all but `Passed`. */
    types?: readonly string[];
    load?: () => Promise<void>;
    owner?: string;
    /** Whether the store is still needed. */
    keep?: boolean;
    perTick?: number;
    delay?: number;
    categories?: string[];
    clock?: Clock;
    maxRetries?: number;
  } = {},
): Promise<void> {
  const seen: string[] = [];
  await prepare(store);
  const runner = new GroupRunner({
    store,
    broker: null,
    owner,
    group: {
      name: "G",
      categories,
      handles: new Set(types.filter((type) => type !== "Passed")),
      types: new Map(types.map((type) => [type, 1])),
    },
    partition: 0,
    partitions: 1,
    settings: {
      messagesPerTick: perTick,
      blockingTimeoutMs: 20,
      maxRetries,
      retryDelaySeconds: delay,
      enableDlq: true,
      handlerTimeoutSeconds: 30,
    },
    outbox: true,
    worker: {
      load,
      open: () => ({ run: handle, settle: () => {}, forget: () => {}, abandon: () => {}, close: () => {} }),
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
  const stopped = new AbortController();
  const running = retryForever(() => runner.run(), { clock: FAST, signal: stopped.signal, report: () => {} });
  if (isReady) await runner.ready;
  try {
    await test({ store, runner, seen });
  } finally {
    runner.stop();
    await running;
    stopped.abort();
    if (!keep) await store.close();
  }
}

export function handled(items: readonly BatchItem[], failing: readonly number[] = []): BatchResult {
  const all = items.map((_, i) => i);
  return {
    handled: all.filter((i) => !failing.includes(i)),
    failures: new Map(failing.map((i) => [i, BOOM])),
    effects: NO_EFFECTS,
    stuck: false,
  };
}

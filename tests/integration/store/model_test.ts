import type { Commit, EventStore, ExpectedVersion } from "@annals/annals/store";
import assert from "node:assert/strict";
import fc from "fast-check";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { STORES } from "../../support/stores.ts";

/** One thing that a writer may do. */
interface Step {
  readonly appends: readonly {
    readonly stream: number;
    readonly count: number;
    readonly expected: ExpectedVersion | "right";
  }[];
  readonly fence: "none" | "held" | "lost";
  readonly checkpoint: number | null;
  readonly row: number | null;
  readonly once: number | null;
}

const step: fc.Arbitrary<Step> = fc.record({
  appends: fc.uniqueArray(
    fc.record({
      stream: fc.integer({ min: 0, max: 3 }),
      count: fc.integer({ min: 0, max: 3 }),
      expected: fc.oneof(
        fc.constantFrom<ExpectedVersion | "right">("right", "any", "none", "exists"),
        fc.integer({ min: 0, max: 4 }),
      ),
    }),
    { maxLength: 3, selector: (append) => append.stream },
  ),
  fence: fc.constantFrom("none", "none", "held", "lost"),
  checkpoint: fc.option(fc.nat(100)),
  row: fc.option(fc.nat(2)),
  once: fc.option(fc.nat(2), { freq: 4 }),
});

/** The store as plain arrays and maps: what any adapter has to agree with. */
class Model {
  readonly log: { stream: string; version: number; data: string }[] = [];
  readonly outbox: number[] = [];
  readonly rows = new Map<string, string>();
  readonly once = new Map<string, string>();
  checkpoint: number | undefined;

  version(stream: string): number {
    return this.log.filter((message) => message.stream === stream).length - 1;
  }

  /** What the commit comes to: the name of its error, or nothing. */
  apply(commit: Commit, fenceHeld: boolean): string | null {
    if (commit.fence && !fenceHeld) return "FencedError";
    if (commit.once && this.once.has(commit.once.key)) return null;
    for (const { stream, expected } of commit.appends ?? []) {
      const actual = this.version(stream);
      const fits = expected === "any" || (expected === "none" && actual < 0) ||
        (expected === "exists" && actual >= 0) ||
        expected === actual;
      if (!fits) return "WrongExpectedVersionError";
    }
    for (const { stream, messages, publish } of commit.appends ?? []) {
      for (const { data } of messages) {
        this.log.push({ stream, version: this.version(stream) + 1, data });
        if (publish) this.outbox.push(this.log.length);
      }
    }
    if (commit.checkpoint) this.checkpoint = commit.checkpoint.position;
    for (const { key, row } of commit.rows ?? []) this.rows.set(key, row!);
    if (commit.once) this.once.set(commit.once.key, commit.once.value);
    return null;
  }
}

async function run(store: EventStore, batches: readonly (readonly Step[])[]): Promise<void> {
  const model = new Model();
  const request = { name: "l", group: "g", partitions: 1, owner: "o", ttl: 1e9 };
  const lost = (await store.acquireLease(request))!;
  await store.releaseLease({ lease: "l", token: lost.token }, true);
  const held = (await store.acquireLease(request))!;
  let n = 0;
  for (const batch of batches) {
    // All of a batch at once: they share a transaction, and each has its own fate, in the order they came.
    const expected: (string | null)[] = [];
    const commits = batch.map((step): Commit => {
      const commit: Commit = {
        appends: step.appends.map(({ stream, count, expected }) => ({
          stream: `s-${stream}`,
          category: "s",
          expected: expected === "right"
            ? model.version(`s-${stream}`) < 0 ? "none" : model.version(`s-${stream}`)
            : expected,
          publish: stream % 2 === 0,
          messages: Array.from({ length: count }, () => sampleMessage({ n: n++ })),
        })),
        ...(step.fence !== "none" && { fence: { lease: "l", token: (step.fence === "held" ? held : lost).token } }),
        ...(step.checkpoint !== null && {
          checkpoint: { group: "g", category: "s", partitions: 1, partition: 0, position: step.checkpoint },
        }),
        ...(step.row !== null && { rows: [{ projection: "p", key: `${step.row}`, row: `{"n":${n}}`, position: n }] }),
        ...(step.once !== null && { once: { key: `k${step.once}`, value: `${n}` } }),
      };
      expected.push(model.apply(commit, step.fence === "held"));
      return commit;
    });
    const results = await Promise.allSettled(commits.map((commit) => store.commit(commit)));
    assert.deepEqual(results.map((result) => result.status === "fulfilled" ? null : result.reason.name), expected);
  }
  const log = await store.readLog();
  assert.deepEqual(log.map(({ position }) => position), model.log.map((_, i) => i + 1), "positions have gaps");
  assert.deepEqual(log.map(({ stream, version, data }) => ({ stream, version, data })), model.log);
  for (let s = 0; s < 4; s++) {
    const own = (await store.readStream(`s-${s}`)).map(({ data }) => data);
    assert.deepEqual(own, model.log.filter(({ stream }) => stream === `s-${s}`).map(({ data }) => data));
  }
  assert.equal((await store.outboxStatus()).waiting, model.outbox.length);
  assert.equal((await store.checkpoints("g"))[0]?.position, model.checkpoint);
  assert.deepEqual(new Map((await store.listRows("p")).map(({ key, row }) => [key, row])), model.rows);
}

for (const [kind, open] of Object.entries(STORES)) {
  Deno.test(`${kind} store: random commits by several writers come to what a plain model says`, async () => {
    const batches = fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(batches, async (batches) => {
        await using opened = await open();
        await run(opened.store, batches);
      }),
      { numRuns: kind === "memory" ? 300 : 60 },
    );
  });
}

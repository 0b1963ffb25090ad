import fc from "fast-check";
import assert from "node:assert/strict";
import { type Fate, GroupCommit } from "../../../src/lib/group_commit.ts";

Deno.test("GroupCommit runs what is submitted meanwhile as one batch, in order, and a lone job at once", async () => {
  const batches: number[][] = [];
  let finish = (): void => {};
  const commits = new GroupCommit<number, number>(async (jobs) => {
    batches.push(jobs);
    if (batches.length === 1) await new Promise<void>((resolve) => finish = resolve);
    return jobs.map((job) => ({ ok: job * 2 }));
  });
  const first = commits.submit(1);
  while (batches.length === 0) await new Promise((resolve) => setTimeout(resolve));
  const rest = [2, 3, 4].map((job) => commits.submit(job));
  finish();
  assert.deepEqual(await Promise.all([first, ...rest]), [2, 4, 6, 8]);
  assert.deepEqual(batches, [[1], [2, 3, 4]]);
});

Deno.test("GroupCommit gives each job its own fate, and all of a batch the error that ended it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom("ok", "error", "throw"), { maxLength: 30 }), async (plan) => {
      const commits = new GroupCommit<string, string>((jobs): Promise<Fate<string>[]> => {
        if (jobs.includes("throw")) return Promise.reject(new Error("all"));
        return Promise.resolve(jobs.map((job) => job === "ok" ? { ok: job } : { error: new Error("one") }));
      }, 3);
      const settled = await Promise.allSettled(plan.map((job) => commits.submit(job)));
      await commits.idle();
      settled.forEach((result, i) => {
        const batch = plan.slice(i - i % 3, i - i % 3 + 3);
        const expected = batch.includes("throw") ? "all" : plan[i] === "ok" ? "ok" : "one";
        assert.equal(result.status === "fulfilled" ? result.value : result.reason.message, expected);
      });
    }),
  );
});

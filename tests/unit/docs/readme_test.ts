import assert from "node:assert/strict";

Deno.test("the README shows the example as it is", async () => {
  const read = (path: string) => Deno.readTextFile(new URL(`../../../${path}`, import.meta.url));
  const [, shown] = /```ts\n(.*?)```/s.exec(await read("README.md"))!;
  assert.equal(shown, await read("examples/bank/bank.ts"));
});

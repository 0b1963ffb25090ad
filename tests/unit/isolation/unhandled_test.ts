import assert from "node:assert/strict";
import { Unhandled } from "../../../src/isolation/unhandled.ts";

function listening() {
  const late: [string | null, number | null, unknown][] = [];
  return { late, unhandled: new Unhandled((...found) => void late.push(found)) };
}

/** A turn of its own, as each batch has one. */
const apart = <T>(work: () => Promise<T>): Promise<T> => new Promise((resolve) => setTimeout(() => resolve(work())));

Deno.test("Unhandled lays a rejection to the message in whose handling its promise was made", async () => {
  const { late, unhandled } = listening();
  const [one, other] = [unhandled.watch("one"), unhandled.watch("other")];
  await Promise.all([
    apart(async () => {
      one.started(7);
      await new Promise((resolve) => setTimeout(resolve, 1));
      unhandled.add("mine");
    }),
    apart(async () => {
      other.started(8);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }),
  ]);
  assert.equal(one.takeStray(), "mine");
  assert.equal(one.takeStray(), undefined, "taken once");
  assert.equal(other.takeStray(), undefined);
  assert.deepEqual(late, []);
});

Deno.test("Unhandled tells of what comes when its message is no longer in hand, with the message", async () => {
  const { late, unhandled } = listening();
  const watch = unhandled.watch("one");
  await apart(async () => {
    watch.started(7);
    const forgotten = new Promise<void>((resolve) =>
      setTimeout(() => {
        unhandled.add("late");
        resolve();
      }, 5)
    );
    watch.started(0);
    await forgotten;
  });
  assert.equal(watch.takeStray(), undefined);
  assert.deepEqual(late, [["one", 7, "late"]]);
});

Deno.test("Unhandled lays what has no message to the only one in hand, and to nobody when there are several", async () => {
  const { late, unhandled } = listening();
  const [one, other] = [unhandled.watch("one"), unhandled.watch("other")];
  await apart(() => Promise.resolve(one.started(1)));
  unhandled.add("whose");
  assert.equal(one.takeStray(), "whose");
  await apart(() => Promise.resolve(other.started(2)));
  unhandled.add("nobody's");
  assert.deepEqual(late, [[null, null, "nobody's"]]);
});

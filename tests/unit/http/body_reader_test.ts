import assert from "node:assert/strict";
import { BodyReader } from "../../../src/http/body_reader.ts";
import { sleep } from "../../../src/lib/sleep.ts";

/** A request that sends some bytes, and then nothing until it is told to end. */
function stalled(bytes: number, end: Promise<void>): Request {
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      controller.enqueue(new Uint8Array(bytes).fill(0x61));
      void end.then(() => controller.close()).catch(() => {});
    },
  });
  return new Request("http://localhost", { method: "POST", body });
}

Deno.test("senders that stall with all that may be held keep nobody out for long", async () => {
  const bodies = new BodyReader(1_000);
  const end = Promise.withResolvers<void>();
  const slow = Array.from({ length: 4 }, () => bodies.read(stalled(1_000, end.promise)));
  const whole = () => bodies.read(new Request("http://localhost", { method: "POST", body: "b".repeat(1_000) }));
  await sleep(10);
  assert.equal(await whole(), "busy", "there is no room while they may still be on their way");
  await sleep(1_100);
  assert.deepEqual(await whole(), { text: "b".repeat(1_000) });
  // One of them made room.
  assert.equal(await Promise.race(slow), "busy");
  const more = await Promise.all([whole(), whole(), whole()]);
  assert.ok(more.every((one) => typeof one === "object"));
  end.resolve();
  assert.equal((await Promise.all(slow)).filter((one) => one === "busy").length, 3);
});

Deno.test("what is too long or no text is told", async () => {
  const bodies = new BodyReader(10);
  const of = (body: BodyInit) => bodies.read(new Request("http://localhost", { method: "POST", body }));
  assert.equal(await of("12345678901"), "too long");
  assert.equal(await of(new Uint8Array([0x61, 0xff])), "no text");
  assert.deepEqual(await of("caf\u00e9"), { text: "caf\u00e9" });
});

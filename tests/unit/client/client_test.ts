import { Client } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import tally, { Add } from "../../fixtures/tally/domain.ts";

const HOUR = 3_600_000;

for (const skew of [-HOUR, HOUR]) {
  Deno.test(`a client whose clock is ${skew > 0 ? "ahead" : "behind"} knows whether a server runs, also while no group is held`, async () => {
    const store = new MemoryEventStore({ clock: { now: () => Date.now() + skew } });
    const client = new Client(tally, store, loadConfig({ text: "" }));
    assert.equal(await client.isServed(), false);
    await store.enroll({ owner: "a server", types: {} }, 4_000);
    assert.equal(await client.isServed(), true);
    // Its groups are on their way to it: nobody decides yet, and the client does not give up.
    const sent = client.process(Add({ id: "a", n: 1 }), { wait: true, timeout: 200 });
    await assert.rejects(sent, { name: "OutcomeTimeoutError", message: /not decided within 0.2 s; it is stored/ });
    await store.enroll({ owner: "a server", types: {} }, 0);
    assert.equal(await client.isServed(), false);
    await client.close();
  });
}

Deno.test("a command that is longer than max_message_bytes is refused, in bytes of UTF-8", async () => {
  const store = new MemoryEventStore();
  const client = new Client(tally, store, loadConfig({ text: "[event_store]\nmax_message_bytes = 1024\n" }));
  await client.process(Add({ id: "x".repeat(480), n: 1 }));
  await assert.rejects(
    client.process(Add({ id: "€".repeat(480), n: 1 })),
    /"Add" is refused: .* 1455 bytes of JSON are more than max_message_bytes = 1024/,
  );
  assert.equal(await store.lastPosition(), 1);
  await client.close();
});

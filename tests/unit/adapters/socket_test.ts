import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import { dial } from "../../../src/adapters/socket.ts";
import { listen } from "../../../src/adapters/socket_server.ts";
import { sampleAppend, sampleMessage } from "../../../src/testing/store_suite.ts";

Deno.test("a socket serves a store to clients, whatever others write to it", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  const path = `${folder}/store.sock`;
  const store = new MemoryEventStore();
  const close = await listen(store, path);
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  for (const junk of ["null\n", "5\n", "{\n", "[]\n", "\n", "\u0000", "x".repeat(1_000_000)]) {
    const socket = await Deno.connect({ transport: "unix", path });
    await socket.write(new TextEncoder().encode(junk));
    socket.close();
  }
  const client = await dial(path, "test");
  const large = sampleMessage({ text: "x".repeat(5_000_000) });
  await client.commit({ appends: [sampleAppend("a", 0, "none", { messages: [large, large] })] });
  assert.deepEqual(await client.readLog(), await store.readLog());
  assert.equal((await client.readLog())[0].data, large.data);
  await client.close();
  close();
  await store.close();
  await Deno.remove(folder, { recursive: true });
});

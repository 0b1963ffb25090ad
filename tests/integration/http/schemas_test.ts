import assert from "node:assert/strict";
import { Site } from "../../support/server.ts";
import { freePort } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/endless/domain.ts", import.meta.url);
const TOKEN = "a-token-of-enough-characters";

Deno.test("a schema that loops, throws or takes all memory ends nothing but the check of its own payload", async () => {
  const port = freePort();
  const toml = `[server]\nmax_heap_mb = 64
[server.permissions."*"]\nenv = ["ANNALS_TEST_GRANTED"]
[server.http]\nlisten = "127.0.0.1:${port}"\napi = true\ntoken = "${TOKEN}"\n`;
  await using site = Site.make("endless", MODULE, toml, { ANNALS_TEST_GRANTED: "yes" });
  const server = await site.start().running();
  const groups = server.hostPids();
  assert.equal(groups.length, 1);
  const send = async (how: string) => {
    const response = await fetch(`http://127.0.0.1:${port}/commands/Do`, {
      method: "POST",
      body: JSON.stringify({ id: how, how }),
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json", prefer: "wait=20" },
    });
    const { title } = await response.json();
    return { status: response.status, again: response.headers.get("retry-after"), title };
  };
  assert.equal((await send("well")).status, 200);
  // The domain's code is asked in a host of its own.
  assert.equal(server.hostPids().length, 2);

  const [loops, waits] = await Promise.all([send("loop"), send("in turn")]);
  assert.deepEqual([loops.status, loops.again], [503, "5"]);
  assert.match(loops.title, /did not finish within 3 s; nothing was stored/);
  assert.equal(waits.status, 200);
  const throws = await send("throw");
  assert.equal(throws.status, 422);
  const hogs = await send("hog");
  assert.deepEqual([hogs.status, hogs.again], [503, "1"]);
  assert.equal((await send("well again")).status, 200);
  assert.ok(server.hostPids().includes(groups[0]), "the host of the groups was never ended");
  assert.equal(await server.stop(), 0);
});

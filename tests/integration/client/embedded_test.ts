import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Site, until } from "../../support/server.ts";

const file = (path: string) => new URL(`../../../${path}`, import.meta.url);

Deno.test("docs/embedding.md shows the program as it is", async () => {
  const text = await Deno.readTextFile(file("examples/bank/embedded.ts"));
  assert.ok((await Deno.readTextFile(file("docs/embedding.md"))).includes(`\`\`\`ts ignore\n${text}\`\`\``));
});

Deno.test("a web server with an engine in its process deposits, reads, and stops cleanly", async () => {
  await using site = Site.make("bank", file("examples/bank/bank.ts"));
  const program = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", fileURLToPath(file("examples/bank/embedded.ts"))],
    cwd: site.folder,
    env: { PORT: "0", NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let said = "";
  const reading = Promise.all([program.stdout, program.stderr].map(async (stream) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) said += text;
  }));
  try {
    await until(() => /:(\d+)\//.test(said), () => `the program to listen; it said: ${said}`, 60_000);
    const base = `http://localhost:${/:(\d+)\//.exec(said)![1]}`;
    const deposit = await fetch(`${base}/accounts/a1/deposits/500`, { method: "POST" });
    assert.deepEqual([deposit.status, await deposit.json()], [201, { status: "accepted", events: ["Deposited"] }]);
    // The one that has sent it sees it.
    assert.deepEqual(await (await fetch(`${base}/accounts/a1`)).json(), { accountId: "a1", balance: 500 });
    for (const cents of ["abc", "0", "-5"]) {
      const wrong = await fetch(`${base}/accounts/a1/deposits/${cents}`, { method: "POST" });
      await wrong.body?.cancel();
      assert.equal(wrong.status, 404, cents);
    }
    const none = await fetch(`${base}/accounts/a2`);
    await none.body?.cancel();
    const health = await fetch(`${base}/health`);
    assert.deepEqual([none.status, health.status, (await health.json()).length], [404, 200, 2]);
  } finally {
    program.kill("SIGTERM");
    const { code } = await program.status;
    await reading;
    assert.equal(code, 0, said);
  }
});

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Site, until } from "../../support/server.ts";

const file = (path: string) => new URL(`../../../${path}`, import.meta.url);

Deno.test("docs/reading.md shows the web server as it is", async () => {
  const text = await Deno.readTextFile(file("examples/bank/web.ts"));
  assert.ok((await Deno.readTextFile(file("docs/reading.md"))).includes(`\`\`\`ts ignore\n${text}\`\`\``));
});

Deno.test("the web server of the docs deposits once for each key, and answers the row that shows it", async () => {
  await using site = Site.make("bank", file("examples/bank/bank.ts"));
  const server = await site.start().running();
  const web = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", fileURLToPath(file("examples/bank/web.ts"))],
    cwd: site.folder,
    env: { PORT: "0", NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let said = "";
  const reading = Promise.all([web.stdout, web.stderr].map(async (stream) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) said += text;
  }));
  try {
    await until(() => /localhost:\d+|0\.0\.0\.0:\d+/.test(said), () => `the web server to listen; it said: ${said}`);
    const base = `http://localhost:${/:(\d+)\//.exec(said)![1]}`;
    const deposit = async (amount: unknown, key?: string) => {
      const answer = await fetch(`${base}/accounts/a1/deposits`, {
        method: "POST",
        headers: { "Content-Type": "application/json", ...(key !== undefined && { "Idempotency-Key": key }) },
        body: JSON.stringify({ amount }),
      });
      return { status: answer.status, body: await answer.json(), token: answer.headers.get("Read-After") };
    };
    assert.equal((await deposit(-1, "k")).status, 422);
    assert.equal((await deposit(5)).status, 400);
    let token: string | null = null;
    for (let n = 1; n <= 20; n++) {
      const first = await deposit(5, `key-${n}`);
      assert.deepEqual([first.status, first.body], [201, { accountId: "a1", balance: 5 * n }]);
      const again = await deposit(5, `key-${n}`);
      assert.deepEqual([again.status, again.body], [201, { accountId: "a1", balance: 5 * n }]);
      token = first.token;
    }
    const other = await deposit(6, "key-1");
    assert.equal(other.status, 409);
    assert.match(other.body.fault, /"key-1" was used for Deposit .* use another key/);
    const row = await fetch(`${base}/accounts/a1`, { headers: { "Read-After": token! } });
    assert.deepEqual(await row.json(), { accountId: "a1", balance: 100 });
    const none = await fetch(`${base}/accounts/nobody`);
    assert.equal(none.status, 404);
    await none.body?.cancel();
    assert.equal(await server.stop(), 0);
    const undecided = await deposit(5, "late");
    assert.equal(undecided.status, 503);
    assert.match(undecided.body.fault, /it is stored and will be handled/);
  } finally {
    web.kill("SIGTERM");
    await web.status;
    await reading;
  }
});

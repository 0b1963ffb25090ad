import assert from "node:assert/strict";
import { Site, until } from "../../support/server.ts";
import { freePort } from "../../support/services.ts";
import { smallDisk } from "../../support/small_disk.ts";

const MODULE = new URL("../../../examples/bank/bank.ts", import.meta.url);
const TOKEN = "a-token-of-enough-characters";

Deno.test("a full disk is told where somebody sees it, and loses no command that was taken", async () => {
  await using disk = await smallDisk();
  if (disk === null) return;
  const port = freePort();
  const url = `"sqlite:${disk.folder}/{domain}.db"`;
  await using site = Site.make(
    "bank",
    MODULE,
    `[event_store]\nurl = ${url}\n[brokers.default]\nurl = ${url}\n` +
      `[server.http]\nlisten = "127.0.0.1:${port}"\napi = true\ntoken = "${TOKEN}"\n`,
  );
  const server = await site.start().running();
  const base = `http://127.0.0.1:${port}`;
  const authorization = `Bearer ${TOKEN}`;
  const send = async (key: string): Promise<number> => {
    const response = await fetch(`${base}/commands/Deposit`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json", "idempotency-key": key, prefer: "wait=10" },
      body: JSON.stringify({ accountId: "a", amount: 1 }),
    });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await send("one"), 200);
  await disk.fill();
  // There may be room for some in pages that the file has already.
  let sent = 0;
  await until(async () => await send(`key-${sent}`) === 503 || sent++ === 5_000, () => "a full disk", 120_000);
  assert.equal(await send("last"), 503);
  const told = /A request was not answered: .*disk is full/g;
  assert.equal(server.stderr.match(told)?.length, 1, server.stderr);
  const look = await (await fetch(`${base}/operator/overview`, { headers: { authorization } })).json();
  assert.equal(look.warnings.filter(({ text }: { text: string }) => text.match(told)).length, 1);

  await disk.free();
  await until(async () => await send("last") === 200, () => "the command, after there was space again");
  for (const key of [sent - 1, sent].filter((n) => n >= 0)) assert.equal(await send(`key-${key}`), 200);
  const balance = async () =>
    (await (await fetch(`${base}/projections/Balance/a`, { headers: { authorization } })).json()).balance;
  await until(async () => await balance() >= sent + 3, () => "the balance");
  assert.equal(await balance(), sent + 3);
  assert.equal(await server.stop(), 0);
});

import assert from "node:assert/strict";
import timely, { Bell, Ring } from "../../fixtures/timely/domain.ts";
import { command } from "../../support/command.ts";
import { Site, until } from "../../support/server.ts";

const MODULE = new URL("../../fixtures/timely/domain.ts", import.meta.url);

Deno.test("what is due while no server runs is sent once, and late, when one runs again", async () => {
  await using site = Site.make("timely", MODULE);
  const server = await site.start().running();
  await using client = await site.connect(timely);
  const notes = async (id: string) => (await client.load(Bell, id)).state;
  await client.process(Ring({ id: "a", note: "ding", echo: "2s" }), { wait: true });
  await client.process(Ring({ id: "b", note: "dong" }), { after: "2s" });
  await until(async () => (await client.store.scheduled()).length === 2, () => "both to be scheduled");
  await server.kill();
  // It is due meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.deepEqual([await notes("a"), await notes("b")], [["ding"], []]);
  const again = await site.start().running();
  await until(async () => (await notes("a")).length > 1 && (await notes("b")).length > 0, () => "both to be sent");
  assert.deepEqual(await client.store.scheduled(), []);
  assert.ok(await client.caughtUp());
  assert.deepEqual([await notes("a"), await notes("b")], [["ding", "ding!"], ["dong"]]);
  assert.equal(await again.stop(), 0);
});

Deno.test("scheduled commands are listed, shown, moved, cancelled and run by an operator", async () => {
  await using site = Site.make("timely", MODULE);
  const server = await site.start().running();
  await using client = await site.connect(timely);
  const notes = async (id: string) => (await client.load(Bell, id)).state;
  const annals = async (...args: string[]) => {
    const result = await command("annals", ["--config", site.file, "schedule", ...args], site.folder);
    assert.equal(result.code, 0, result.stderr);
    return result.stdout;
  };
  const { commandId } = await client.process(Ring({ id: "a", note: "first" }), { after: "30d", key: "k" });
  const at = new Date(Date.now() + 3_600_000);
  // The same key replaces.
  await client.process(Ring({ id: "a", note: "second" }), { at, key: "k" });
  await client.process(Ring({ id: "b", note: "kept" }), { after: "1d" });
  const listed = JSON.parse(await annals("list", "--json"));
  assert.deepEqual(
    listed.map(({ due, type, stream }: Record<string, string>) => [type, stream, due === at.toISOString()]),
    [
      ["Ring", "timely::bell:command-a", true],
      ["Ring", "timely::bell:command-b", false],
    ],
  );
  assert.match(await annals("list"), /^key +due +type +stream\nk +/);
  assert.match(
    await annals("show", "k"),
    /scheduled +k\n.*\nmessage +Ring .*\n(.*\n)*payload +\{"id":"a","note":"second"\}/,
  );
  assert.match(await annals("move", "k", "--to", "2099-01-01T00:00Z"), /Moved to 2099-01-01T00:00:00.000Z/);
  assert.equal(JSON.parse(await annals("show", "k", "--json")).due, "2099-01-01T00:00:00.000Z");
  assert.match(await annals("run", "k"), /^Due now\.\n$/);
  await until(async () => (await notes("a")).length > 0, () => "it to be sent");
  assert.deepEqual(await notes("a"), ["second"]);
  assert.equal(await client.outcome(commandId), null);
  assert.match(await annals("cancel", listed[1].key), /Cancelled/);
  assert.match(await annals("list"), /Nothing is scheduled/);
  const wrong = await command("annals", ["--config", site.file, "schedule", "cancel", "k"], site.folder);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /Nothing is scheduled as "k"; see: annals schedule list/);
  assert.equal(await server.stop(), 0);
});

Deno.test("a handler cancels what it has scheduled, and a client does", async () => {
  await using site = Site.make("timely", MODULE);
  const server = await site.start().running();
  await using client = await site.connect(timely);
  await client.process(Ring({ id: "a", note: "ding", echo: "1h" }), { wait: true });
  await until(async () => (await client.store.scheduled()).length === 1, () => "the echo to be scheduled");
  await client.process(Ring({ id: "a", note: "hush" }), { wait: true });
  await until(async () => (await client.store.scheduled()).length === 0, () => "the echo to be cancelled");
  await client.process(Ring({ id: "b", note: "ding" }), { after: "1h", key: "k" });
  assert.equal(await client.cancel("k"), true);
  assert.equal(await client.cancel("k"), false);
  const wrong = [
    [{ after: "soon" as never }, /"soon" is no length of time/],
    [{ at: new Date(NaN) }, /at Invalid Date: it is no valid Date/],
    [{ after: "1s", at: new Date() } as const, /both "after" some time and "at" a time/],
    [{ after: "1s", key: "" } as const, /Cannot use this key of a scheduled command/],
    [{ after: "1s", wait: true } as const, /Cannot wait for "Ring", which is sent later/],
  ] as const;
  for (const [options, told] of wrong) {
    await assert.rejects(client.process(Ring({ id: "b", note: "ding" }), options), told);
  }
  // The same key of idempotency is the same command, scheduled once.
  const twice = { after: "1h", idempotencyKey: "once" } as const;
  const [first, second] = [
    await client.process(Ring({ id: "c", note: "ding" }), twice),
    await client.process(Ring({ id: "c", note: "ding" }), twice),
  ];
  assert.equal(first.commandId, second.commandId);
  assert.equal((await client.store.scheduled()).length, 1);
  assert.equal(await server.stop(), 0);
});

import assert from "node:assert/strict";
import patience, { Arrive, Guests } from "../../fixtures/patience/domain.ts";
import { command } from "../../support/command.ts";
import { Site, until } from "../../support/server.ts";

const MODULE = new URL("../../fixtures/patience/domain.ts", import.meta.url);
const SETTINGS = "[server.stream_subscription]\nmax_retries = 0\n";

Deno.test("a timer of a process that is due while no server runs fires once, when one runs again", async () => {
  await using site = Site.make("patience", MODULE);
  const server = await site.start().running();
  await using client = await site.connect(patience);
  const called = async (id: string) => (await client.load(Guests, id)).state;
  await client.process(Arrive({ id: "a", wait: 2_000 }), { wait: true });
  await until(async () => (await client.store.scheduled()).length === 1, () => "the timer to be set");
  await server.kill();
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.equal(await called("a"), 0);
  const again = await site.start().running();
  await until(async () => await called("a") > 0, () => "the guest to be called");
  assert.ok(await client.caughtUp());
  assert.ok(await client.caughtUp());
  assert.equal(await called("a"), 1);
  assert.equal(await again.stop(), 0);
  // History played again comes to the same, and sends nothing.
  const last = await client.store.lastPosition();
  const dry = await command(
    "annals",
    ["--config", site.file, "processes", "dry-run", "Waiting", "--json"],
    site.folder,
  );
  assert.equal(dry.code, 0, dry.stderr);
  const { commands, ...summary } = JSON.parse(dry.stdout);
  assert.deepEqual(summary, { events: 1, instances: 1, sent: { Call: 1 }, timers: 0, failures: [] });
  assert.deepEqual(
    commands.map(({ instance, input, command, to }: Record<string, string>) => [instance, input, command, to]),
    [
      ["a", "$Timer", "Call", "a"],
    ],
  );
  assert.equal(await client.store.lastPosition(), last);
});

Deno.test("an operator sees instances, moves and cancels their timers, and retries or abandons those set aside", async () => {
  await using site = Site.make("patience", MODULE, SETTINGS);
  const server = await site.start().running();
  await using client = await site.connect(patience);
  const annals = async (...args: string[]) => {
    const result = await command("annals", ["--config", site.file, ...args], site.folder);
    assert.equal(result.code, 0, result.stderr);
    return result.stdout;
  };
  const list = async (...args: string[]): Promise<{ id: string; status: string }[]> =>
    JSON.parse(await annals("processes", "list", "--json", ...args));
  assert.match(await annals("processes", "list"), /^No instances\.\n$/);
  for (const id of ["a", "b", "c", "odd", "odd too"]) await client.process(Arrive({ id, wait: 3_600_000 }));
  await until(async () => (await client.store.deadLetters()).length === 2, () => "the odd ones to be set aside");
  await until(async () => (await client.store.scheduled()).length === 3, () => "the timers to be set");
  assert.deepEqual((await list()).map(({ id, status }) => [id, status]).sort(([a], [b]) => a < b ? -1 : 1), [
    ["a", "running"],
    ["b", "running"],
    ["c", "running"],
    ["odd", "set aside"],
    ["odd too", "set aside"],
  ]);
  assert.match(await annals("processes", "list"), /Waiting +a +running +\S+ +timer up at \S+\n/);
  assert.match(
    await annals("processes", "list", "--status", "set aside"),
    /Waiting +odd +set aside +\S+ +an odd guest\n/,
  );
  // Timers are scheduled messages.
  assert.match(await annals("schedule", "list"), /timer:Waiting:up:a +\S+ +\$Timer +patience::waiting:inbox-a/);
  await annals("schedule", "run", "timer:Waiting:up:a");
  await annals("schedule", "cancel", "timer:Waiting:up:b");
  await until(async () => (await client.load(Guests, "a")).state === 1, () => "a to be called");
  assert.equal((await client.load(Guests, "b")).state, 0);
  await until(async () => (await list("--status", "ended")).length === 1, () => "a to be ended");
  const shown = JSON.parse(await annals("processes", "show", "Waiting", "a", "--json"));
  assert.deepEqual(
    shown.map(({ input, sent }: { input: { type: string }; sent: { type: string; outcome: string }[] }) => [
      input.type,
      ...sent.map(({ type, outcome }) => `${type} ${outcome}`),
    ]),
    [["Arrived"], ["$Timer", "Call accepted"]],
  );
  assert.match(
    await annals("processes", "show", "Waiting", "a"),
    /Arrived +\d+ +handled +timer up set +running\n.*\$Timer +\d+ +handled +Call to a: accepted; timer up over +ended/,
  );
  // It fails again, and is set aside again.
  const [{ id: before }] = await client.store.deadLetters();
  await annals("processes", "retry", "Waiting", "odd too");
  await until(
    async () => (await client.store.deadLetters()).length === 2 && (await client.store.deadLetters())[0].id !== before,
    () => "it to fail again",
  );
  // Those first that somebody has to look after.
  assert.match(
    await annals("processes", "list", "--limit", "2"),
    /^manager.*\n.* set aside .*\n.* set aside .*\n… and 2 more; see --limit, --status\n$/,
  );
  // A command that its sender was told was given up: to do it now may be to do what was undone.
  const [given] = await client.store.readLog({ type: "Call" });
  const metadata = JSON.stringify({ $sender: { inbox: "patience::waiting:inbox", id: "a", run: 1 } });
  const letter = (id: string) => ({
    id,
    group: "Desk",
    message: { ...given, metadata },
    reason: "handler failed",
    error: "odd",
    stack: null,
    attempts: [],
    deadAt: 0,
  });
  const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
  await client.store.commit({ deadLetters: [letter(one), letter(two)] });
  const refused = await command("annals", ["--config", site.file, "dlq", "replay", one], site.folder);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /"Call" was sent by the process instance "a" .*, which was told that it was given up/);
  assert.match(
    await annals("dlq", "replay-all", "--group", "Desk"),
    /^Replayed 0\. 2 were not: a process has sent them/,
  );
  assert.match(await annals("dlq", "replay", one, "--anyway"), /^Replayed 1\.\n$/);
  await until(async () => (await client.load(Guests, "a")).state === 2, () => "a to be called again");
  await client.store.purgeDeadLetters({ ids: [two] });
  const dry = JSON.parse(await annals("processes", "dry-run", "Waiting", "--json"));
  assert.deepEqual([dry.events, dry.instances, dry.sent, dry.timers], [5, 3, {}, 3]);
  assert.deepEqual(dry.failures.map(({ instance }: { instance: string }) => instance).sort(), ["odd", "odd too"]);
  assert.match(
    await annals("processes", "dry-run", "Waiting"),
    /Instance "odd" would be set aside by the event at \d+: an odd guest\n.*\n5 events, 3 instances; nothing would have been sent; 3 timers would wait\. Nothing was sent\.\n$/,
  );
  assert.match(await annals("processes", "dry-run", "Waiting", "--since", "2030-01-01"), /^0 events, 0 instances/);
  await annals("processes", "abandon", "Waiting", "odd");
  await annals("processes", "abandon", "Waiting", "c");
  await until(async () => (await list("--status", "set aside")).length === 1, () => "one to be left");
  assert.deepEqual((await list("--status", "ended")).map(({ id }) => id).sort(), ["a", "c", "odd"]);
  assert.deepEqual(await client.store.scheduled(), []);
  const wrong = [
    [["show", "Waiting", "nobody"], /"Waiting" has no instance "nobody"/],
    [["show", "Wating", "a"], /has no process manager "Wating"; did you mean "Waiting"\?/],
    [["retry", "Waiting", "a"], /Instance "a" of "Waiting" is not set aside/],
    [["abandon", "Waiting", "a"], /"Waiting" has no instance "a" that has not ended/],
    [["list", "--status", "runing"], /There is no status "runing"; did you mean "running"\?/],
  ] as const;
  for (const [args, told] of wrong) {
    const result = await command("annals", ["--config", site.file, "processes", ...args], site.folder);
    assert.equal(result.code, 2);
    assert.match(result.stderr, told);
  }
  assert.equal(await server.stop(), 0);
});

Deno.test("a new process manager on an old log begins with what comes next", async () => {
  await using site = Site.make("patience", MODULE);
  const server = await site.start().running();
  await using client = await site.connect(patience);
  await client.process(Arrive({ id: "a", wait: 3_600_000 }), { wait: true });
  await until(async () => (await client.store.scheduled()).length === 1, () => "the timer to be set");
  assert.equal(await server.stop(), 0);
  // As if it had been added later.
  const path = `${site.folder}/domain.ts`;
  const text = await Deno.readTextFile(MODULE);
  await Deno.writeTextFile(path, text.replace(`processManager("Waiting"`, `processManager("Patience"`));
  const toml = await Deno.readTextFile(site.file);
  await Deno.writeTextFile(site.file, toml.replace(/^patience = .*$/m, `patience = ${JSON.stringify(path)}`));
  const asked = site.start();
  assert.equal((await asked.status).code, 1);
  assert.match(
    asked.stderr,
    /"PatienceRouter" is new and would begin with what comes next in patience::guests; "WaitingRouter"/,
  );
  assert.match(
    asked.stderr,
    /stays behind, and so do the instances and timers of a process manager/,
  );
  const renamed = await site.start("--accept-new-groups").running();
  await client.process(Arrive({ id: "b", wait: 3_600_000 }), { wait: true });
  await until(async () => (await client.store.scheduled()).length === 2, () => "the new timer to be set");
  assert.deepEqual((await client.store.scheduled()).map(({ key }) => key), [
    "timer:Patience:up:b",
    "timer:Waiting:up:a",
  ]);
  assert.equal(await renamed.stop(), 0);
});

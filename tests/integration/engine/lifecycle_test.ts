import { Client, connect } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { Engine, logTo } from "@annals/annals/engine";
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import broken from "../../fixtures/broken/domain.ts";
import tally, { Add, Seen } from "../../fixtures/tally/domain.ts";
import { Server, Site, until } from "../../support/server.ts";

const MODULE = new URL("../../fixtures/tally/domain.ts", import.meta.url);

Deno.test("the server says what it runs, line by line, and ends with 0 when asked", async () => {
  await using site = Site.make("tally", MODULE);
  const server = await site.start().running();
  assert.equal(await server.stop(), 0);
  assert.equal(
    server.stdout,
    `Starting Annals engine…
  event store   sqlite  .annals/tally.db
  broker        sqlite  .annals/tally.db
Registered subscriptions:
  Adder          -> tally::tally:command (StreamSubscription)
  SeenProjector  -> tally::tally (StreamSubscription)
  Noter          -> tally::tally (StreamSubscription)
Engine running. Press Ctrl+C to stop.
Stopping…
Stopped.
`,
  );
  assert.equal(server.stderr, "");
});

Deno.test("Ctrl+C finishes what is in hand: after a restart nothing is doubled and nothing missing", async () => {
  await using site = Site.make("tally", MODULE);
  let server = await site.start().running();
  await using client = await site.connect(tally);
  for (let n = 0; n < 300; n++) await client.process(Add({ id: String(n % 7), n }));
  server.signal("SIGINT");
  assert.equal((await server.status).code, 0);
  const leases = await client.store.leases();
  assert.ok(leases.every((lease) => lease.expiresAt === 0), "every lease is given back");
  server = await site.start().running();
  await until(
    async () => (await client.rows(Seen)).reduce((sum, row) => sum + row.ns.length, 0) === 300,
    () => "all 300",
  );
  assert.equal(await server.stop(), 0);
});

Deno.test("a second signal ends the server at once", async () => {
  await using site = Site.make("tally", MODULE);
  const server = await site.start().running();
  server.signal("SIGINT");
  server.signal("SIGINT");
  assert.equal((await server.status).code, 0);
  await server.kill();
});

Deno.test("two servers share the groups of a domain, and one takes over all when the other is gone", async () => {
  await using site = Site.make("tally", MODULE);
  const first = await site.start().running();
  const second = await site.start().running();
  await using client = await site.connect(tally);
  const holders = async () =>
    (await client.store.leases()).filter(({ group, isHeld }) => !group.startsWith("$") && isHeld)
      .map(({ owner }) => owner);
  const shares = async () => {
    const all = await holders();
    return [...new Set(all)].map((owner) => all.filter((other) => other === owner).length).sort();
  };
  await until(async () => String(await shares()) === "1,2", () => "each to have its share of the three");
  await client.process(Add({ id: "a", n: 1 }), { wait: true });
  assert.equal(await first.stop(), 0);
  const { outcome } = await client.process(Add({ id: "a", n: 2 }), { wait: true });
  assert.equal(outcome?.status, "accepted");
  assert.equal(await second.stop(), 0);
});

Deno.test("a server that was killed is followed at once: nobody waits for the leases of the dead", async () => {
  await using site = Site.make("tally", MODULE);
  await (await site.start().running()).kill();
  const server = await site.start().running();
  assert.doesNotMatch(server.stderr, /standing by/);
  assert.equal(await server.stop(), 0);
});

Deno.test("a handler that seems to be renamed is not run from the beginning, unless that is accepted once", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  const mod = JSON.stringify(new URL("../../../mod.ts", import.meta.url).href);
  const write = (...names: string[]) =>
    Deno.writeTextFile(
      `${folder}/domain.ts`,
      `import { aggregate, command, commandHandler, domain, event, eventHandler, projection, projector, type } from ${mod};
      const Rung = event("Rung", { schema: type<{ id: string }>() });
      const Bell = aggregate("Bell", { events: [Rung], initial: () => 0, evolve: { Rung: (n) => n + 1 } });
      export const Ring = command("Ring", { schema: type<{ id: string }>(), target: ({ id }) => id });
      const Ringer = commandHandler("Ringer", Bell, {
        commands: [Ring],
        handle: { Ring: (_, { payload }) => Rung(payload) },
      });
      const Count = projection("Count", { key: "id", schema: type<{ id: string; n: number }>() });
      const counter = projector("Counter", Count, {
        events: [Rung],
        on: { Rung: (row, { payload }) => ({ ...payload, n: (row?.n ?? 0) + 1 }) },
      });
      const hear = (name: string) => eventHandler(name, { events: [Rung], on: { Rung: () => {} } });
      export default domain("bells", { aggregates: [Bell], handlers: [Ringer, counter, ...${
        JSON.stringify(names)
      }.map((name) => hear(name))] });`,
    );
  const start = (...args: string[]) => new Server(["--domain=./domain.ts", ...args], folder);
  const runs = async (...args: string[]) => assert.equal(await (await start(...args).running()).stop(), 0);
  await write("Ears");
  await Deno.writeTextFile(`${folder}/domain.toml`, "");
  // Nothing was handled yet: nothing can be handled twice.
  await runs();
  await write("Mail");
  const server = await start().running();
  const { default: bells, Ring } = await import(`${pathToFileURL(folder)}/domain.ts`);
  await using client = await connect(bells, { config: loadConfig({ file: `${folder}/domain.toml` }) });
  await client.process(Ring({ id: "a" }), { wait: true });
  assert.ok(await client.caughtUp());
  assert.equal(await server.stop(), 0);
  await write("Mailer");
  const refused = start();
  assert.equal((await refused.status).code, 1);
  await refused.kill();
  assert.match(
    refused.stderr,
    /"Mailer" is new .* what comes next in bells::bell; "Mail", which has handled what was before, is not/,
  );
  assert.match(refused.stderr, /[Gg]ive it its old name.*start once with --accept-new-groups/);
  // Beside the old one it is simply new, and so is the next one after it was accepted.
  await write("Mail", "Mailer");
  await runs();
  await write("Mailer", "Other");
  await runs("--accept-new-groups");
  await write("Mailer", "Other", "Third");
  await runs();
  await write("Mail", "Mailer");
  await runs();
  // An aggregate under a new name has no events.
  const text = await Deno.readTextFile(`${folder}/domain.ts`);
  await Deno.writeTextFile(`${folder}/domain.ts`, text.replace(`aggregate("Bell"`, `aggregate("Gong"`));
  const moved = start();
  assert.equal((await moved.status).code, 1);
  await moved.kill();
  assert.match(
    moved.stderr,
    /"Ringer" has read bells::bell:command and does not any more; it now reads bells::gong:command/,
  );
  assert.match(moved.stderr, /"Mail" has read bells::bell /);
  // Nor has a projection any rows.
  await Deno.writeTextFile(`${folder}/domain.ts`, text.replace(`projection("Count"`, `projection("Total"`));
  const unkept = start();
  assert.equal((await unkept.status).code, 1);
  await unkept.kill();
  assert.match(unkept.stderr, /"Counter" has kept "Count" and is now to keep "Total"/);
  await Deno.writeTextFile(`${folder}/domain.ts`, text.replace(`aggregate("Bell"`, `aggregate("Gong"`));
  await runs("--accept-new-groups");
  await runs();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("several workers of a group share its streams", async () => {
  await using site = Site.make("tally", MODULE, "[server.workers]\nAdder = 2\nSeenProjector = 3\n");
  const server = await site.start().running();
  assert.match(server.stdout, /SeenProjector {2}-> tally::tally \(StreamSubscription, 3 workers\)/);
  await using client = await site.connect(tally);
  for (let n = 0; n < 60; n++) await client.process(Add({ id: String(n % 9), n }));
  await until(
    async () => (await client.rows(Seen)).reduce((sum, row) => sum + row.ns.length, 0) === 60,
    () => "all 60",
  );
  for (const { ns } of await client.rows(Seen)) assert.deepEqual(ns, [...ns].sort((a, b) => a - b));
  assert.equal(await server.stop(), 0);
});

for (const type of ["stream", "event_store"]) {
  Deno.test(`the engine runs in memory by ${type} subscriptions, inside a program`, async () => {
    const file = await Deno.makeTempFile({ suffix: ".toml" });
    await Deno.writeTextFile(
      file,
      `[event_store]\nurl = "memory:"\n[brokers.default]\nurl = "memory:"\n[server]\ndefault_subscription_type = "${type}"\n`,
    );
    const config = loadConfig({ file });
    const engine = new Engine({ module: MODULE.href, config });
    await engine.start();
    const client = new Client(tally, engine.store, config);
    const { outcome } = await client.process(Add({ id: "a", n: 1 }), { wait: true });
    assert.deepEqual(outcome, { status: "accepted", events: ["Added"] });
    await until(async () => (await client.row(Seen, "a"))?.ns.length === 1, () => "the projection");
    assert.deepEqual(engine.health().map(({ state }) => state), ["running", "running", "running"]);
    await engine.stop();
    await Deno.remove(file);
  });
}

Deno.test("a group whose worker ends again and again is marked failed, and the others go on", async () => {
  const file = await Deno.makeTempFile({ suffix: ".toml" });
  const fixtures = new URL("../../fixtures", import.meta.url).pathname;
  await Deno.writeTextFile(
    file,
    `[event_store]\nurl = "memory:"\n[brokers.default]\nurl = "memory:"\n[server.stream_subscription]\nmax_retries = 0
[server.permissions."*"]\nread = [${JSON.stringify(fixtures)}]\n`,
  );
  const lines: string[] = [];
  const engine = new Engine({
    module: new URL("../../fixtures/broken/domain.ts", import.meta.url).href,
    config: loadConfig({ file }),
    report: logTo((group, _level, text) => void lines.push(`${group}: ${text}`)),
  });
  await engine.start();
  const health = () => Object.fromEntries(engine.health().map((group) => [group.group, group]));
  assert.equal(health().Sound.state, "running");
  await until(() => health().Broken.state === "failed", () => "the broken group to be marked failed");
  assert.match(health().Broken.lastError!, /broken while it loads/);
  assert.equal(health().Sound.state, "running");
  assert.ok(lines.some((line) => /^Broken: Its worker ended 6 times within a minute; resting for 60 s/.test(line)));
  await engine.stop();
  await Deno.remove(file);
});

Deno.test("a rest is kept: a server that takes over from a killed one does not try again, one after an orderly stop does", async () => {
  const fixtures = new URL("../../fixtures", import.meta.url);
  await using site = Site.make(
    "broken",
    new URL("broken/domain.ts", `${fixtures}/`),
    `[server.stream_subscription]\nmax_retries = 0\n[server.permissions."*"]\nread = [${
      JSON.stringify(fixtures.pathname)
    }]\n`,
  );
  const first = await site.start().running();
  await until(() => first.stderr.includes("resting for"), () => "the group to rest");
  await first.kill();
  const second = await site.start().running();
  assert.match(second.stderr, /Broken: Its worker ended 6 times within a minute; resting for \d+ s: .*broken while it/);
  assert.doesNotMatch(second.stderr, /Its worker is replaced/);
  await using client = await site.connect(broken);
  const { ends } = (await client.store.leases()).find(({ group }) => group === "Broken")!;
  assert.ok(ends!.restingUntil > Date.now() && /broken while it loads/.test(ends!.reason));
  assert.equal(await second.stop(), 0);
  const third = await site.start().running();
  await until(() => third.stderr.includes("Its worker is replaced"), () => "the group to be tried again");
  assert.doesNotMatch(third.stderr, /resting for/);
  assert.equal(await third.stop(), 0);
});

Deno.test("with sync processing a command and all that follows are handled before process() returns", async () => {
  await using site = Site.make("tally", MODULE, `event_processing = "sync"\ncommand_processing = "sync"\n`);
  await using client = await connect(tally, { config: site.config });
  const { outcome } = await client.process(Add({ id: "a", n: 1 }), { idempotencyKey: "k" });
  assert.deepEqual(outcome, { status: "accepted", events: ["Added"] });
  assert.deepEqual(await client.row(Seen, "a"), { id: "a", ns: [1] });
  await client.process(Add({ id: "a", n: 1 }), { idempotencyKey: "k" });
  assert.deepEqual(await client.row(Seen, "a"), { id: "a", ns: [1] });
  await Promise.all(Array.from({ length: 20 }, (_, n) => client.process(Add({ id: `b${n % 3}`, n }))));
  assert.equal((await client.rows(Seen)).reduce((sum, row) => sum + row.ns.length, 0), 21);
});

const WRONG: [args: string[], code: number, told: RegExp][] = [
  [[], 2, /Name a domain, like --domain=tally; known: tally/],
  [["--domain=talli"], 2, /There is no domain "talli" \(.*\); did you mean "tally"\?/],
  [["--domain=./nowhere.ts"], 2, /There is no domain module "\.\/nowhere\.ts"/],
  [["--domain=tally", "--config=nowhere.toml"], 2, /nowhere\.toml: there is no such file/],
  [["--domain=tally", "--dry-rum"], 2, /unknown option '--dry-rum'/],
  [["--domain=tally", "--log-format=xml"], 2, /Allowed choices are text, json/],
  [["--domain=tally", "extra"], 2, /too many arguments/],
  [["--domain=./empty.ts"], 1, /has no domain as its default export/],
  [
    ["--domain=./broken.ts"],
    1,
    /Cannot load the domain from .*broken\.ts: broken at import \(thrown at .*broken\.ts:1:7\)/,
  ],
  [
    ["--domain=tally", "--config=groups.toml"],
    2,
    /server\.workers\.Sen: domain "tally" has no handler "Sen".*known|did you mean/,
  ],
  [["--domain=tally", "--config=foreign.toml"], 1, /foreign\.db.*not an SQLite database/],
];

Deno.test("what is wrong on the server's command line is said in words, with exit code 1 or 2", async () => {
  await using site = Site.make("tally", MODULE);
  const domains = `[domains]\ntally = ${JSON.stringify(MODULE.pathname)}\n`;
  await Deno.writeTextFile(`${site.folder}/empty.ts`, "export default 1;\n");
  await Deno.writeTextFile(`${site.folder}/broken.ts`, "throw new Error('broken at import');\n");
  await Deno.writeTextFile(`${site.folder}/groups.toml`, `[server.workers]\nSen = 2\n${domains}`);
  await Deno.writeTextFile(`${site.folder}/foreign.toml`, `[event_store]\nurl = "sqlite:foreign.db"\n${domains}`);
  await Deno.writeTextFile(
    `${site.folder}/foreign.db`,
    "this is not a database, it is a text of some length\n".repeat(50),
  );
  await Promise.all(WRONG.map(async ([args, code, told]) => {
    const server = new Server(args, site.folder);
    const status = await server.status;
    await server.kill();
    assert.match(server.stderr, told);
    assert.equal(status.code, code, args.join(" "));
    assert.doesNotMatch(server.stderr, /^\s+at /m, args.join(" "));
  }));
});

Deno.test("a module that does not load for seconds is said", async () => {
  const said: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const after = (milliseconds: number, call: () => void) => {
    // The seconds are over as soon as they have begun.
    if (milliseconds === 3_000) queueMicrotask(call);
    return () => {};
  };
  const engine = new Engine({
    module: new URL("../../fixtures/tally/domain.ts", import.meta.url).href,
    config: loadConfig({ text: "" }),
    clock: { after },
    report: (event) => {
      if (event.type !== "service.warned") return;
      said.push(event.warning);
      resolve();
    },
  });
  await Promise.all([engine.describe(), promise]);
  assert.match(said[0], /tally\/domain\.ts has not loaded after 3 s: its top level may loop, or wait for something/);
});

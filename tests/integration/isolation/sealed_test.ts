import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import tally, { Add } from "../../fixtures/tally/domain.ts";
import { isAlive, Server, Site, until } from "../../support/server.ts";
import { databaseUrl, redisUrl } from "../../support/services.ts";
import { withSchema } from "../../support/postgres.ts";

const MODULE = new URL("../../fixtures/tally/domain.ts", import.meta.url);

const read = (pid: number, what: string) => Deno.readTextFileSync(`/proc/${pid}/${what}`).split("\0").filter(Boolean);

/** Inodes of the sockets that a process has open. */
function sockets(pid: number): Set<string> {
  const found = [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return "";
    }
  });
  return new Set(found.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
}

/** How many TCP connections a process has. */
function connections(pid: number): number {
  const own = sockets(pid);
  const lines = ["tcp", "tcp6"].flatMap((kind) =>
    Deno.readTextFileSync(`/proc/${pid}/net/${kind}`).split("\n").slice(1)
  );
  return lines.filter((line) => own.has(line.trim().split(/\s+/)[9])).length;
}

Deno.test("the engine has the connections; a host has none, and no secret in its environment or arguments", async () => {
  await using schema = await withSchema();
  const toml = `[event_store]\nurl = "${databaseUrl()}"\nschema = "${schema.name}"
[brokers.default]\nurl = "${redisUrl()}"\nprefix = "${schema.name}:"
[server.permissions.Noter]\nenv = ["ANNALS_TEST_GRANTED"]\n`;
  const env = { ANNALS_TEST_GRANTED: "yes", ANNALS_TEST_SECRET: "hunter2", DATABASE_URL: databaseUrl() };
  await using site = Site.make("tally", MODULE, toml, env);
  const server = await site.start().running();
  await using client = await site.connect(tally);
  await client.process(Add({ id: "a", n: 1 }), { wait: true });
  const hosts = server.hostPids();
  assert.equal(hosts.length, 1);
  assert.ok(connections(server.pid) >= 3);
  assert.ok(connections(server.pid) <= 10);
  const password = decodeURIComponent(new URL(databaseUrl()).password);
  for (const host of hosts) {
    assert.equal(connections(host), 0);
    const names = read(host, "environ").map((entry) => entry.split("=")[0]).filter((name) =>
      !/^(PWD|SHLVL|_)$/.test(name)
    );
    assert.deepEqual(names.sort(), ["ANNALS_TEST_GRANTED", "DENO_DIR", "DENO_NO_UPDATE_CHECK", "NO_COLOR"]);
    const given = read(host, "cmdline");
    const said = [...given, ...read(host, "environ")].join(" ");
    assert.doesNotMatch(said, /hunter2|postgres:|redis:/);
    assert.ok(!said.includes(password) && !said.includes(encodeURIComponent(password)));
    assert.ok(given.includes("--no-prompt") && given.includes("--cached-only") && given.includes("--frozen"));
    assert.ok(!given.some((flag) => /^(-A|--allow-(all|run|ffi|sys))/.test(flag)), given.join(" "));
    assert.equal(Deno.readLinkSync(`/proc/${host}/fd/0`).startsWith("pipe:"), true);
    const [, , , , group] = Deno.readTextFileSync(`/proc/${host}/stat`).split(" ");
    assert.equal(Number(group), host, "it is not in a process group of its own");
  }
  assert.equal(await server.stop(), 0);
  await until(() => !hosts.some(isAlive), () => "the host to end with its engine", 1_000);
});

Deno.test("what an engine that was killed left in the temporary folder is removed by the next one", async () => {
  const folders = (pid: number) =>
    [...Deno.readDirSync(tmpdir())].filter(({ name }) => new RegExp(`^annals-host-\\d*\\.${pid}\\.`).test(name));
  await using site = Site.make("tally", MODULE);
  const first = await site.start().running();
  assert.ok(folders(first.pid).length > 0);
  await first.kill();
  assert.ok(folders(first.pid).length > 0);
  const second = await site.start().running();
  await until(() => folders(first.pid).length === 0, () => "the folder to be removed");
  assert.ok(folders(second.pid).length > 0);
  assert.equal(await second.stop(), 0);
  assert.equal(folders(second.pid).length, 0);
});

Deno.test("a host that stands still ends with its engine all the same", async () => {
  await using site = Site.make("tally", MODULE);
  const server = await site.start().running();
  const [host] = server.hostPids();
  Deno.kill(host, "SIGSTOP");
  await server.kill();
  await until(() => !isAlive(host), () => "the host to end", 2_000);
});

Deno.test("what a host printed is said with its name, and what it was not asked for is not answered", async () => {
  await using site = Site.make("tally", MODULE);
  const server = await site.start().running();
  const [host] = server.hostPids();
  Deno.kill(host, "SIGSTOP");
  await until(
    () => /Host "main" ended: it was stopped by a signal/.test(server.stderr),
    () => "it to be noticed",
    5_000,
  );
  await using client = await site.connect(tally);
  const { outcome } = await client.process(Add({ id: "a", n: 1 }), { wait: true });
  assert.equal(outcome?.status, "accepted");
  assert.equal(await server.stop(), 0);
});

const READER =
  `import { aggregate, command, commandHandler, domain, event, eventHandler, projection, type } from "@annals/annals";
const Asked = event("Asked", { schema: type<{ path: string }>() });
const A = aggregate("A", { events: [Asked], initial: () => 0, evolve: { Asked: (n) => n + 1 } });
const Ask = command("Ask", { schema: type<{ path: string }>() });
const Got = projection("Got", { key: "id", schema: type<{ id: string; text: string }>() });
const read = (path: string) => {
  try {
    return Deno.readTextFileSync(new URL(path, import.meta.url)).slice(0, 10);
  } catch (error) {
    return (error as Error).name;
  }
};
export default domain("beside", { aggregates: [A], handlers: [
  commandHandler("Asker", A, { commands: [Ask], handle: { Ask: (_n, { payload }) => Asked(payload) } }),
  eventHandler("Reader", { events: [Asked], on: {
    Asked: ({ payload: { path } }, context) => context.put(Got, { id: path, text: read(path) }),
  } }),
] });
`;

Deno.test("handlers whose module is beside the data, the configuration and secrets see none of them", async () => {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "annals-beside-" }));
  try {
    // Also a configuration that is not in use, and one that is named by a relative path.
    const secrets = [".env", "domain.toml", "site.toml", ".annals/beside.db", "link"];
    await Deno.writeTextFile(`${folder}/domain.ts`, READER);
    for (const name of ["domain.toml", "site.toml"]) {
      await Deno.writeTextFile(`${folder}/${name}`, '[domains]\nbeside = "./domain.ts"\n');
    }
    await Deno.writeTextFile(`${folder}/.env`, "PASSWORD=1");
    await Deno.writeTextFile(`${folder}/plain.txt`, "readable");
    await Deno.symlink("/etc/hostname", `${folder}/link`);
    const server = await new Server(["--domain=beside", "--config=site.toml"], folder).running();
    const store = new SqliteEventStore({ path: `${folder}/.annals/beside.db`, create: false });
    for (const path of [...secrets, "plain.txt"]) {
      const message = sampleMessage({ path }, { type: "Ask" });
      const [category, stream] = ["beside::a:command", `beside::a:command-${message.id}`];
      await store.commit({ appends: [{ category, stream, expected: "any", messages: [message], publish: true }] });
    }
    await until(async () => (await store.listRows("Got")).length === secrets.length + 1, () => "all to be read");
    const rows = (await store.listRows("Got")).map(({ row }) => JSON.parse(row!));
    const texts = Object.fromEntries(rows.map(({ id, text }) => [id, text]));
    assert.equal(texts["plain.txt"], "readable");
    for (const secret of secrets) assert.equal(texts[secret], "NotCapable", secret);
    await store.close();
    assert.equal(await server.stop(), 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

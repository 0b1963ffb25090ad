import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import unruly, { Ask } from "../../fixtures/unruly/domain.ts";
import type { Finding } from "../../../src/operating/doctor/finding.ts";
import { command } from "../../support/command.ts";
import { Site, until } from "../../support/server.ts";
import { canStartServices, PostgresServer, RedisServer } from "../../support/services.ts";
import { smallDisk } from "../../support/small_disk.ts";

const MODULE = new URL("../../fixtures/unruly/domain.ts", import.meta.url);

interface Diagnosis {
  readonly ok: boolean;
  readonly findings: readonly Finding[];
  readonly checks: readonly { readonly check: string; readonly isMade: boolean; readonly findings: number }[];
}

async function doctor(site: Site, ...args: string[]): Promise<Diagnosis & { readonly code: number }> {
  const { code, stdout, stderr } = await command(
    "annals",
    ["--config", site.file, ...args, "doctor", "--json"],
    site.folder,
  );
  assert.doesNotMatch(stderr, /^\s+at /m);
  return { code, ...JSON.parse(stdout) };
}

function found({ findings }: Diagnosis, severity: Finding["severity"], what: RegExp, todo: RegExp): void {
  const one = findings.find((finding) => what.test(`${finding.where}: ${finding.what}`));
  assert.ok(one, `${what} in ${JSON.stringify(findings, null, 1)}`);
  assert.equal(one.severity, severity, one.what);
  assert.match(one.todo, todo);
}

/** Everything in a file of SQLite. */
function contents(path: string): Record<string, unknown[]> {
  const db = new DatabaseSync(path, { readOnly: true });
  const tables = db.prepare("select name from sqlite_schema where type = 'table'").all();
  const all = tables.map(({ name }) => [name, db.prepare(`select * from "${name}"`).all().map((row) => ({ ...row }))]);
  db.close();
  return Object.fromEntries(all);
}

Deno.test("annals doctor finds nothing wrong with a server that is well, then what is, and changes nothing", async () => {
  await using site = Site.make("unruly", MODULE, "[server.stream_subscription]\nmax_retries = 0\n");
  const before = await doctor(site);
  found(before, "warning", /There is no data yet/, /start the server/);
  assert.deepEqual([before.code, before.ok], [0, true]);
  assert.equal(before.checks.find(({ check }) => check === "groups")!.isMade, false);
  const server = await site.start().running();
  await using client = await site.connect(unruly);
  const isWell = async () => (await doctor(site)).findings.length === 0;
  await until(isWell, () => "nothing to be found");
  await client.process(Ask({ id: "1", kind: "Thrower" }));
  await until(async () => (await client.store.deadLetters()).length === 1, () => "the dead letter");
  found(await doctor(site), "warning", /group Thrower: 1 dead letter/, /annals dlq list --group Thrower/);
  assert.equal(await server.stop(), 0);
  const path = `${site.folder}/.annals/unruly.db`;
  const held = contents(path);
  const stopped = await doctor(site);
  found(stopped, "warning", /No server runs/, /server\.ts --domain=unruly/);
  assert.deepEqual(contents(path), held);
  const text = await command("annals", ["--config", site.file, "doctor"], site.folder);
  assert.match(text.stdout, /^warning +No server runs.*\n +.*unruly\.db\n +→ deno run -A server\.ts --domain=unruly$/m);
  assert.match(text.stdout, /nothing found: .*clocks.*\n0 errors, 2 warnings, 0 notes\n$/);
});

Deno.test({
  name: "annals doctor says how services are set up, and that they are down, without failing",
  ignore: !canStartServices(),
  fn: async () => {
    await using redis = await RedisServer.start(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    await using postgres = await PostgresServer.start(["fsync=off", "synchronous_commit=off"]);
    const toml = `[event_store]\nurl = "${postgres.url}"\n[brokers.default]\nurl = "${redis.url}"\n`;
    await using site = Site.make("unruly", MODULE, toml);
    found(await doctor(site), "error", /event_store: .*is at migration 0/, /annals store migrate/);
    const migrated = await command("annals", ["--config", site.file, "store", "migrate"], site.folder);
    assert.equal(migrated.code, 0, migrated.stderr);
    await Deno.chmod(site.file, 0o644);
    const up = await doctor(site);
    found(up, "warning", /has fsync = off/, /alter system set fsync = on/);
    found(up, "warning", /has synchronous_commit = off/, /alter system set synchronous_commit = on/);
    found(up, "warning", /this role is a superuser/, /create role annals login/);
    found(up, "warning", /may evict whole streams/, /maxmemory-policy noeviction/);
    found(up, "note", /keeps nothing on disk/, /appendonly yes/);
    found(up, "warning", /domain\.toml: It has secrets, and all users/, /chmod 600/);
    assert.equal(up.code, 0);
    await redis.stop();
    const withoutRedis = await doctor(site);
    assert.equal(withoutRedis.code, 1);
    found(withoutRedis, "error", /brokers\.default: .*Cannot reach Redis/, /start Redis, then: redis-cli/);
    found(withoutRedis, "warning", /has fsync = off/, /alter system/);
    await postgres.stop();
    const withoutBoth = await doctor(site);
    found(withoutBoth, "error", /event_store: .*Cannot reach PostgreSQL/, /start PostgreSQL, then: pg_isready/);
    assert.deepEqual(withoutBoth.checks.find(({ check }) => check === "groups"), {
      check: "groups",
      isMade: false,
      findings: 0,
    });
    const password = decodeURIComponent(new URL(postgres.url).password);
    assert.ok(
      !JSON.stringify(withoutBoth).includes(password) &&
        !JSON.stringify(withoutBoth).includes(encodeURIComponent(password)),
    );
  },
});

Deno.test("annals doctor says what is wrong with the configuration and the domain's code", async () => {
  await using wrong = Site.make("unruly", MODULE);
  await Deno.writeTextFile(wrong.file, "[server]\nmesages_per_tick = 3\n");
  const unread = await doctor(wrong);
  assert.equal(unread.code, 1);
  found(
    unread,
    "error",
    /domain\.toml: server\.mesages_per_tick.*there is no such key.*messages_per_tick/,
    /annals config check/,
  );
  await using site = Site.make(
    "unruly",
    new URL("../../fixtures/broken/domain.ts", import.meta.url),
    "[server.workers]\nNobody = 2\n",
  );
  const broken = await doctor(site);
  assert.equal(broken.code, 1);
  found(broken, "error", /fixtures\/broken\/domain\.ts/, /deno check/);
  await using named = Site.make("unruly", MODULE, '[server.permissions.Nobody]\nenv = ["HOME"]\n');
  found(await doctor(named), "error", /server\.permissions\.Nobody: .*no handler "Nobody"/, /correct the name/);
  found(await doctor(named, "--domain", "nope"), "error", /There is no domain "nope"/, /--domain NAME/);
});

Deno.test("annals doctor says that a disk is full", async () => {
  await using disk = await smallDisk();
  if (!disk) return;
  await using site = Site.make("unruly", MODULE, `[event_store]\nurl = "sqlite:${disk.folder}/log.db"\n`);
  const small = await doctor(site);
  assert.equal(small.code, 1);
  found(small, "error", /Only \d MB are free/, /du -xh/);
});

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { connectPostgres, withSchema } from "../../support/postgres.ts";
import { connectRedis } from "../../support/redis.ts";
import { Site, until } from "../../support/server.ts";
import { databaseUrl, freePort, redisUrl } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/tally/domain.ts", import.meta.url);
const HOPELESS: [name: string, url: (good: string) => string, told: RegExp][] = [
  [
    "a wrong password of PostgreSQL",
    (good) => good.replace(/:[^:@]*@/, ":s3cret@"),
    /password authentication failed.*correct user and password/,
  ],
  [
    "a database that does not exist",
    (good) => good.replace(/\/[^/]*$/, "/nope"),
    /"nope" does not exist; create the database \(createdb\)/,
  ],
  ["an unknown user of Redis", () => redisUrl().replace("//", "//bob:s3cret@"), /WRONGPASS.*correct user and password/],
];

function toml(url: string): string {
  return url.startsWith("redis") ? `[brokers.default]\nurl = "${url}"\n` : `[event_store]\nurl = "${url}"\n`;
}

for (const [name, url, told] of HOPELESS) {
  Deno.test(`${name} is said, without the password, and ends the server with 1`, async () => {
    await using site = Site.make("tally", MODULE, toml(url(databaseUrl())));
    const server = site.start();
    assert.equal((await server.status).code, 1);
    await server.stop();
    assert.match(server.stderr, told);
    assert.doesNotMatch(server.stderr + server.stdout, /s3cret/);
    assert.doesNotMatch(server.stderr, /^\s+at /m);
  });
}

Deno.test("missing rights are said, and end the server with 1", async () => {
  const admin = connectPostgres();
  const role = `poor_${crypto.randomUUID().slice(0, 8)}`;
  await admin.unsafe(`create role ${role} login password 'x'`);
  const redis = connectRedis();
  await redis.call("acl", "setuser", role, "on", ">x", "~*", "+ping", "+info", "+select");
  try {
    const { host, pathname } = new URL(databaseUrl());
    await using one = Site.make("tally", MODULE, `[event_store]\nurl = "postgres://${role}:x@${host}${pathname}"\n`);
    await using two = Site.make("tally", MODULE, toml(redisUrl().replace("//", `//${role}:x@`)));
    const servers = [one.start(), two.start()];
    for (const server of servers) assert.equal((await server.status).code, 1);
    for (const server of servers) await server.stop();
    assert.match(servers[0].stderr, /permission denied for database.*grant the role what it lacks/);
    assert.match(servers[1].stderr, /NOPERM.*grant the user \+@connection \+@stream/);
  } finally {
    await admin.unsafe(`drop role ${role}`);
    await admin.end();
    await redis.call("acl", "deluser", role);
    await redis.quit();
  }
});

Deno.test("a service that is down is waited for; a signal ends the wait", async () => {
  const port = freePort();
  await using site = Site.make("tally", MODULE, toml(`postgres://me:s3cret@127.0.0.1:${port}/x`));
  const server = site.start();
  await until(() => server.stderr.includes("waiting for it"), () => "it to wait");
  assert.match(
    server.stderr,
    /Cannot reach PostgreSQL at postgres:\/\/me:\*\*\*@127\.0\.0\.1:\d+\/x \(.*ECONNREFUSED.*start it, or correct the URL/,
  );
  assert.equal(await server.stop(), 0);
});

Deno.test("two domains cannot share a schema, and are told what to do", async () => {
  await using schema = await withSchema();
  const config = `${toml(databaseUrl())}schema = "${schema.name}"\n`;
  await using one = Site.make("tally", MODULE, config);
  await using two = Site.make("unruly", new URL("../../fixtures/unruly/domain.ts", import.meta.url), config);
  assert.equal(await (await one.start().running()).stop(), 0);
  const server = two.start();
  assert.equal((await server.status).code, 1);
  await server.stop();
  assert.match(server.stderr, /holds domain "tally", not "unruly"; give this one its own/);
});

Deno.test("a module cannot take another domain's store by its name", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-names-" });
  try {
    const source = await Deno.readTextFile(MODULE);
    await Deno.writeTextFile(`${folder}/good.ts`, source);
    await Deno.writeTextFile(`${folder}/evil.ts`, source);
    const [good, evil] = [pathToFileURL(`${folder}/good.ts`), pathToFileURL(`${folder}/evil.ts`)];
    // Both say that they are "tally".
    await using one = Site.make("other", good);
    await using two = Site.make("tally", good);
    const [misnamed, taken] = [one.start(), two.start(`--domain=${evil.href}`)];
    assert.equal((await misnamed.status).code, 2);
    assert.match(misnamed.stderr, /domains\.other: the module's domain is called "tally"; rename one of the two/);
    assert.equal((await taken.status).code, 2);
    assert.match(taken.stderr, /is called "tally", but .*domains\.tally = /);
    // One file for two domains.
    const toml = `[event_store]\nurl = "sqlite:${folder}/both.db"\n`;
    await using first = Site.make("tally", MODULE, toml);
    await using second = Site.make("unruly", new URL("../../fixtures/unruly/domain.ts", import.meta.url), toml);
    const server = await first.start().running();
    assert.equal(await server.stop(), 0);
    const refused = second.start();
    assert.equal((await refused.status).code, 1);
    assert.match(refused.stderr, /holds domain "tally", not "unruly"; give this one a file of its own/);
    for (const ended of [misnamed, taken, refused]) await ended.stop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

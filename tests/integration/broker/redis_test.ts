import { RedisBroker } from "@annals/annals/broker/redis";
import assert from "node:assert/strict";
import { brokerSuite, sampleRecord } from "../../../src/testing/broker_suite.ts";
import tally from "../../fixtures/tally/domain.ts";
import { pause } from "../../support/ground.ts";
import { audit, drive, settled } from "../../support/load.ts";
import { withSchema } from "../../support/postgres.ts";
import { connectRedis, withPrefix } from "../../support/redis.ts";
import { RedisCluster } from "../../support/redis_cluster.ts";
import { Site } from "../../support/server.ts";
import { canStartServices, databaseUrl, freePort, RedisServer, redisUrl } from "../../support/services.ts";

const ignore = !canStartServices();
let cluster: RedisCluster | undefined;

Deno.test.beforeAll(async () => {
  if (!ignore) cluster = await RedisCluster.start();
});

Deno.test.afterAll(async () => await cluster?.[Symbol.asyncDispose]());

// In a cluster a stream that is behind does not keep others from being written: they may be on other nodes.
brokerSuite((name, run) => {
  if (name.startsWith("publish() refuses to write")) return;
  Deno.test({ name: `redis cluster: ${name}`, ignore, fn: run });
}, async () => {
  await cluster!.flush();
  const broker = new RedisBroker({ url: cluster!.url });
  return {
    broker,
    advance: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    [Symbol.asyncDispose]: () => broker.close(),
  };
});

Deno.test({
  name: "servers on a cluster of three nodes need not be granted its nodes",
  ignore,
  fn: async () => {
    await using schema = await withSchema();
    const toml = `[event_store]\nurl = "${databaseUrl()}"\nschema = "${schema.name}"\n` +
      `[brokers.default]\nurl = "${cluster!.url}"\nprefix = "${schema.name}:"\n`;
    await using site = Site.make("tally", new URL("../../fixtures/tally/domain.ts", import.meta.url), toml);
    const servers = await Promise.all([site.start().running(), site.start().running()]);
    await using client = await site.connect(tally);
    const load = drive(client);
    for (let i = 0; i < 3; i++) {
      await pause(300);
      await cluster!.flush();
    }
    await load.stop();
    await settled(client);
    await audit(client, load.sent);
    for (const server of servers) {
      assert.equal(await server.stop(), 0);
      assert.doesNotMatch(server.stderr, /Refused net|replaced/);
    }
  },
});

Deno.test("an entry has its position as id, and can be read without Annals", async () => {
  await using keys = withPrefix();
  const broker = new RedisBroker({ url: redisUrl(), prefix: keys.prefix });
  await broker.publish([sampleRecord(7, { category: "bank::account", data: '{"amount":5}' })]);
  const redis = connectRedis();
  const [[id, fields]] = await redis.xrange(`${keys.prefix}bank::account`, "-", "+");
  assert.equal(id, "7-0");
  assert.equal(fields[fields.indexOf("d") + 1], '{"amount":5}');
  await redis.quit();
  await broker.close();
});

Deno.test("a cluster that is not there, and a Redis that is none, are told of", async () => {
  const away = new RedisBroker({ url: `redis://127.0.0.1:${freePort()}?cluster=true` });
  await assert.rejects(away.describe("nowhere"), { name: "BrokerUnavailableError", retryable: true });
  await away.close();
  const url = new URL(redisUrl());
  url.searchParams.set("cluster", "true");
  const single = new RedisBroker({ url: url.href });
  await assert.rejects(single.describe("nowhere"), {
    name: "BrokerUnavailableError",
    message: /cluster support disabled.*remove \?cluster=true/,
  });
  await single.close();
});

Deno.test("a database that Redis does not have is refused, instead of another one being used", async () => {
  const url = new URL(redisUrl());
  url.pathname = "/9999";
  const broker = new RedisBroker({ url: url.href });
  await assert.rejects(broker.describe("nowhere"), {
    name: "BrokerUnavailableError",
    retryable: false,
    message: /it has no database of that number/,
  });
  await broker.close();
});

Deno.test("a Redis that evicts, or keeps nothing on disk, is warned of", { ignore }, async () => {
  await using server = await RedisServer.start(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
  const broker = new RedisBroker({ url: server.url });
  const warnings = await broker.inspect();
  assert.match(warnings.join("\n"), /may evict whole streams.*allkeys-lru.*noeviction/);
  assert.match(warnings.join("\n"), /keeps nothing on disk; after a restart it is refilled/);
  await broker.close();
  await using durable = await RedisServer.start(["--appendonly", "yes"]);
  const other = new RedisBroker({ url: durable.url });
  assert.deepEqual(await other.inspect(), []);
  await other.close();
});

Deno.test("two deployments that would mix their streams are told apart", async () => {
  await using keys = withPrefix();
  const options = { url: redisUrl(), prefix: keys.prefix, domain: "bank" };
  const [one, two] = [new RedisBroker(options), new RedisBroker(options)];
  await one.adopt("log one");
  await assert.rejects(two.adopt("log two"), { retryable: true, message: /in use for another log.*prefix/ });
  await one.close();
  assert.equal(await two.adopt("log two"), false);
  await two.close();
});

Deno.test("a user with a password and only the rights of docs/deploy.md is enough", { ignore }, async () => {
  await using server = await RedisServer.start();
  const admin = connectRedis(server.url);
  const acl =
    /user annals on .*/.exec(await Deno.readTextFile(new URL("../../../docs/deploy.md", import.meta.url)))![0];
  await admin.call(
    "acl",
    "setuser",
    ...acl.split(" ").slice(1).map((word) => word === ">PASSWORD" ? ">p@ss/word" : word),
  );
  await admin.quit();
  const broker = new RedisBroker({
    url: server.url.replace("//", `//annals:${encodeURIComponent("p@ss/word")}@`),
    domain: "bank",
  });
  const stream = "bank::account";
  await broker.inspect();
  await broker.adopt("log");
  await broker.seek(stream, "g", 0);
  await broker.publish([sampleRecord(1, { category: stream })]);
  const { messages } = await broker.read({ stream, group: "g", consumer: "c", count: 1, block: 50 });
  await broker.acknowledge(stream, "g", messages.map(({ position }) => position));
  await broker.claim({ stream, group: "g", consumer: "d", idle: 0, count: 1 });
  await broker.trim(stream, 1);
  assert.equal((await broker.describe(stream)).last, 1);
  await broker.remove(stream);
  await broker.close();
});

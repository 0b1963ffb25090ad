import assert from "node:assert/strict";
import { pause, survives } from "../support/ground.ts";
import { Proxy } from "../support/proxy.ts";
import { connectRedis } from "../support/redis.ts";
import { Site, until } from "../support/server.ts";

survives("Redis is flushed, again and again", async ({ redis, random, servers }) => {
  const admin = connectRedis(redis.url);
  for (let i = 0; i < 6; i++) {
    await admin.flushall();
    await pause(random() * 800);
  }
  await admin.quit();
  assert.ok(servers.some(({ stderr }) => stderr.includes("The broker has lost messages")));
});

survives("Redis is flushed while nobody writes, and is filled again within 2 s", async ({ redis, client }) => {
  const admin = connectRedis(redis.url);
  await admin.flushall();
  await until(async () => await admin.exists("tally::tally") === 1, () => "the stream to be back", 2_500);
  assert.ok(await client.store.lastPosition() > 0);
  await admin.quit();
});

survives("Redis is killed and comes back empty", async ({ redis, servers, client }) => {
  for (let i = 0; i < 2; i++) {
    await redis.kill();
    await pause(700);
    await redis.start();
    const reached = async () => (await client.store.checkpoints("SeenProjector"))[0]?.position ?? 0;
    const before = await reached();
    await until(
      async () => await reached() > before + 20,
      () => "the projector to go on",
      15_000,
    );
  }
  assert.ok(servers.some(({ stderr }) => /Cannot reach Redis at redis:\/\/127/.test(stderr)));
});

survives("Redis stands still for a while", async ({ redis }) => {
  const admin = connectRedis(redis.url);
  for (let i = 0; i < 3; i++) {
    await admin.call("client", "pause", "700", "ALL");
    await pause(900);
  }
  await admin.quit();
});

let proxy: Proxy;
survives("connections to Redis break between a command and its answer", async ({ random }) => {
  for (let i = 0; i < 30; i++) {
    proxy.swallow();
    await pause(random() * 120);
  }
  await until(() => proxy.left === 0, () => "all answers to be swallowed");
}, {
  detour: (redis) => {
    proxy = new Proxy(redis.port);
    return Promise.resolve({
      redis: `redis://127.0.0.1:${proxy.port}/0`,
      [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
    });
  },
});

survives("Redis has no memory left, and refuses writes", async ({ redis, servers }) => {
  const admin = connectRedis(redis.url);
  await admin.config("SET", "maxmemory-policy", "noeviction");
  await admin.config("SET", "maxmemory", "1mb");
  await until(
    () => servers.some(({ stderr }) => /its memory is full \(maxmemory\)/.test(stderr)),
    () => "it to be said",
  );
  await pause(500);
  await admin.config("SET", "maxmemory", "0");
  await admin.quit();
});

survives("Redis refuses writes for reasons of its own, and groups read the log meanwhile", async (ground) => {
  const { redis, servers, client } = ground;
  const admin = connectRedis(redis.url);
  const refuse = async (set: () => Promise<unknown>, told: RegExp, reset: () => Promise<unknown>) => {
    await set();
    await until(() => servers.some(({ stderr }) => told.test(stderr)), () => `${told}`);
    // They keep up although nothing can be published or read.
    const last = await client.store.lastPosition();
    assert.ok(await client.caughtUp({ position: last, timeout: 10_000 }), "the groups stand still");
    await reset();
  };
  await refuse(
    () => admin.config("SET", "min-replicas-to-write", "1"),
    /NOREPLICAS.*min-replicas-to-write/,
    () => admin.config("SET", "min-replicas-to-write", "0"),
  );
  await refuse(
    () => admin.set("tally::tally", "something else"),
    /WRONGTYPE.*a key that Annals needs holds something else/,
    () => admin.del("tally::tally"),
  );
  await admin.quit();
  assert.ok(!servers.some(({ stderr }) => /resting for/.test(stderr)));
});

survives("Redis' password is changed, and changed back", async ({ redis, servers }) => {
  const admin = connectRedis(redis.url);
  await admin.config("SET", "requirepass", "other");
  await admin.call("auth", "other");
  await admin.call("client", "kill", "type", "normal", "skipme", "yes");
  await until(() => servers.some(({ stderr }) => /NOAUTH.*password/.test(stderr)), () => "it to be said");
  await admin.config("SET", "requirepass", "");
  await admin.quit();
});

survives("one of two servers is cut off from Redis, and the other goes on with all that needs it", async (ground) => {
  const { client, servers, load, redis, postgres } = ground;
  await using far = new Proxy(redis.port);
  const toml = `[event_store]\nurl = "${postgres.url}"\n[brokers.default]\nurl = "redis://127.0.0.1:${far.port}/0"\n`;
  await using site = Site.make("tally", new URL("../fixtures/tally/domain.ts", import.meta.url), toml);
  // The one that is to be cut off has the relay.
  await servers[0].stop();
  const cutOff = await site.start().running();
  await until(
    async () => (await client.store.leases()).some(({ name, expiresAt }) => name === "$relay" && expiresAt > 0),
    () => "a relay",
  );
  servers[0] = await ground.site.start().running();
  await far[Symbol.asyncDispose]();
  const before = load.sent.size;
  await until(() => load.sent.size > before + 20, () => "commands to be taken");
  const reached = async () => (await client.store.checkpoints("SeenProjector"))[0]?.position ?? 0;
  const position = await reached();
  await until(async () => await reached() > position + 20, () => "the projector to go on", 15_000);
  await until(async () => (await client.store.outboxStatus()).waiting < 50, () => "the outbox to be emptied", 15_000);
  assert.match(cutOff.stderr, /reading the log until it is back/);
  assert.equal(await cutOff.stop(), 0);
}, { servers: 1 });

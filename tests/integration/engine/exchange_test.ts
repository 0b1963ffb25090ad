import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Webhook } from "standardwebhooks";
import trade, { Account, Credit } from "../../fixtures/exchange/domain.ts";
import { command } from "../../support/command.ts";
import { connectRedis } from "../../support/redis.ts";
import { Site, until } from "../../support/server.ts";
import { canStartServices, freePort, PostgresServer, RedisServer } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/exchange/domain.ts", import.meta.url);
const SECRET = `whsec_${btoa("a secret of twenty-four bytes or more")}`;
const OTHER = `whsec_${btoa("quite another secret of enough bytes")}`;

/** A partner who takes webhooks, and answers as it is told. */
function partner(answer: (event: any, times: number) => number | Promise<number>) {
  const taken: any[] = [];
  const times = new Map<string, number>();
  const faults: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const body = await request.text();
    try {
      new Webhook(SECRET).verify(body, Object.fromEntries(request.headers));
      assert.match(request.headers.get("content-type")!, /^application\/cloudevents\+json/);
    } catch (error) {
      faults.push(String(error));
      return new Response("unsigned", { status: 401 });
    }
    const event = JSON.parse(body);
    times.set(event.id, (times.get(event.id) ?? 0) + 1);
    const status = await answer(event, times.get(event.id)!);
    if (status < 300) taken.push(event);
    return new Response(status < 300 ? null : "not now", { status });
  });
  return { url: `http://127.0.0.1:${server.addr.port}/hook`, taken, faults, close: () => server.shutdown() };
}

function event(id: string, over: Record<string, unknown> = {}): Record<string, unknown> {
  const data = { account: "a", cents: 5 };
  return { specversion: "1.0", id, source: "https://psp.example", type: "com.psp.paid.v1", data, ...over };
}

/** Posts to a subscriber, signed. */
async function post(
  port: number,
  body: unknown,
  over: { secret?: string; type?: string; at?: Date; name?: string } = {},
) {
  const { secret = SECRET, type = "application/cloudevents+json", at = new Date(), name = "Payments" } = over;
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(`http://127.0.0.1:${port}/subscribers/${name}`, {
    method: "POST",
    headers: {
      "content-type": type,
      "webhook-id": "m",
      "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
      "webhook-signature": new Webhook(secret).sign("m", at, text),
    },
    body: text,
  });
  return { status: response.status, answer: await response.json() };
}

const HOOKS = (url: string, port: number) => `
[server.http]
listen = "127.0.0.1:${port}"
[server.subscriptions.Feed]
retry_delay_seconds = 0.05
[publishers.Feed]
url = "${url}"
secret = ["${OTHER}", "${SECRET}"]
timeout_seconds = 5
[subscribers.Payments]
secret = "${SECRET}"
`;

Deno.test("webhooks out: signed, in the order of each stream, tried again, and nothing that is to stay inside", async () => {
  // Each fails twice, once by hanging up in the way of a proxy.
  const { url, taken, faults, close } = partner((_event, times) => times === 1 ? 503 : times === 2 ? 302 : 204);
  await using site = Site.make("trade", MODULE, HOOKS(url, freePort()));
  const server = await site.start().running();
  await using client = await site.connect(trade);
  for (let i = 0; i < 4; i++) {
    for (const accountId of ["a", "b"]) {
      await client.process(Credit({ accountId, cents: i + 1, reference: `${accountId}${i}` }), { wait: true });
    }
  }
  await until(async () => taken.length >= 8, () => `all to arrive; ${taken.length} did`);
  assert.deepEqual(faults, []);
  for (const account of ["a", "b"]) {
    assert.deepEqual(
      taken.filter(({ subject }) => subject === account).map(({ data }) => data.reference),
      [0, 1, 2, 3].map((i) => `${account}${i}`),
    );
  }
  const [{ id, time, ...first }] = taken;
  assert.deepEqual(first, {
    specversion: "1.0",
    source: "https://bank.example",
    type: "example.bank.credited.v1",
    subject: "a",
    datacontenttype: "application/json",
    data: { cents: 1, reference: "a0" },
  });
  const [stored] = await client.store.readLog({ type: "Credited" });
  assert.deepEqual([id, Date.parse(time)], [stored.id, stored.time]);
  assert.match(server.stderr, /answered 302: not now/);
  assert.deepEqual(await client.store.deadLetters(), []);
  assert.equal(await server.stop(), 0);
  await close();
});

Deno.test("a webhook that hangs holds up only its own stream, and is not asked twice meanwhile", async () => {
  let arrived = 0;
  let go = () => {};
  const others = new Promise<void>((resolve) => go = resolve);
  const asked: string[] = [];
  const { url, taken, close } = partner(async ({ subject, data }) => {
    asked.push(data.reference);
    // It answers when all others have arrived.
    if (subject === "hangs") await others;
    else if (++arrived === 40) go();
    return 200;
  });
  await using site = Site.make(
    "trade",
    MODULE,
    HOOKS(url, freePort()).replace("timeout_seconds = 5", "timeout_seconds = 60"),
  );
  const server = await site.start().running();
  await using client = await site.connect(trade);
  for (let i = 0; i < 40; i++) {
    if (i === 5) await client.process(Credit({ accountId: "hangs", cents: 1, reference: "hangs" }), { wait: true });
    if (i === 6) await client.process(Credit({ accountId: "hangs", cents: 1, reference: "behind" }), { wait: true });
    await client.process(Credit({ accountId: `a${i % 9}`, cents: 1, reference: String(i) }), { wait: true });
  }
  await until(async () => taken.length >= 42, () => `all to arrive; ${taken.length} did: ${server.stderr}`, 50_000);
  assert.equal(asked.length, 42);
  assert.ok(asked.indexOf("behind") > asked.indexOf("hangs"));
  assert.equal(await server.stop(), 0);
  await close();
});

Deno.test("what a webhook does not take at all becomes a dead letter, and arrives when it is replayed", async () => {
  let isOpen = false;
  const { url, taken, close } = partner(() => isOpen ? 200 : 500);
  const port = freePort();
  await using site = Site.make(
    "trade",
    MODULE,
    `${HOOKS(url, port)}`.replace("retry_delay_seconds = 0.05", "retry_delay_seconds = 0.0001\nmax_retries = 2"),
  );
  const server = await site.start().running();
  await using client = await site.connect(trade);
  await client.process(Credit({ accountId: "a", cents: 1, reference: "r" }), { wait: true });
  await until(async () => (await client.store.deadLetters()).length > 0, () => "it to be given up");
  const [dead] = await client.store.deadLetters();
  assert.match(dead.error, /127\.0\.0\.1:\d+\/hook answered 500: not now/);
  // What the operator says of this group counts, not the code's 13.
  assert.equal(dead.attempts.length, 3);
  isOpen = true;
  const replayed = await command("annals", ["--config", site.file, "dlq", "replay", dead.id], site.folder);
  assert.equal(replayed.code, 0, replayed.stderr);
  await until(async () => taken.length > 0, () => "it to arrive");
  assert.deepEqual(taken.map(({ data }) => data.reference), ["r"]);
  assert.equal(await server.stop(), 0);
  await close();
});

Deno.test("webhooks in: only what is signed, each source and id once, what does not match is a dead letter", async () => {
  const { url, close } = partner(() => 200);
  const port = freePort();
  await using site = Site.make("trade", MODULE, HOOKS(url, port));
  const server = await site.start().running();
  await using client = await site.connect(trade);
  const stored = (n: number, repeated = 0, passed = 0) => ({ status: 202, answer: { stored: n, repeated, passed } });
  assert.deepEqual(await post(port, event("1")), stored(1));
  assert.deepEqual(await post(port, event("1")), stored(0, 1));
  assert.deepEqual(await post(port, event("1", { source: "https://other.example" })), stored(1));
  const many = [event("2"), event("2"), event("3", { subject: "x" }), event("4", { type: "com.psp.refused.v1" })];
  assert.deepEqual(await post(port, many, { type: "application/cloudevents-batch+json" }), stored(2, 1, 1));
  // The same at the same time.
  const both = await Promise.all(Array.from({ length: 8 }, () => post(port, event("5"))));
  assert.equal(both.filter(({ answer }) => answer.stored === 1).length, 1);
  const refused: [expected: number, body: unknown, over?: Parameters<typeof post>[2]][] = [
    [401, event("6"), { secret: OTHER }],
    [401, event("6"), { at: new Date(Date.now() - 600_000) }],
    [404, event("6"), { name: "Feed" }],
    [415, event("6"), { type: "application/json" }],
    [400, "{", {}],
    [400, { ...event("6"), specversion: "0.3" }, {}],
    [400, { ...event("6"), id: "" }, {}],
    [413, event("6", { data: "x".repeat(17 << 20) }), {}],
    [400, Array.from({ length: 1_001 }, (_, i) => event(`many${i}`)), { type: "application/cloudevents-batch+json" }],
    [400, `{"specversion":"1.0","id":"6","source":"s","type":"com.psp.paid.v1","data":"\\u0000"}`, {}],
  ];
  for (const [expected, body, over] of refused) assert.equal((await post(port, body, over)).status, expected);
  const unsigned = await fetch(`http://127.0.0.1:${port}/subscribers/Payments`, { method: "POST", body: "{}" });
  assert.equal(unsigned.status, 401);
  assert.match((await unsigned.json()).title, /signature/);
  assert.match(server.stderr, /A webhook for Payments was refused: its signature is wrong/);
  assert.equal((await fetch(`http://127.0.0.1:${port}/subscribers/Payments`)).status, 405);
  assert.deepEqual(await post(port, event("7", { data: { account: "a", cents: -5 } })), stored(1));
  await until(async () => (await client.store.deadLetters()).length > 0, () => "the dead letter");
  const [dead] = await client.store.deadLetters();
  assert.deepEqual([dead.group, dead.message.category], ["Payments", "trade::payments:received"]);
  assert.match(dead.error, /cents: /);
  await until(async () => (await client.load(Account, "a")).state.length >= 5, () => "all to be handled");
  assert.ok(await client.caughtUp());
  assert.deepEqual([...(await client.load(Account, "a")).state].sort(), ["1", "1", "2", "3", "5"]);
  // Who sends half of something does not keep it from stopping.
  const half = await Deno.connect({ hostname: "127.0.0.1", port });
  const headers =
    "webhook-id: m\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,x\r\ncontent-type: application/cloudevents+json";
  const request = `POST /subscribers/Payments HTTP/1.1\r\nhost: h\r\n${headers}\r\ncontent-length: 100\r\n\r\n{`;
  await half.write(new TextEncoder().encode(request));
  const stoppingAt = performance.now();
  assert.equal(await server.stop(), 0);
  half.close();
  assert.ok(performance.now() - stoppingAt < 20_000);
  await close();
});

Deno.test("a subscriber that seems to be renamed is not run: it would take everything again", async () => {
  const port = freePort();
  await using site = Site.make("trade", MODULE, HOOKS("http://127.0.0.1:9/none", port));
  const server = await site.start().running();
  assert.equal((await post(port, event("1"))).status, 202);
  await using client = await site.connect(trade);
  await until(async () => (await client.load(Account, "a")).state.length > 0, () => "it to be credited");
  assert.equal(await server.stop(), 0);
  const renamed = fileURLToPath(new URL("./renamed.ts", MODULE));
  const toml = Deno.readTextFileSync(site.file).replace(/trade = .*/, `trade = ${JSON.stringify(renamed)}`);
  Deno.writeTextFileSync(site.file, toml.replace("[subscribers.Payments]", "[subscribers.Payins]"));
  const again = site.start();
  assert.equal((await again.status).code, 1);
  assert.match(again.stdout + again.stderr, /Subscribers may have been renamed:\n\n {2}"Payins" is new; "Payments"/);
});

Deno.test("a server takes webhooks as soon as the one that did has stopped", async () => {
  const port = freePort();
  await using site = Site.make("trade", MODULE, HOOKS("http://127.0.0.1:9/none", port));
  const first = await site.start().running();
  const second = await site.start().running();
  assert.match(second.stderr, /is taken, so this process serves no [^;]*webhooks[^;]* until it is free/);
  assert.equal((await post(port, event("1"))).status, 202);
  assert.equal(await first.stop(), 0);
  await until(
    () => second.stdout.includes("Listening at"),
    () => `the other one to listen: ${second.stderr}`,
  );
  assert.deepEqual((await post(port, event("1"))).answer, { stored: 0, repeated: 1, passed: 0 });
  assert.equal(await second.stop(), 0);
});

Deno.test({
  name: "streams of Redis: out of one domain and into another, each event once, though servers are killed",
  ignore: !canStartServices(),
  fn: async () => {
    await using redis = await RedisServer.start();
    await using postgres = await PostgresServer.start();
    await using site = Site.make(
      "trade",
      MODULE,
      `
[event_store]
url = "${postgres.url}"
[brokers.default]
url = "${redis.url}"
[publishers.Feed]
stream = "feed"
[subscribers.Payments]
stream = "payments"
`,
    );
    const servers = [await site.start().running(), await site.start().running()];
    await using client = await site.connect(trade);
    const foreign = connectRedis(redis.url);
    const [N, GROUP] = [400, "annals:trade:Payments"];
    for (let i = 0; i < N; i++) {
      const one = event(String(i), { subject: `s${i % 7}`, data: { account: `a${i % 7}`, cents: 1 } });
      const { data, ...attributes } = one;
      // In JSON, or an attribute per field; every third twice.
      const fields = i % 2 === 0
        ? ["event", JSON.stringify(one)]
        : [...Object.entries(attributes).flat(), "data", JSON.stringify(data)] as string[];
      for (let times = 0; times < (i % 3 === 0 ? 2 : 1); times++) await foreign.xadd("payments", "*", ...fields);
      // As a server does that has lost the lease and does not know it: what it reads, nobody else is given.
      if (i % 20 === 0) {
        await foreign.call("xreadgroup", "group", GROUP, "intake", "count", 1, "streams", "payments", ">");
      }
      if (i === 150) await servers[0].kill();
      if (i === 250) servers[0] = await site.start().running();
      if (i === 300) await servers[1].kill();
    }
    await foreign.xadd("payments", "*", "nonsense", "1");
    const counted = async () => {
      const states = await Promise.all(Array.from({ length: 7 }, (_, i) => client.load(Account, `a${i}`)));
      return states.map(({ state }) => state);
    };
    await until(async () => (await counted()).flat().length >= N, () => "all to be credited", 60_000);
    await until(async () => (await client.store.deadLetters()).length > 0, () => "the nonsense to be a dead letter");
    assert.match((await client.store.deadLetters())[0].error, /cannot be read as a CloudEvent: its specversion/);
    assert.ok(await client.caughtUp());
    for (const [account, references] of (await counted()).entries()) {
      const expected = Array.from({ length: N }, (_, i) => i).filter((i) => i % 7 === account).map(String);
      assert.deepEqual(references, expected);
    }
    const delivered = async () => {
      const entries = await foreign.xrange("feed", "-", "+");
      return entries.map(([, [, text]]) => JSON.parse(text!));
    };
    await until(async () => new Set((await delivered()).map(({ id }) => id)).size >= N, () => "all to be published");
    // What is delivered again comes later: each for the first time, they are in order.
    const first = new Map<string, any>();
    for (const one of await delivered()) if (!first.has(one.id)) first.set(one.id, one);
    assert.equal(first.size, N);
    for (const [subject, its] of Map.groupBy(first.values(), ({ subject }) => subject)) {
      const expected = Array.from({ length: N }, (_, i) => i).filter((i) => `a${i % 7}` === subject).map(String);
      assert.deepEqual(its.map(({ data }) => data.reference), expected);
    }
    const pending = await foreign.xpending("payments", GROUP) as [number];
    assert.equal(pending[0], 0);
    await foreign.quit();
    assert.equal(await servers[0].stop(), 0);
  },
});

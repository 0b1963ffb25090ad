import { type Config, loadConfig } from "@annals/annals/config";
import assert from "node:assert/strict";

async function load(toml: string, env: Record<string, string> = {}): Promise<Config> {
  const file = await Deno.makeTempFile({ suffix: ".toml" });
  try {
    await Deno.writeTextFile(file, toml);
    return loadConfig({ file, env: (name) => env[name] });
  } finally {
    await Deno.remove(file);
  }
}

const from = (config: Config, key: string) => config.values.find((value) => value.key === key);

Deno.test("variables take the environment's value or the default, and count as what they stand for", async () => {
  const toml = `[server]\nmessages_per_tick = "\${TICK|50}"\n[event_store]\nurl = "\${URL|sqlite:data/{domain}.db}"\n`;
  const plain = await load(toml);
  assert.equal(plain.groupConfig("X").settings.messagesPerTick, 50);
  assert.match(plain.store.url, /\/data\/\{domain\}\.db$/);
  const set = await load(toml, { TICK: "7", URL: "memory:" });
  assert.equal(set.groupConfig("X").settings.messagesPerTick, 7);
  assert.equal(set.store.provider, "memory");
  assert.equal((await load(toml, { TICK: "" })).groupConfig("X").settings.messagesPerTick, 50);
});

Deno.test("[env.production] merges over the base when ANNALS_ENV says so", async () => {
  const toml = `[server]\nmessages_per_tick = 5\nmax_heap_mb = 100\n[env.production.server]\nmessages_per_tick = 9\n`;
  assert.equal((await load(toml)).groupConfig("X").settings.messagesPerTick, 5);
  const production = await load(toml, { ANNALS_ENV: "production" });
  assert.equal(production.groupConfig("X").settings.messagesPerTick, 9);
  assert.equal(production.maxHeapMb, 100);
  assert.match(from(production, "server.stream_subscription.messages_per_tick")!.from, /^\[env\.production\]/);
});

Deno.test("a group's own settings win over its kind's, and those over the server's", async () => {
  const config = await load(`[server]
messages_per_tick = 10
[server.stream_subscription]
max_retries = 4
[server.event_store_subscription]
max_retries = 6
[server.subscriptions.A]
type = "event_store"
retry_delay_seconds = 0.5
[server.workers]
A = 3
`);
  const a = config.groupConfig("A");
  assert.equal(a.type, "event_store");
  assert.equal(a.settings.maxRetries, 6);
  assert.equal(a.settings.retryDelaySeconds, 0.5);
  assert.equal(a.settings.messagesPerTick, 10);
  assert.equal(config.groupConfig("B").settings.maxRetries, 4);
  assert.equal(config.workers("A", []), 3);
  assert.equal(config.workers("B", []), 1);
});

Deno.test("the three keys that TOML puts into [brokers.default] count there as well", async () => {
  const config = await load(`[brokers.default]\nurl = "memory:"\nevent_processing = "sync"\nenable_outbox = false\n`);
  assert.equal(config.eventProcessing, "sync");
  assert.equal(config.commandProcessing, "async");
  assert.equal(config.enableOutbox, false);
});

Deno.test("relative paths start from the folder of the file", async () => {
  const config = await load(
    `[event_store]\nurl = "sqlite:x.db"\n[domains]\na = "./a.ts"\n[server.permissions."*"]\nread = ["data"]\n`,
  );
  assert.equal(config.store.url, `${config.folder}/x.db`);
  assert.equal(config.domains.a, `${config.folder}/a.ts`);
  assert.deepEqual(config.grants("Any"), { read: [`${config.folder}/data`] });
});

Deno.test("an overlay that is not in use may name variables that are not set", () => {
  const text = `
[env.production.event_store]
url = "\${NO_SUCH}"
[env.production.server]
messages_per_tick = "\${NO_SUCH}"
[env.production.publishers.Feed]
url = "https://h"
secret = ["\${NO_SUCH}"]
`;
  assert.equal(loadConfig({ text, env: () => undefined }).store.provider, "sqlite");
});

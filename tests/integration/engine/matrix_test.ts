import assert from "node:assert/strict";
import tally from "../../fixtures/tally/domain.ts";
import { audit, drive, settled } from "../../support/load.ts";
import { withSchema } from "../../support/postgres.ts";
import { withPrefix } from "../../support/redis.ts";
import { Site } from "../../support/server.ts";
import { databaseUrl, redisUrl } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/tally/domain.ts", import.meta.url);
const STORES = ["memory", "sqlite", "postgres"] as const;
const BROKERS = ["memory", "sqlite", "redis"] as const;

for (const store of STORES) {
  for (const broker of BROKERS) {
    Deno.test(`the server runs on a ${store} store and a ${broker} broker`, () => run(store, broker, "stream"));
  }
  Deno.test(`the server runs on a ${store} store, straight from the log`, () => run(store, "memory", "event_store"));
}

/** Where the parts are, with names of the test's own. */
async function run(store: typeof STORES[number], broker: typeof BROKERS[number], type: string): Promise<void> {
  await using schema = await withSchema();
  await using keys = withPrefix();
  const stores = {
    memory: `provider = "memory"`,
    sqlite: `url = "sqlite:.annals/tally.db"`,
    postgres: `url = ${JSON.stringify(databaseUrl())}\nschema = "${schema.name}"`,
  };
  const brokers = {
    memory: `provider = "memory"`,
    sqlite: `url = "sqlite:.annals/tally.db"`,
    redis: `url = ${JSON.stringify(redisUrl())}\nprefix = "${keys.prefix}"`,
  };
  await using site = Site.make(
    "tally",
    MODULE,
    `[event_store]\n${stores[store]}\n[brokers.default]\n${
      brokers[broker]
    }\n[server]\ndefault_subscription_type = "${type}"\n`,
  );
  const server = await site.start().running();
  {
    await using client = await site.connect(tally);
    const load = drive(client);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await load.stop();
    await settled(client);
    await audit(client, load.sent);
  }
  assert.equal(await server.stop(), 0);
  assert.doesNotMatch(server.stderr, / ERROR /);
}

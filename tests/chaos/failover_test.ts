import assert from "node:assert/strict";
import tally, { Add } from "../fixtures/tally/domain.ts";
import { pause } from "../support/ground.ts";
import { audit, settled } from "../support/load.ts";
import { Site, until } from "../support/server.ts";
import { canStartServices, PostgresServer, RedisServer } from "../support/services.ts";

const MODULE = new URL("../fixtures/tally/domain.ts", import.meta.url);

for (const feed of ["stream", "event_store"]) {
  Deno.test({
    name: `PostgreSQL fails over to a standby that lacks the last messages: ${feed} subscriptions go back with it`,
    ignore: !canStartServices(),
    fn: async () => {
      await using postgres = await PostgresServer.start();
      await using redis = await RedisServer.start();
      const toml = `[server]\ndefault_subscription_type = "${feed}"
[event_store]\nurl = "${postgres.url}"\n[brokers.default]\nurl = "${redis.url}"\n`;
      await using site = Site.make("tally", MODULE, toml);
      const servers = [await site.start().running(), await site.start().running()];
      await using client = await site.connect(tally);
      const add = (first: number, count: number, wait: boolean) =>
        Promise.all(Array.from({ length: count }, async (_, i) => {
          const n = first + i;
          await client.process(Add({ id: String(n % 7), n }), { wait });
          return n;
        }));
      const kept = await add(0, 40, true);
      await settled(client);
      const standby = await postgres.standby();
      const last = await client.store.lastPosition();
      // Acknowledged, projected, in Redis, in the caches; and then lost.
      await add(1_000, 25, true);
      await settled(client);
      // What was seen of the log, once a second, is said to be lost.
      await pause(1_500);
      await postgres.failOver(standby);
      await until(async () => await client.store.lastPosition().catch(() => -1) === last, () => "the standby");
      // At once, before anybody may have noticed; fewer than were lost, and later more.
      kept.push(...await add(2_000, 5, false));
      await until(
        async () => (await client.store.lag("tally::tally", last)).messages >= 5,
        () => "the first decisions",
      );
      kept.push(...await add(3_000, 60, false));
      await until(
        async () => (await client.store.readLog({ category: "tally::tally", limit: 1_000 })).length === kept.length,
        () => `${kept.length} decisions: ${servers.map(({ stderr }) => stderr).join("\n---\n")}`,
      );
      await settled(client);
      await audit(client, new Set(kept));
      for (const server of servers) {
        assert.match(server.stderr, /the log went back: messages up to position \d+ at least .* are lost/);
        assert.equal(await server.stop(), 0);
      }
    },
  });
}

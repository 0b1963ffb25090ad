import assert from "node:assert/strict";
import tally from "../fixtures/tally/domain.ts";
import latest from "../fixtures/rolling/v3.ts";
import { type CodeVersion, Round } from "../fixtures/rolling/versions.ts";
import { pause } from "../support/ground.ts";
import { audit, drive, settled } from "../support/load.ts";
import { Site } from "../support/server.ts";
import { canStartServices, PostgresServer, RedisServer } from "../support/services.ts";

/** One server after the other gets the code of another version, forward and back. */
const STEPS: readonly [server: number, version: CodeVersion][] = [
  [0, 2],
  [1, 2],
  [0, 1],
  [2, 2],
  [1, 1],
  [0, 3],
  [1, 2],
  [2, 3],
  [0, 2],
  [0, 3],
  [1, 3],
];

for (const feed of ["stream", "event_store"]) {
  Deno.test({
    name: `servers are upgraded and rolled back through three versions of the code under load: ${feed} subscriptions`,
    ignore: !canStartServices(),
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const redis = stack.use(await RedisServer.start());
      const postgres = stack.use(await PostgresServer.start());
      const toml = `[server]\ndefault_subscription_type = "${feed}"\n[server.workers]\nAdder = 2\n` +
        `[event_store]\nurl = "${postgres.url}"\n[brokers.default]\nurl = "${redis.url}"\n`;
      const sites = [1, 2, 3].map((version) =>
        stack.use(Site.make("tally", new URL(`../fixtures/rolling/v${version}.ts`, import.meta.url), toml))
      );
      const start = (version: CodeVersion) => sites[version - 1].start();
      const servers = await Promise.all([1, 2, 3].map(() => start(1).running()));
      const client = stack.use(await sites[0].connect(tally));
      const load = drive(client);
      try {
        for (const [server, version] of STEPS) {
          await pause(600);
          assert.equal(await servers[server].stop(), 0);
          servers[server] = await start(version).running();
        }
        await pause(600);
        await load.stop();
        const last = stack.use(await sites[2].connect(latest));
        await settled(last);
        await audit(last, load.sent);
        const round = [...load.sent].filter((n) => n % 5 === 0).length;
        const events = await last.store.readLog({ category: "tally::tally", type: "Rounded", limit: 1_000_000 });
        assert.ok(events.length > 0 && events.length <= round);
        // Also of those that were decided before anybody ran this handler.
        assert.equal((await last.rows(Round)).length, events.length);
        for (const server of servers) assert.equal(await server.stop(), 0);
      } catch (error) {
        const said = servers.map(({ stderr }) => stderr.split("\n").slice(-15).join("\n")).join("\n---\n");
        throw new Error(`${(error as Error).message}; the servers said:\n${said}`, { cause: error });
      } finally {
        await load.stop().catch(() => {});
      }
    },
  });
}

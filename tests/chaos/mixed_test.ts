import { seededRandom } from "../../examples/fidelis/simulate.ts";
import tally from "../fixtures/tally/domain.ts";
import { FAULTS, type Field, type Place } from "../support/faults.ts";
import { pause } from "../support/ground.ts";
import { audit, drive, settled } from "../support/load.ts";
import { Proxy } from "../support/proxy.ts";
import { JUMPING_SERVER, Site } from "../support/server.ts";
import { canStartServices, PostgresServer, RedisServer } from "../support/services.ts";

/** How long, in minutes: `deno task chaos --minutes=30 --seed=7` for longer. */
const MINUTES = Number(Deno.env.get("ANNALS_CHAOS_MINUTES") ?? 0.4);

const TOML = '[server.workers]\nAdder = 2\n[server.partitions]\n"tally::tally" = 3\n';

Deno.test({
  name: "three servers on ways of their own, and anything may happen, also two things at once",
  ignore: !canStartServices(),
  fn: async () => {
    const seed = Number(Deno.env.get("ANNALS_TEST_SEED") ?? Math.floor(Math.random() * 1e9));
    const random = seededRandom(seed);
    const happened: string[] = [];
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(await PostgresServer.start());
    const redis = await RedisServer.start();
    const field: Field = { redis, postgres, places: [], random, longest: MINUTES < 5 ? 10_000 : 60_000 };
    // Another one by then, perhaps.
    stack.defer(() => field.redis.stop());
    const places = await Promise.all([1, 2, 3].map(async (): Promise<Place> => {
      const [toRedis, toPostgres] = [stack.use(new Proxy(redis.port)), stack.use(new Proxy(postgres.port))];
      const site = stack.use(Site.make(
        "tally",
        new URL("../fixtures/tally/domain.ts", import.meta.url),
        `[event_store]\nurl = "${postgres.url.replace(`:${postgres.port}/`, `:${toPostgres.port}/`)}"\n` +
          `[brokers.default]\nurl = "redis://127.0.0.1:${toRedis.port}/0"\n${TOML}`,
        {},
        JUMPING_SERVER,
      ));
      return { site, redis: toRedis, postgres: toPostgres, server: await site.start().running() };
    }));
    const direct = stack.use(Site.make(
      "tally",
      new URL("../fixtures/tally/domain.ts", import.meta.url),
      `[event_store]\nurl = "${postgres.url}"\n[brokers.default]\nurl = "${redis.url}"\n${TOML}`,
    ));
    const client = stack.use(await direct.connect(tally));
    field.places.push(...places);
    const load = drive(client);
    try {
      const names = Object.keys(FAULTS);
      for (const end = performance.now() + MINUTES * 60_000; performance.now() < end;) {
        const chosen = [names[Math.floor(random() * names.length)]];
        // What works on a service needs it: only what happens to servers happens at the same time.
        const second = names[Math.floor(random() * names.length)];
        if (random() < 0.3 && second.startsWith("a ") && !/table|report/.test(second)) chosen.push(second);
        happened.push(chosen.join(" + "));
        await Promise.all(chosen.map((name) => FAULTS[name](field)));
        await pause(random() * 1_500);
      }
      await load.stop();
      await Promise.all(places.map(({ server }) => server.running()));
      await settled(client);
      await audit(client, load.sent);
      for (const { server } of places) if (await server.stop() !== 0) throw new Error("a server did not stop in order");
      console.log(`${happened.length} faults, ${load.sent.size} commands, ANNALS_TEST_SEED=${seed}`);
    } catch (error) {
      const said = places.map(({ server }) => server.stderr.split("\n").slice(-20).join("\n")).join("\n---\n");
      throw new Error(
        `${(error as Error).message}\nwith ANNALS_TEST_SEED=${seed}, after ${
          happened.join("; ")
        }; the servers said:\n${said}`,
        { cause: error },
      );
    } finally {
      await load.stop().catch(() => {});
    }
  },
});

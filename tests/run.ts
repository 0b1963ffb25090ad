/**
 * `deno task test`: starts Redis and PostgreSQL privately, runs the tests, and removes everything, also after Ctrl+C.
 *
 * @module
 */
import { findPrograms, installPrograms, type Programs } from "./support/programs.ts";
import { environment, initialise, PostgresServer, RedisServer, TESTS } from "./support/services.ts";

const [redisUrl, databaseUrl] = [Deno.env.get("TEST_REDIS_URL"), Deno.env.get("TEST_DATABASE_URL")];

async function find(): Promise<Omit<Programs, "template">> {
  let found = await findPrograms();
  const enough = () => (found.redisServer ?? redisUrl) && (found.postgres ?? databaseUrl);
  if (!enough() || (found.postgres && !found.pgbouncer) || !found.promtool || !found.chromium) {
    await installPrograms();
    found = await findPrograms();
  }
  if (enough()) return found;
  console.error(
    "The tests need Redis and PostgreSQL. Either of these makes them run:\n" +
      "  sudo apt-get install redis-server postgresql\n" +
      "  TEST_REDIS_URL=redis://localhost:6379 TEST_DATABASE_URL=postgres://localhost/test deno task test",
  );
  Deno.exit(1);
}

/** Options of our own, handed to the tests; all others are those of `deno test`. */
const OWN = { minutes: "ANNALS_CHAOS_MINUTES", seed: "ANNALS_TEST_SEED" } as const;
const args = [...Deno.args];
const chosen: Record<string, string> = {};
for (const [name, variable] of Object.entries(OWN)) {
  const at = args.findIndex((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`));
  if (at < 0) continue;
  // `--minutes 30` and `--minutes=30`
  const value = args[at].includes("=") ? args.splice(at, 1)[0].split("=")[1] : args.splice(at, 2)[1];
  if (!/^\d+(\.\d+)?$/.test(value ?? "")) {
    console.error(`--${name} takes a number, like --${name} 30; found ${value ?? "nothing"}`);
    Deno.exit(2);
  }
  chosen[variable] = value;
}
const given = args.filter((arg) => !arg.startsWith("-"));
const flags = args.filter((arg) => arg.startsWith("-"));
const found = await find();
const stops: (() => Promise<unknown>)[] = [];
let child: Deno.ChildProcess | undefined;
let asked = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    asked = true;
    try {
      child?.kill(signal);
    } catch {
      // Ended already.
    }
  });
}
let code = 130;
try {
  let all: Programs = { ...found, template: null };
  if (found.postgres) {
    const template = await initialise(found);
    stops.push(() => Deno.remove(template, { recursive: true }));
    all = { ...found, template };
  }
  if (!found.postgres || !found.redisServer) {
    console.error(
      "Tests that need a Redis or PostgreSQL of their own are ignored: install redis-server and postgresql",
    );
  }
  if (!found.promtool) console.error("Tests of what Prometheus reads are ignored: install prometheus");
  if (!found.chromium) console.error("Tests of the dashboard are ignored: install chromium");
  if (!found.pgbouncer) console.error("Tests of a pooler are ignored: install pgbouncer");
  let redis = redisUrl;
  if (redis === undefined) {
    const server = await RedisServer.start([], found.redisServer);
    stops.push(() => server.stop());
    redis = server.url;
  }
  let database = databaseUrl;
  if (database === undefined) {
    const server = await PostgresServer.start([], all);
    stops.push(() => server.stop());
    database = server.url;
  }
  if (!asked) {
    child = new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--parallel", ...flags, ...(given.length > 0 ? given : [TESTS])],
      env: { ...environment({ redis, database }, all), ...chosen },
      stdin: "null",
    }).spawn();
    code = (await child.status).code;
  }
} finally {
  for (const stop of stops.reverse()) await stop();
}
Deno.exit(code);

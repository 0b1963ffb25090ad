import { type Config, ConfigError, loadConfig } from "@annals/annals/config";
import assert from "node:assert/strict";

const URLS = { DATABASE_URL: "postgres://me:s3cret@db:5432/bank", REDIS_URL: "redis://:s3cret@cache:6379/2" };

function load(text: string, env: Record<string, string> = URLS): Config {
  return loadConfig({ text, env: (name) => env[name] });
}

/** What `annals config show` prints about it. */
const shown = (config: Config, key: string) => {
  const { value, from } = config.values.find((value) => value.key === key)!;
  return [value, from];
};

Deno.test("without a file, the two variables say where store and broker are", async () => {
  const folder = await Deno.makeTempDir({ prefix: "annals-" });
  try {
    // Another folder of the process would be one for all tests.
    const script = `import { loadConfig } from ${JSON.stringify(import.meta.resolve("@annals/annals/config"))};
      const { file, store, broker } = loadConfig();
      console.log(JSON.stringify([file, store.provider, store.url, broker.provider, broker.url]));`;
    await Deno.writeTextFile(`${folder}/main.ts`, script);
    const config = new URL("../../../deno.json", import.meta.url).pathname;
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--config", config, "main.ts"],
      cwd: folder,
      env: URLS,
    }).output();
    const found = JSON.parse(new TextDecoder().decode(stdout));
    assert.deepEqual(found, [null, "postgres", URLS.DATABASE_URL, "redis", URLS.REDIS_URL]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a file that does not say where they are is like none, whatever else it says of them", () => {
  for (
    const text of [
      "",
      '[server]\nmessages_per_tick = 5\n[event_store]\nschema = "bank"\n[brokers.default]\nprefix = "b:"\n',
      '[event_store]\nprovider = "postgres"\n[brokers.default]\nprovider = "redis"\n',
    ]
  ) {
    const config = load(text);
    assert.deepEqual([config.store.provider, config.store.url], ["postgres", URLS.DATABASE_URL]);
    assert.deepEqual([config.broker.provider, config.broker.url], ["redis", URLS.REDIS_URL]);
  }
});

Deno.test("each variable counts alone, and an empty one not at all", () => {
  const store = load("", { DATABASE_URL: URLS.DATABASE_URL, REDIS_URL: "" });
  assert.deepEqual([store.store.provider, store.broker.provider], ["postgres", "sqlite"]);
  const broker = load("", { REDIS_URL: URLS.REDIS_URL });
  assert.deepEqual([broker.store.provider, broker.broker.provider], ["sqlite", "redis"]);
});

Deno.test("a file that says where they are is right", () => {
  const config = load('[event_store]\nurl = "sqlite:x.db"\n[brokers.default]\nurl = "memory:"\n');
  assert.deepEqual([config.store.provider, config.broker.provider], ["sqlite", "memory"]);
  const production = '[env.production.event_store]\nurl = "sqlite:x.db"\n';
  assert.equal(load(production, { ...URLS, ANNALS_ENV: "production" }).store.provider, "sqlite");
  assert.equal(load(production).store.provider, "postgres");
});

Deno.test("a file that names another adapter is right as well", () => {
  const config = load('[event_store]\nprovider = "memory"\n[brokers.default]\nprovider = "sqlite"\n');
  assert.deepEqual([config.store.provider, config.broker.provider], ["memory", "sqlite"]);
});

Deno.test("the variable is shown as the origin, and no password", () => {
  const config = load("");
  assert.deepEqual(shown(config, "event_store.url"), [
    "postgres://me:***@db:5432/bank",
    "DATABASE_URL (environment)",
  ]);
  assert.deepEqual(shown(config, "event_store.provider"), ["postgres", "DATABASE_URL (environment)"]);
  assert.deepEqual(shown(config, "brokers.default.url"), ["redis://:***@cache:6379/2", "REDIS_URL (environment)"]);
  assert.deepEqual(shown(load("", {}), "event_store.url")[1], "default");
});

Deno.test("a variable that means something else is an error that names it, without its password", () => {
  const faultOf = (env: Record<string, string>, text = "") => {
    let fault: unknown;
    assert.throws(() => load(text, env), (error) => (fault = error, error instanceof ConfigError));
    return (fault as ConfigError).message;
  };
  const wrong = faultOf({ DATABASE_URL: "mysql://me:s3cret@db/bank" });
  assert.match(wrong, /event_store\.url = "mysql:\/\/me:\*\*\*@db\/bank", from DATABASE_URL \(environment\): expected/);
  assert.match(wrong, /unset the variable, or name another with \[event_store\] url in domain\.toml/);
  assert.match(faultOf({ DATABASE_URL: "postgres://me:s3cret#1@db/bank" }), /from DATABASE_URL.*percent-encode/);
  assert.match(faultOf({ REDIS_URL: "redis://:s3cret@cache/x" }), /from REDIS_URL.*number of a database/);
  const byFile = faultOf({ DB: "mysql://me:s3cret@db/bank" }, '[event_store]\nurl = "${DB}"\n');
  assert.match(byFile, /from DB \(environment\), by text: expected/);
  for (const message of [wrong, byFile, faultOf({ REDIS_URL: "redis://:s3cret@cache/x" })]) {
    assert.doesNotMatch(message, /s3cret/);
  }
});

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { command } from "../../support/command.ts";
import { Server } from "../../support/server.ts";
import { canStartServices, RedisServer } from "../../support/services.ts";

/** The configuration that everybody starts from, to the letter. */
const SEED = `[brokers.default]
provider = "redis"
url = "\${REDIS_URL|redis://localhost:6379/0}"

event_processing = "async"
command_processing = "async"
enable_outbox = true

[event_store]
provider = "memory"

[server]
default_subscription_type = "stream"
messages_per_tick = 100

[server.stream_subscription]
blocking_timeout_ms = 100
max_retries = 3
retry_delay_seconds = 1
enable_dlq = true
`;

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

Deno.test({
  name: "Redis beside a store in memory: clients come through a socket, and are told when there is no server",
  ignore: !canStartServices(),
  fn: async () => {
    await using redis = await RedisServer.start();
    const folder = await Deno.makeTempDir({ prefix: "annals-" });
    const file = `${folder}/seed.toml`;
    await Deno.writeTextFile(file, SEED);
    const env = { REDIS_URL: redis.url };
    const fidelis = (...args: string[]) => command("fidelis", ["--config", file, ...args], ROOT, env);
    const before = await fidelis("check");
    assert.equal(before.code, 1);
    assert.match(before.stderr, /event_store is "memory".*no server is listening at .*fidelis\.sock; start one/);
    const server = await new Server(["--domain=fidelis", `--config=${file}`], ROOT, env).running();
    assert.match(server.stderr, /event_store is "memory": the log is lost when this process exits/);
    const { mode } = await Deno.stat(`${folder}/.annals/fidelis.sock`);
    assert.equal(mode! & 0o777, 0o600);
    const opened = await fidelis("open", "--number", "A-1", "--holder", "Ann", "--deposit", "100.00", "--wait");
    assert.equal(opened.code, 0, opened.stderr);
    const simulated = await fidelis("simulate", "--accounts", "20", "--operations", "500", "--json");
    assert.equal(simulated.code, 0, simulated.stderr);
    assert.equal(JSON.parse(simulated.stdout).balanced, true);
    const status = await command(
      "annals",
      ["--config", file, "--domain", "fidelis", "subscriptions", "status"],
      ROOT,
      env,
    );
    assert.match(status.stdout, /AccountCommandHandler/);
    const second = new Server(["--domain=fidelis", `--config=${file}`, "--no-launcher"], ROOT, env);
    assert.equal((await second.status).code, 1);
    await second.stop();
    assert.match(second.stderr, /Another server already runs this domain with its store in memory/);
    assert.equal(await server.stop(), 0);
    await Deno.remove(folder, { recursive: true });
  },
});

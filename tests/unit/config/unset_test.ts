import assert from "node:assert/strict";
import { ConfigError, loadConfig } from "@annals/annals/config";
import { Engine } from "@annals/annals/engine";

const TEXT = `[server]\nmessages_per_tick = 7\n[server.http]\napi = true\ntoken = "\${ANNALS_TOKEN}"
[publishers.Tell]\nurl = "https://a.example/hooks"\nsecret = "\${HOOK_SECRET}"\n`;

Deno.test("who only reads and sends needs no secret of servers, and no server runs without them", () => {
  const config = loadConfig({ text: TEXT, env: () => undefined });
  assert.equal(config.groupConfig("X").settings.messagesPerTick, 7);
  assert.deepEqual(config.unset.map(({ key }) => key), ["server.http.token", "publishers.Tell.secret"]);
  assert.throws(() => new Engine({ module: "file:///domain.ts", config }), (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /server\.http\.token: environment variable ANNALS_TOKEN is not set/);
    assert.match(error.message, /publishers\.Tell\.secret: environment variable HOOK_SECRET is not set/);
    return true;
  });
  const env = { ANNALS_TOKEN: "a-token-of-enough-characters", HOOK_SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" };
  const whole = loadConfig({ text: TEXT, env: (name) => env[name as keyof typeof env] });
  assert.deepEqual([whole.unset, whole.http.token], [[], env.ANNALS_TOKEN]);
});

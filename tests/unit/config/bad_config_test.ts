import { ConfigError, loadConfig } from "@annals/annals/config";
import assert from "node:assert/strict";

/** What somebody wrote, and what they are told: each names the key, the value, what was expected. */
const WRONG: [name: string, toml: string, told: RegExp, env?: Record<string, string>][] = [
  ["text that is not TOML", "a = = 1", /line 1, column 5: not TOML/],
  ["a key twice", "enable_outbox = true\nenable_outbox = false", /line 2.*not TOML/],
  [
    "an unknown key at the top",
    "event_procesing = 'async'",
    /event_procesing: there is no such key; did you mean "event_processing"\?/,
  ],
  ["an unknown section", "[sever]\nx = 1", /sever = \{…\}: there is no such key; did you mean "server"\?/],
  [
    "an unknown key of the server",
    "[server]\nmessages_per_tik = 5",
    /server\.messages_per_tik = 5: .*did you mean "messages_per_tick"\?/,
  ],
  ["a key nothing is like", "[server]\nzzzzzzzzzzzzzzzzzz = 5", /no such key; known: default_subscription_type, /],
  [
    "an unknown key of a subscription",
    "[server.stream_subscription]\nretries = 5",
    /server\.stream_subscription\.retries = 5: there is no such key/,
  ],
  [
    "an unknown key of one group",
    "[server.subscriptions.X]\nmax_retrys = 5",
    /server\.subscriptions\.X\.max_retrys = 5: .*did you mean "max_retries"/,
  ],
  ["a publisher without a place", "[publishers.Feed]\nmax_length = 5", /publishers\.Feed: needs either a webhook/],
  [
    "a publisher with two places",
    "[publishers.Feed]\nurl = 'https://h'\nstream = 's'",
    /publishers\.Feed: needs either a webhook, url = "https:\/\/…", or a stream/,
  ],
  ["a webhook without a secret", "[publishers.Feed]\nurl = 'https://h'", /publishers\.Feed: needs the secret/],
  [
    "a secret that is none, and is not shown",
    "[publishers.Feed]\nurl = 'https://h'\nsecret = 'hunter2'",
    /publishers\.Feed\.secret(?!.*hunter2).*expected "whsec_" and base64/,
  ],
  [
    "a webhook of another scheme",
    `[publishers.Feed]\nurl = 'ftp://h'\nsecret = 'whsec_${btoa("x".repeat(24))}'`,
    /publishers\.Feed\.url = "ftp:\/\/h": expected a URL that begins with "https:" or "http:"/,
  ],
  [
    "a stream without a Redis",
    "[publishers.Feed]\nstream = 's'",
    /publishers\.Feed\.stream: needs a Redis, and the broker is another; add redis = /,
  ],
  [
    "a stream in something else",
    "[subscribers.Pay]\nstream = 's'\nredis = 'http://u:hunter2@h'",
    /subscribers\.Pay\.redis = "http:\/\/u:\*\*\*@h": expected a URL that begins with "redis:"/,
  ],
  ["a subscriber without a place", "[subscribers.Pay]", /subscribers\.Pay: needs a stream of Redis/],
  [
    "a timeout for a stream",
    "[publishers.Feed]\nstream = 's'\nredis = 'redis://h'\ntimeout_seconds = 5",
    /publishers\.Feed\.timeout_seconds: is of no use for a stream/,
  ],
  [
    "an address that others reach, without a token",
    "[server.http]\nlisten = '0.0.0.0:1'",
    /server\.http\.listen = "0\.0\.0\.0:1": can be reached from other machines, so it needs token =/,
  ],
  [
    "an address of the network in other clothes",
    "[server.http]\nlisten = '[::ffff:127.0.0.1]:1'",
    /can be reached from other machines/,
  ],
  ["an API without a token", "[server.http]\napi = true", /server\.http\.api = true: needs a token for the programs/],
  [
    "a short token",
    "[server.http]\ntoken = 'hunter2'",
    /server\.http\.token(?!.*hunter2): expected at least 16 characters without spaces/,
  ],
  [
    "a password in place of its hash",
    "[server.http.users]\nalice = 'hunter2'",
    /server\.http\.users\.alice(?!.*hunter2): expected what .* config hash-password/,
  ],
  ["a host with a port", "[server.http]\nhosts = ['a.example:80']", /server\.http\.hosts\.0 = .*expected a host name/],
  ["an address without a port", "[server.http]\nlisten = 'localhost'", /server\.http\.listen = "localhost": expected/],
  ["a secret under a misspelt key", "[event_store]\nurll = 'postgres://u:hunter2@h'", /urll: there is no.* "url"\?$/],
  [
    "a password with a raw percent sign",
    "[event_store]\nurl = 'postgres://u:50%@h/db'",
    /event_store\.url = "postgres:\/\/u:\*\*\*@h\/db": is not a valid URL; percent-encode .*%25 for %/,
  ],
  [
    "a password with a raw @ and a slash",
    "[event_store]\nurl = 'postgres://u:50@hunter2/x@h/db'",
    /event_store\.url = "postgres:\/\/u:\*\*\*@h\/db": is not a valid URL; percent-encode .*%2F for \//,
  ],
  ["a listen_url that is none", "[event_store]\nlisten_url = 'nowhere'", /listen_url = "nowhere": is not a valid URL/],
  [
    "a listen_url of something else",
    "[event_store]\nlisten_url = 'redis://t@h'",
    /listen_url = "redis:\/\/\*\*\*@h": expected a URL that begins with "postgres:"/,
  ],
  [
    "a database of Redis that is no number",
    "[brokers.default]\nurl = 'redis://h/abc'",
    /brokers\.default\.url = "redis:\/\/h\/abc": expected the number of a database/,
  ],
  [
    "a path with U+0000",
    '[event_store]\nurl = "sqlite:a\\u0000b.db"',
    /event_store\.url = .*: contains U\+0000; take it out/,
  ],
  [
    "a folder for a database",
    '[event_store]\nurl = "sqlite:/tmp"',
    /event_store\.url = "sqlite:\/tmp": is no file, but a folder/,
  ],
  ["a device for a database", '[event_store]\nurl = "sqlite:/dev/null"', /is no file, but a folder or a device/],
  [
    "tables in tables without end",
    `[${Array(3_000).fill("a").join(".")}]`,
    /tables are nested more than 20 levels deep/,
  ],
  ["any host at all", '[server.permissions.X]\nnet = ["*"]', /net\.0 = "\*": expected a host/],
  [
    "an unknown permission",
    "[server.permissions.X]\nrun = ['ls']",
    /server\.permissions\.X\.run: there is no such key; known: env, net, read, sql, write/,
  ],
  [
    "a number as text",
    "[server]\nmessages_per_tick = '100'",
    /server\.messages_per_tick = "100": expected a whole number from 1 to 10000/,
  ],
  [
    "a number out of range",
    "[server]\nmessages_per_tick = 0",
    /server\.messages_per_tick = 0: expected a whole number from 1/,
  ],
  ["a fraction", "[server]\nmessages_per_tick = 1.5", /= 1\.5: expected a whole number/],
  [
    "a negative delay",
    "[server.stream_subscription]\nretry_delay_seconds = -1",
    /retry_delay_seconds = -1: expected a number of seconds from 0/,
  ],
  ["text for a boolean", "enable_outbox = 'yes'", /enable_outbox = "yes": expected true or false/],
  ["an unknown choice", "event_processing = 'later'", /event_processing = "later": expected "async" or "sync"/],
  [
    "an unknown subscription type",
    "[server]\ndefault_subscription_type = 'push'",
    /= "push": expected "stream" or "event_store"/,
  ],
  [
    "an unknown provider",
    "[event_store]\nprovider = 'mysql'",
    /event_store\.provider = "mysql": expected "memory" or "sqlite" or "postgres"/,
  ],
  [
    "a URL of an unknown kind",
    "[event_store]\nurl = 'mysql://x'",
    /event_store\.url = "mysql:\/\/x": expected a URL that begins with "memory:" or "sqlite:"/,
  ],
  ["a URL without a scheme", "[event_store]\nurl = 'data/log.db'", /expected a URL that begins with/],
  [
    "a provider and a URL that disagree",
    "[event_store]\nprovider = 'memory'\nurl = 'sqlite:x.db'",
    /is of provider "sqlite", but event_store\.provider is "memory"/,
  ],
  ["an SQLite URL without a path", "[event_store]\nurl = 'sqlite:'", /expected a path/],
  [
    "a provider that needs a URL",
    "[brokers.default]\nprovider = 'redis'",
    /brokers\.default\.provider = "redis": needs a url/,
  ],
  ["a table where a value belongs", "[enable_outbox]\nx = 1", /enable_outbox = \{…\}: expected true or false/],
  ["a value where a table belongs", "server = 1", /server = 1: expected a table of keys/],
  ["a second broker", "[brokers.other]\nurl = 'memory:'", /brokers\.other = \{…\}: there is no such key/],
  [
    "workers that are no number",
    "[server.workers]\nX = 'many'",
    /server\.workers\.X = "many": expected a whole number from 1 to 64/,
  ],
  [
    "permissions that are no list",
    "[server.permissions.X]\nnet = 'a.example'",
    /net = "a\.example": expected a list of hosts/,
  ],
  [
    "permissions with an address of a page",
    "[server.permissions.X]\nnet = ['http://a.example/x']",
    /net\.0 = "http:\/\/a\.example\/x": expected a host, or a host and its port/,
  ],
  [
    "a port that there is not",
    "[server.permissions.X]\nnet = ['a.example:99999']",
    /net\.0 = "a\.example:99999": expected a host/,
  ],
  ["a variable's value for its name", "[server.permissions.X]\nenv = ['A=B']", /env\.0 = "A=B": expected the name/],
  [
    "a group in two hosts",
    "[server.hosts]\na = ['X']\nb = ['X']",
    /server\.hosts\.b: "X" is in host "a" already/,
  ],
  ["permissions with a number in them", "[server.permissions.X]\nnet = [1]", /net\.0 = 1: expected a string/],
  ["a domain that is no path", "[domains]\nx = 1", /domains\.x = 1: expected a string/],
  [
    "a variable that is not set",
    "[event_store]\nurl = '${NOPE}'",
    /event_store\.url: environment variable NOPE is not set; set it, or write \$\{NOPE\|default\}/,
  ],
  ["a variable without an end", "[event_store]\nurl = '${NOPE'", /has a \$\{ without an end/],
  ["a variable without a name", "[event_store]\nurl = '${|x}'", /does not name a variable/],
  [
    "a variable of the wrong kind",
    "[server]\nmessages_per_tick = '${N|x}'",
    /messages_per_tick = "x": expected a whole number/,
  ],
  [
    "an overlay that is not there",
    "[env.production]\nenable_outbox = true",
    /ANNALS_ENV is "prodution", but there is no such section; did you mean "production"\?/,
    { ANNALS_ENV: "prodution" },
  ],
  [
    "a mistake in an overlay that is not in use",
    "[env.production]\nenable_outbx = true",
    /env\.production\.enable_outbx = true: .*did you mean "enable_outbox"/,
  ],
  ["overlays that are no tables", "env = 1", /env = 1: expected tables like \[env\.production\]/],
];

for (const [name, toml, told, env = {}] of WRONG) {
  Deno.test(`domain.toml with ${name} is refused in words`, async () => {
    const file = await Deno.makeTempFile({ suffix: ".toml" });
    try {
      await Deno.writeTextFile(file, toml);
      assert.throws(() => loadConfig({ file, env: (key) => env[key] }), (error: unknown) => {
        assert.ok(error instanceof ConfigError, String(error));
        assert.match(error.message, told);
        assert.ok(error.message.startsWith(file), "the file is named");
        return true;
      });
    } finally {
      await Deno.remove(file);
    }
  });
}

Deno.test("all faults of a file are named at once", async () => {
  const file = await Deno.makeTempFile({ suffix: ".toml" });
  await Deno.writeTextFile(file, "enable_outbox = 1\n[server]\nmessages_per_tick = 'x'\nnope = 1\n");
  try {
    assert.throws(() => loadConfig({ file }), (error: ConfigError) => error.faults.length === 3);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("a file that is named and is not there is an error, domain.toml that is not there is none", () => {
  assert.throws(() => loadConfig({ file: "/nowhere/x.toml" }), /\/nowhere\/x\.toml: there is no such file/);
  assert.throws(() => loadConfig({ file: "/tmp" }), /it is a folder/);
});

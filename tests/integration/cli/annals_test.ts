import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import unruly, { Ask } from "../../fixtures/unruly/domain.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";
import { command } from "../../support/command.ts";
import { Site, until } from "../../support/server.ts";

const MODULE = new URL("../../fixtures/unruly/domain.ts", import.meta.url);

Deno.test("the operator sees groups, dead letters and events, and hands dead letters back", async () => {
  await using site = Site.make("unruly", MODULE, "[server.stream_subscription]\nmax_retries = 0\n");
  const server = await site.start().running();
  await using client = await site.connect(unruly);
  await client.process(Ask({ id: "1", kind: "Thrower" }));
  await until(async () => (await client.store.deadLetters()).length === 1, () => "the dead letter");
  const annals = async (...args: string[]) => {
    const result = await command("annals", ["--config", site.file, ...args], site.folder);
    assert.equal(result.code, 0, result.stderr);
    return result.stdout;
  };
  const status = JSON.parse(await annals("subscriptions", "status", "--json"));
  const thrower = status.find((group: { group: string }) => group.group === "Thrower");
  assert.deepEqual({ ...thrower, checkpoint: 0 }, {
    group: "Thrower",
    kind: "stream",
    checkpoint: 0,
    lagMessages: 0,
    lagSeconds: 0,
    pending: 0,
    retrying: 0,
    dead: 1,
    running: 1,
    workers: 1,
    resting: [],
    awaiting: {},
    held: [{ partition: 0, process: thrower.held[0].process }],
  });
  assert.match(
    await annals("subscriptions", "status"),
    /^process [^ ]+:\d+: .*Thrower#0\/1.*\n\ngroup +kind +checkpoint +lag/,
  );
  const [letter] = JSON.parse(await annals("dlq", "list", "--json"));
  assert.match(await annals("dlq", "list", "--group", "Thrower"), /Thrower +Asked +unruly::request-1/);
  assert.match(await annals("dlq", "inspect", letter.id), /reason +handler failed\npayload +\{"kind":"Thrower"\}/);
  assert.match(await annals("events", "read", "unruly::request-1"), /Asked.*\{"kind":"Thrower"\}/);
  assert.equal(JSON.parse(await annals("events", "search", "--type", "Asked", "--since", "1h", "--json")).length, 1);
  // One large payload does not make a table of a thousand lines as wide as it is.
  const large = [2_500, 100_000].map((size) => sampleMessage({ kind: "x".repeat(size) }, { type: "Asked" }));
  const append = {
    category: "unruly::request",
    stream: "unruly::request-large",
    expected: "none",
    publish: true,
  } as const;
  await client.store.commit({ appends: [{ ...append, messages: large }] });
  const lines = await annals("events", "read", "unruly::request-large");
  assert.match(lines, /x… \(2511 characters: --json shows all\)[^]*\(more than 65536 bytes: --json shows it\)/);
  assert.ok(lines.length < 10_000, `${lines.length}`);
  const whole = JSON.parse(await annals("events", "read", "unruly::request-large", "--json"));
  assert.deepEqual(whole.map(({ payload }: any) => payload.kind.length), [2_500, 100_000]);
  const misspelt = await command("annals", ["--config", site.file, "events", "search", "--type", "Asekd"], site.folder);
  assert.equal(misspelt.code, 2);
  assert.match(misspelt.stderr, /Nothing found: domain "unruly" has no message type "Asekd"; did you mean "Asked"\?/);
  const wrong = async (...args: string[]) => {
    const { code, stderr } = await command("annals", ["--config", site.file, "events", ...args], site.folder);
    return [code, stderr.trim()];
  };
  const [{ correlationId }] = await client.store.readLog({ type: "Asked" });
  assert.deepEqual(await wrong("read", "unruly::reqest-1"), [
    2,
    'There is no stream "unruly::reqest-1"; did you mean "unruly::request-1"?',
  ]);
  assert.deepEqual(await wrong("search", "--correlation", correlationId.slice(0, -1)), [
    2,
    `Nothing found: no message has the correlation "${correlationId.slice(0, -1)}"; did you mean "${correlationId}"?`,
  ]);
  // What only the log has may be what was meant, or not.
  const message = { ...sampleMessage(), type: "Askd" };
  const stream = { category: "unruly::request", stream: "unruly::request-9", expected: "any", publish: false } as const;
  await client.store.commit({ appends: [{ ...stream, messages: [message] }] });
  assert.deepEqual(await wrong("search", "--type", "Askd"), [
    0,
    'No code has the message type "Askd" (any more); did you mean "Asked"?',
  ]);
  assert.deepEqual(await wrong("search", "--type", "Askd", "--after", "9999"), [0, ""]);
  assert.equal(JSON.parse(await annals("events", "stats", "--json")).length, 3);
  assert.equal(JSON.parse(await annals("outbox", "status", "--json")).waiting, 0);
  assert.match(await annals("config", "show"), /server\.stream_subscription\.max_retries +0 +.*domain\.toml/);
  assert.match(await annals("dlq", "replay", letter.id), /Replayed 1/);
  await until(async () => {
    const [again] = await client.store.deadLetters();
    return again !== undefined && again.id !== letter.id;
  }, () => "the replayed message to fail again");
  assert.match(await annals("dlq", "replay-all", "--group", "Thrower"), /Replayed 1/);
  await until(async () => (await client.store.deadLetters()).length === 1, () => "it to fail again");
  assert.match(await annals("dlq", "purge", "--group", "Thrower"), /Purged 1/);
  assert.match(await annals("dlq", "list"), /No dead letters/);
  assert.equal(await server.stop(), 0);
});

const WRONG: [args: string[], code: number, told: RegExp][] = [
  [["dlqq"], 2, /unknown command 'dlqq'/],
  [["dlq", "inspect", "x"], 1, /there is none; start the server first/],
  [["dlq", "replay-all"], 2, /required option '--group/],
  [["events", "search", "--since", "soon"], 2, /Expected a time like/],
  [["events", "read", "x", "--from", "y"], 2, /Expected a whole number/],
  [
    ["--domain", "nope", "dlq", "list"],
    2,
    /There is no domain "nope" \(a module path .*; known: unruly/,
  ],
  [
    ["--config", "memory.toml", "dlq", "list"],
    1,
    /event_store is "memory": .* no server is listening at .*; start one/,
  ],
];

Deno.test("what is wrong on the operator's command line is said in words, with exit code 1 or 2", async () => {
  await using site = Site.make("unruly", MODULE);
  await Deno.writeTextFile(
    `${site.folder}/memory.toml`,
    `[event_store]\nurl = "memory:"\n[domains]\nunruly = ${JSON.stringify(fileURLToPath(MODULE))}\n`,
  );
  await Promise.all(WRONG.map(async ([args, code, told]) => {
    const result = await command("annals", args, site.folder);
    assert.match(result.stderr, told);
    assert.equal(result.code, code, args.join(" "));
    assert.doesNotMatch(result.stderr, /^\s+at /m);
  }));
});

Deno.test("config check holds the file to a domain, too, when one is named", async () => {
  const toml = "[server.workers]\nWitnes = 2\n";
  await using site = Site.make("unruly", MODULE, toml);
  const plain = await command("annals", ["config", "check"], site.folder);
  assert.equal(plain.code, 0, plain.stderr);
  const told = await command("annals", ["config", "check", "--domain=unruly"], site.folder);
  assert.equal(told.code, 2);
  assert.match(
    told.stderr,
    /server\.workers\.Witnes: domain "unruly" has no handler "Witnes"; did you mean "Witness"\?/,
  );
  await using other = Site.make("unruly", MODULE, '[server.partitions]\n"unruly::nope" = 2\n');
  const unknown = await command("annals", ["config", "check", "--domain=unruly"], other.folder);
  assert.match(unknown.stderr, /server\.partitions\."unruly::nope": no handler of domain "unruly" reads it/);
});

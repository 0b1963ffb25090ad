import assert from "node:assert/strict";
import type { PostgresEventStore } from "../../../src/store/postgres/store.ts";
import tally, { Add } from "../../fixtures/tally/domain.ts";
import { command } from "../../support/command.ts";
import { withSchema } from "../../support/postgres.ts";
import { Site, until } from "../../support/server.ts";
import { databaseUrl } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/tally/domain.ts", import.meta.url);

Deno.test("the log is partitioned under running servers, which notice nothing", async () => {
  await using schema = await withSchema();
  const url = JSON.stringify(databaseUrl());
  await using site = Site.make("tally", MODULE, `[event_store]\nurl = ${url}\nschema = "${schema.name}"\n`);
  const server = await site.start().running();
  await using client = await site.connect(tally);
  const annals = (...args: string[]) => command("annals", ["--config", site.file, "store", ...args], site.folder);
  assert.match((await annals("parts")).stdout, /The log is one table/);
  const wrong = await annals("partition", "--size=none");
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /"none" is not a number of positions/);
  let sent = 0;
  const add = async (n: number) => {
    for (let i = 0; i < n; i++) await client.process(Add({ id: `${i % 5}`, n: ++sent }));
  };
  await add(20);
  const running = add(100);
  // More than what may come meanwhile: otherwise commits wait at the end.
  await (client.store as PostgresEventStore).partition({ size: 50, margin: 250 });
  await running;
  await add(300);
  const made = await annals("partition", "--size=50");
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stdout, /^part +from position +to +MB/);
  await until(() => client.caughtUp(), () => "the groups");
  const parts = JSON.parse((await annals("parts", "--json")).stdout);
  assert.ok(await client.store.lastPosition() > parts[1].from, JSON.stringify(parts));
  const refused = await annals("detach", parts[0].name);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /streams of messages_from_0 go on after it/);
  assert.equal(await server.stop(), 0, server.stderr);
  assert.doesNotMatch(server.stderr, /WARN {2}(?!PostgreSQL at)|ERROR/, server.stderr);
  // Again, with everything cached anew.
  const next = await site.start().running();
  await add(20);
  await until(() => client.caughtUp(), () => "the groups");
  assert.deepEqual(await client.store.deadLetters(), []);
  assert.equal(await next.stop(), 0, next.stderr);
});

Deno.test("a log in SQLite has no parts, and it is said", async () => {
  await using site = Site.make("tally", MODULE);
  const { code, stderr } = await command("annals", ["--config", site.file, "store", "partition"], site.folder);
  assert.equal(code, 2);
  assert.match(stderr, /Only a log in PostgreSQL can be partitioned; this one is in sqlite/);
});

import assert from "node:assert/strict";
import tally, { Add, Noted, Seen } from "../../fixtures/tally/domain.ts";
import { auditRecords } from "../../../src/operating/audit.ts";
import { command } from "../../support/command.ts";
import { withSchema } from "../../support/postgres.ts";
import { Site, until } from "../../support/server.ts";
import { databaseUrl } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/tally/domain.ts", import.meta.url);

Deno.test("a log moves from SQLite to PostgreSQL with all that belongs to it, and nothing is done twice", async () => {
  await using schema = await withSchema();
  await using from = Site.make("tally", MODULE);
  await using to = Site.make("tally", MODULE, `[event_store]\nurl = "${databaseUrl()}"\nschema = "${schema.name}"\n`);
  const annals = (site: Site, ...args: string[]) => command("annals", ["--config", site.file, ...args], site.folder);
  const server = await from.start().running();
  await using client = await from.connect(tally);
  for (let n = 0; n < 40; n++) {
    await client.process(Add({ id: String(n % 7), n }), n === 0 ? { idempotencyKey: "first" } : {});
  }
  await until(async () => (await client.rows(Noted)).length === 40, () => "all to be noted");
  await until(
    async () => (await client.rows(Seen)).flatMap(({ ns }) => ns).length === 40,
    () => "all to be seen",
  );
  const running = await annals(from, "export");
  assert.equal(running.code, 2);
  assert.match(running.stderr, /A server is running.*Stop all servers first/);
  assert.equal((await annals(from, "export", "--since", "1h")).stdout.split("\n").length, 83);
  assert.equal(await server.stop(), 0);
  const { stdout } = await annals(from, "export");
  const file = `${from.folder}/log.jsonl`;
  await Deno.writeTextFile(file, stdout);
  const half = `${from.folder}/half.jsonl`;
  await Deno.writeTextFile(half, stdout.slice(0, stdout.length / 2));
  const cut = await annals(to, "import", half);
  assert.equal(cut.code, 1);
  assert.match(cut.stderr, /ends in the middle|it is no CloudEvent/);
  // Without the checkpoints of groups, it would do everything again.
  const early = to.start();
  assert.equal((await early.status).code, 1);
  assert.match(early.stdout + early.stderr, /has a part of an import.*Import the whole export/);
  const imported = await annals(to, "import", file);
  assert.equal(imported.code, 0, imported.stderr);
  assert.match(imported.stdout, /all 80 are as they were exported/);
  // Into what has messages of its own: also the store that was exported.
  const back = await annals(from, "import", file);
  assert.equal(back.code, 1);
  assert.match(back.stderr, /it may be the one that was exported. Import into an empty one/);
  assert.equal((await annals(to, "import", file)).code, 0);
  const second = await to.start().running();
  await using there = await to.connect(tally);
  await until(
    async () => (await there.rows(Seen)).flatMap(({ ns }) => ns).length === 40,
    () => `all rows to be built: ${second.stderr}`,
  );
  assert.deepEqual(await there.rows(Seen), await client.rows(Seen));
  assert.deepEqual(await there.rows(Noted), await client.rows(Noted));
  // And the record of the import, which importing again does not repeat.
  assert.equal(await there.store.lastPosition(), 81);
  const [record, ...more] = await auditRecords({ store: there.store, domain: tally });
  assert.deepEqual([record.action, record.details.messages, more], ["import", 80, []]);
  const { repeated } = await there.process(Add({ id: "0", n: 0 }), { idempotencyKey: "first" });
  assert.ok(repeated);
  await there.process(Add({ id: "0", n: 40 }), { wait: true });
  await until(async () => (await there.rows(Noted)).length === 41, () => "what is new to be handled");
  assert.deepEqual(await there.store.deadLetters(), []);
  assert.equal(await second.stop(), 0);
});

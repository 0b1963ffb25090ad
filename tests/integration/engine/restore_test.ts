import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { Add, default as tally } from "../../fixtures/tally/domain.ts";
import { pause } from "../../support/ground.ts";
import { audit, drive, settled } from "../../support/load.ts";
import { withPrefix } from "../../support/redis.ts";
import { Site } from "../../support/server.ts";
import { redisUrl } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/tally/domain.ts", import.meta.url);

/** Runs a server under load for a moment; returns what it was sent. */
async function work(site: Site, ms: number): Promise<Set<number>> {
  const server = await site.start().running();
  const client = await site.connect(tally);
  const load = drive(client);
  await pause(ms);
  await load.stop();
  await settled(client);
  await client.close();
  assert.equal(await server.stop(), 0);
  return load.sent;
}

for (const kind of ["sqlite", "redis"]) {
  Deno.test(`a log that was put back from a backup and grew since gets a new copy on the broker (${kind})`, async () => {
    await using keys = withPrefix();
    const broker = kind === "redis" ? `[brokers.default]\nurl = "${redisUrl()}"\nprefix = "${keys.prefix}"\n` : "";
    await using site = Site.make("tally", MODULE, `[event_store]\nurl = "sqlite:log.db"\n${broker}`);
    const [log, backup] = [`${site.folder}/log.db`, `${site.folder}/backup.db`];
    const sent = await work(site, 200);
    const db = new DatabaseSync(log);
    db.exec(`vacuum into '${backup}'`);
    db.close();
    await work(site, 200);
    for (const suffix of ["-wal", "-shm"]) await Deno.remove(`${log}${suffix}`).catch(() => {});
    await Deno.rename(backup, log);

    // Nobody relays: what is sent takes the positions of what is gone.
    const client = await site.connect(tally);
    for (let n = 0; n < 400; n++) sent.add(n);
    await Promise.all(Array.from({ length: 400 }, (_, n) => client.process(Add({ id: String(n % 7), n }))));
    const server = await site.start().running();
    await settled(client);
    await audit(client, sent);
    assert.match(server.stderr, /had messages of tally::tally that the log does not have/);
    await client.close();
    assert.equal(await server.stop(), 0);
  });
}

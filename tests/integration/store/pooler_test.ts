import { PostgresEventStore } from "@annals/annals/store/postgres";
import assert from "node:assert/strict";
import { eventStoreSuite, sampleAppend } from "../../../src/testing/store_suite.ts";
import tally from "../../fixtures/tally/domain.ts";
import { pause } from "../../support/ground.ts";
import { audit, drive, settled } from "../../support/load.ts";
import { canPool, Pooler } from "../../support/pooler.ts";
import { connectPostgres, withSchema } from "../../support/postgres.ts";
import { Site } from "../../support/server.ts";
import { databaseUrl } from "../../support/services.ts";
import { onPostgres } from "../../support/stores.ts";

const ignore = !canPool();

let pooler: Pooler;
let open = 0;
eventStoreSuite((name, run) => {
  Deno.test({ name: `postgres store behind a pooler: ${name}`, ignore, fn: run });
}, async () => {
  if (open++ === 0) pooler = await Pooler.start({ url: databaseUrl() });
  const ground = await onPostgres(pooler.url);
  return {
    ...ground,
    [Symbol.asyncDispose]: async () => {
      await ground[Symbol.asyncDispose]();
      if (--open === 0) await pooler[Symbol.asyncDispose]();
    },
  };
});

Deno.test({
  name: "behind a pooler writes of others are found by looking, which is said; around it they are heard of",
  ignore,
  fn: async () => {
    await using schema = await withSchema();
    await using pooler = await Pooler.start({ url: databaseUrl() });
    const options = { url: pooler.url, schema: schema.name };
    const [deaf, hearing, writer] = [
      new PostgresEventStore(options),
      new PostgresEventStore({ ...options, listenUrl: databaseUrl() }),
      new PostgresEventStore({ ...options, listen: false }),
    ];
    await writer.migrate();
    const about = (warnings: string[]) => warnings.filter((warning) => warning.includes("Notifications"));
    assert.match(about(await deaf.inspect())[0], /do not come through.*every 100 ms.*listen_url/);
    assert.deepEqual(about(await hearing.inspect()), []);
    for (const store of [deaf, hearing]) {
      const before = performance.now();
      const change = store.changed(20_000);
      await writer.commit({ appends: [sampleAppend("a")] });
      await change;
      assert.ok(performance.now() - before < 5_000);
    }
    for (const store of [deaf, hearing, writer]) await store.close();
  },
});

Deno.test({
  name: "servers behind a pooler lose and double nothing while its sessions are terminated",
  ignore,
  fn: async () => {
    await using schema = await withSchema();
    await using pooler = await Pooler.start({ url: databaseUrl() });
    const toml = `[event_store]\nurl = "${pooler.url}?application_name=${schema.name}"\nschema = "${schema.name}"\n`;
    await using site = Site.make("tally", new URL("../../fixtures/tally/domain.ts", import.meta.url), toml);
    const servers = await Promise.all([site.start().running(), site.start().running()]);
    await using client = await site.connect(tally);
    const admin = connectPostgres();
    const load = drive(client);
    for (let i = 0; i < 4; i++) {
      await pause(400);
      await admin`select pg_terminate_backend(pid) from pg_stat_activity where application_name = ${schema.name}`;
    }
    await load.stop();
    await settled(client);
    await audit(client, load.sent);
    for (const server of servers) assert.equal(await server.stop(), 0);
    await admin.end();
  },
});

Deno.test({
  name: "everything that is asked at the same time is answered behind a pooler, with and without parameters",
  ignore,
  fn: async () => {
    await using schema = await withSchema();
    await using pooler = await Pooler.start({ url: databaseUrl() });
    const store = new PostgresEventStore({ url: pooler.url, schema: schema.name, listen: false, timeout: 5_000 });
    await store.migrate();
    for (let round = 0; round < 40; round++) {
      await Promise.all(Array.from({ length: 25 }, () => [store.logId(), store.checkpoints("a")]).flat());
    }
    await store.close();
  },
});

Deno.test({
  name: "statements of handlers are committed behind a pooler, whichever session their transaction gets",
  ignore,
  fn: async () => {
    await using schema = await withSchema();
    await using pooler = await Pooler.start({ url: databaseUrl() }, 5);
    const store = new PostgresEventStore({ url: pooler.url, schema: schema.name, listen: false });
    await store.migrate();
    const admin = connectPostgres();
    await admin.unsafe(`create table "${schema.name}".noted (n int)`);
    const note = (n: number) => ({ parts: [`insert into "${schema.name}".noted values (`, ")"], values: [n] });
    const reading = Promise.all([1, 2, 3].map(async () => {
      for (let i = 0; i < 100; i++) await store.readLog();
    }));
    for (let n = 0; n < 40; n++) await store.commit({ appends: [sampleAppend("a")], statements: [note(n)] });
    await reading;
    // Also as the first thing that a store does, before it knows that there is a pooler.
    await Promise.all([40, 45, 50, 55].map(async (first) => {
      const fresh = new PostgresEventStore({ url: pooler.url, schema: schema.name, listen: false });
      for (let n = first; n < first + 5; n++) {
        await fresh.commit({ appends: [sampleAppend("a")], statements: [note(n)] });
      }
      await fresh.close();
    }));
    const noted = await admin.unsafe(`select n from "${schema.name}".noted order by n`);
    assert.deepEqual(noted.map(({ n }) => n), Array.from({ length: 60 }, (_, n) => n));
    assert.equal(await store.lastPosition(), 60);
    await admin.end();
    await store.close();
  },
});

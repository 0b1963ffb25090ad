import { PostgresEventStore } from "@annals/annals/store/postgres";
import assert from "node:assert/strict";
import { forSchema } from "../../../src/store/postgres/schema.ts";
import { sampleAppend } from "../../../src/testing/store_suite.ts";
import { pause } from "../../support/ground.ts";
import { canPool, Pooler } from "../../support/pooler.ts";
import { connectPostgres } from "../../support/postgres.ts";
import { canStartServices, PostgresServer } from "../../support/services.ts";

// A database may isolate transactions stricter than the store needs: functions that wait for a lock would then go on with
// the snapshot from before.

async function holds(level: string, pooled: boolean): Promise<void> {
  await using server = await PostgresServer.start([`default_transaction_isolation=${level}`]);
  await using pooler = pooled ? await Pooler.start(server) : null;
  const url = pooler?.url ?? server.url;
  const stores = Array.from({ length: 2 }, () => new PostgresEventStore({ url, listen: false }));
  const [zombie, successor] = stores;
  await zombie.migrate();
  await Promise.all(stores.flatMap((store, k) =>
    [0, 1].map(async (n) => {
      for (let i = 0; i < 30; i++) await store.commit({ appends: [sampleAppend(`stream-${k}-${n}`)] });
    })
  ));
  assert.equal(await zombie.lastPosition(), 120);

  const lease = (owner: string, ttl: number) => ({ name: "G#0/1", group: "G", partitions: 1, owner, ttl });
  const granted = await zombie.acquireLease(lease("zombie", 1));
  await pause(20);
  const fence = { lease: "G#0/1", token: granted!.token };
  const checkpoint = { group: "G", category: "c", partitions: 1, partition: 0, position: 5 };
  const admin = connectPostgres(server.url);
  // The zombie's commit waits, with the snapshot it has, while the lease goes to another.
  let late!: Promise<unknown>;
  await admin.begin("isolation level read committed", async (sql) => {
    await sql.unsafe(forSchema("select pg_advisory_xact_lock(annals_lease_lock)", "annals"));
    late = zombie.commit({ fence, checkpoint }).then(() => "accepted", (error: Error) => error.name);
    await pause(300);
    await sql.unsafe("select annals.acquire_lease('G#0/1', 'G', 1, 'successor', 4000, null)");
  });
  assert.equal(await late, "FencedError");
  assert.deepEqual(await successor.checkpoints("G"), []);
  await admin.end();
  for (const store of stores) await store.close();
}

for (const level of ["repeatable read", "serializable"]) {
  for (const pooled of [false, true]) {
    Deno.test({
      name: `where transactions are ${level} by default${
        pooled ? ", behind a pooler," : ""
      } nobody passes a fence that has moved`,
      ignore: !canStartServices() || (pooled && !canPool()),
      fn: () => holds(level, pooled),
    });
  }
}

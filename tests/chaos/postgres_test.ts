import assert from "node:assert/strict";
import { pause, survives } from "../support/ground.ts";
import { connectPostgres } from "../support/postgres.ts";
import { smallDisk } from "../support/small_disk.ts";
import { Proxy } from "../support/proxy.ts";
import { until } from "../support/server.ts";

survives("all sessions of PostgreSQL are terminated, again and again", async ({ postgres, random }) => {
  const admin = connectPostgres(postgres.url);
  for (let i = 0; i < 8; i++) {
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()`;
    await pause(random() * 900);
  }
  await admin.end();
});

survives("PostgreSQL crashes and recovers", async ({ postgres, servers }) => {
  for (let i = 0; i < 2; i++) {
    await postgres.crash();
    await pause(600);
    await postgres.start();
    await pause(2_000);
  }
  assert.ok(servers.some(({ stderr }) => /PostgreSQL at postgres:\/\/annals:\*\*\*@127/.test(stderr)));
});

let proxy: Proxy;
survives("connections to PostgreSQL break between a commit and its answer", async ({ random }) => {
  for (let i = 0; i < 25; i++) {
    proxy.swallow();
    await pause(random() * 250);
  }
  await until(() => proxy.left === 0, () => "all answers to be swallowed");
}, {
  detour: (_, postgres) => {
    proxy = new Proxy(postgres.port);
    return Promise.resolve({
      postgres: postgres.url.replace(`:${postgres.port}/`, `:${proxy.port}/`),
      [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
    });
  },
});

survives("statements take longer than statement_timeout", async ({ postgres, servers }) => {
  const admin = connectPostgres(postgres.url);
  await admin`alter system set statement_timeout = '300ms'`;
  await admin`select pg_reload_conf()`;
  await pause(200);
  // A lock: every commit of a group waits until its time is over.
  await admin.begin(async (sql) => {
    await sql`set local statement_timeout = 0`;
    await sql`lock table annals.checkpoints in exclusive mode`;
    const said = () => servers.some(({ stderr }) => /statement_timeout, nothing was written/.test(stderr));
    await until(said, () => "a server to say that it waits", 10_000);
    await pause(1_500);
  });
  await admin`alter system reset statement_timeout`;
  await admin`select pg_reload_conf()`;
  await admin.end();
});

survives("PostgreSQL has no free connection", async ({ postgres, servers }) => {
  const admin = connectPostgres(postgres.url);
  await admin`select 1`;
  const greedy: ReturnType<typeof connectPostgres>[] = [];
  const grab = async (): Promise<void> => {
    const connection = connectPostgres(postgres.url);
    greedy.push(connection);
    await connection`select 1`.catch(() => {});
  };
  // Whatever becomes free is taken.
  await until(async () => {
    await Promise.all([
      admin`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'annals%'`,
      ...Array.from({ length: 15 }, grab),
    ]);
    return servers.some(({ stderr }) => /it has no free connection/.test(stderr));
  }, () => "it to be said");
  await pause(500);
  await Promise.all(greedy.map((connection) => connection.end({ timeout: 1 })));
  await admin.end();
}, { postgres: ["max_connections=45"] });

survives("PostgreSQL becomes read-only for a while", async ({ postgres, servers }) => {
  const admin = connectPostgres(postgres.url);
  await admin`alter system set default_transaction_read_only = on`;
  await admin`select pg_reload_conf()`;
  await until(() => servers.some(({ stderr }) => /it is read-only/.test(stderr)), () => "it to be said");
  await pause(500);
  await admin`set default_transaction_read_only = off`;
  await admin`alter system reset default_transaction_read_only`;
  await admin`select pg_reload_conf()`;
  await admin.end();
});

const small = await smallDisk();

survives("the disk of PostgreSQL is full for a while", async ({ postgres, servers, load }) => {
  await using disk = small;
  const admin = connectPostgres(postgres.url);
  await admin.unsafe(`create tablespace small location '${disk!.folder}'`);
  await admin.unsafe("alter table annals.messages set tablespace small");
  await disk!.fill();
  // Whoever is first: when nobody can send, servers have nothing to write.
  const said = () => [...load.refusals, ...servers.map(({ stderr }) => stderr)];
  await until(() => said().some((text) => /its disk is full; free space/.test(text)), () => "it to be said");
  await pause(500);
  await disk!.free();
  // The disk goes with this function, and there is more to come.
  await admin.unsafe("alter table annals.messages set tablespace pg_default");
  await admin.end();
}, { ignore: small === null });

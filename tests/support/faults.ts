import { pause } from "./ground.ts";
import { connectPostgres } from "./postgres.ts";
import type { Proxy } from "./proxy.ts";
import { connectRedis } from "./redis.ts";
import { killPid, type Server, type Site, until } from "./server.ts";
import { type PostgresServer, RedisServer } from "./services.ts";

/** A server with its own ways to the services. */
export interface Place {
  readonly site: Site;
  readonly redis: Proxy;
  readonly postgres: Proxy;
  server: Server;
}

/** Where faults happen. */
export interface Field {
  redis: RedisServer;
  readonly postgres: PostgresServer;
  readonly places: Place[];
  /** From 0 to 1; the same in every run with the same seed. */
  readonly random: () => number;
  /** How long a fault may last, in milliseconds. */
  readonly longest: number;
}

/** One of several, at random. */
function one<T>({ random }: Field, of: readonly T[]): T {
  return of[Math.floor(random() * of.length)];
}

/** The ways of one server: to Redis, to PostgreSQL, or to both. */
function ways(field: Field): Proxy[] {
  const { redis, postgres } = one(field, field.places);
  return one(field, [[redis], [postgres], [redis, postgres]]);
}

/** A fault, from its beginning to when it is over. */
export type Fault = (field: Field) => Promise<void>;

async function onWays(field: Field, begin: (way: Proxy) => void, longest: number): Promise<void> {
  const chosen = ways(field);
  for (const way of chosen) begin(way);
  await pause(200 + field.random() * longest);
  for (const way of chosen) way.heal();
}

async function withRedis(
  field: Field,
  work: (admin: ReturnType<typeof connectRedis>) => Promise<unknown>,
): Promise<void> {
  const admin = connectRedis(field.redis.url);
  await work(admin);
  await admin.quit();
}

async function withPostgres(
  field: Field,
  work: (admin: ReturnType<typeof connectPostgres>) => Promise<unknown>,
): Promise<void> {
  const admin = connectPostgres(field.postgres.url);
  await work(admin);
  await admin.end();
}

/** Everything that can happen. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  "a server is killed": async (field) => {
    const place = one(field, field.places);
    await place.server.kill();
    await pause(field.random() * 2_000);
    place.server = place.site.start();
  },
  "a host is killed": (field) => {
    for (const pid of one(field, field.places).server.hostPids()) killPid(pid);
    return Promise.resolve();
  },
  "a server is suspended": async (field) => {
    const { server } = one(field, field.places);
    server.signal("SIGSTOP");
    await pause(field.random() * 8_000);
    server.signal("SIGCONT");
  },
  "a server's clock is wrong": async (field) => {
    const { server } = one(field, field.places);
    const [there, back] = field.random() < 0.5 ? ["SIGUSR1", "SIGUSR2"] as const : ["SIGUSR2", "SIGUSR1"] as const;
    // Before, a signal would end it.
    await server.running();
    server.signal(there);
    await pause(field.random() * 6_000);
    server.signal(back);
  },
  "the client's clock is wrong": async ({ random }) => {
    const now = Date.now;
    const offset = random() < 0.5 ? 3_600_000 : -3_600_000;
    Date.now = () => now() + offset;
    await pause(random() * 4_000);
    Date.now = now;
  },
  "connections of a server break": (field) => {
    for (const way of ways(field)) way.cut();
    return Promise.resolve();
  },
  "a server is cut off": (field) => onWays(field, (way) => way.block(), field.longest),
  "a server has a slow network": (field) => onWays(field, (way) => way.delay = 200, 4_000),
  "a server has a bad network": (field) => onWays(field, (way) => way.tears = 0.02, 4_000),
  "Redis is flushed": (field) => withRedis(field, (admin) => admin.flushall()),
  "Redis is killed and comes back empty": async ({ redis, random }) => {
    await redis.kill();
    await pause(random() * 3_000);
    await redis.start();
  },
  "Redis fails over to a replica that lacks the last entries": async (field) => {
    const former = field.redis;
    const replica = await RedisServer.start();
    const admin = connectRedis(replica.url);
    await admin.call("replicaof", "127.0.0.1", String(former.port));
    await until(async () => (await admin.info("replication")).includes("master_link_status:up"), () => "the replica");
    await admin.call("replicaof", "no", "one");
    await admin.quit();
    await pause(field.random() * 3_000);
    await former.stop();
    field.redis = replica;
    for (const { redis } of field.places) redis.turnTo(replica.port);
  },
  "Redis refuses writes": (field) =>
    withRedis(field, async (admin) => {
      await admin.config("SET", "min-replicas-to-write", "1");
      await pause(field.random() * 3_000);
      await admin.config("SET", "min-replicas-to-write", "0");
    }),
  "PostgreSQL crashes": async ({ postgres, random }) => {
    await postgres.crash();
    await pause(random() * 2_000);
    await postgres.start();
  },
  "all sessions of PostgreSQL are terminated": (field) =>
    withPostgres(
      field,
      (admin) => admin`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()`,
    ),
  "a table is locked": (field) =>
    withPostgres(field, (admin) =>
      admin.begin(async (sql) => {
        await sql`lock table annals.messages`;
        await pause(field.random() * 3_000);
      })),
  "a report takes its time": (field) =>
    withPostgres(field, (admin) =>
      admin.begin("isolation level repeatable read", async (sql) => {
        await sql`select count(*) from annals.messages`;
        await pause(field.random() * 5_000);
      })),
  "tables are rewritten": (field) =>
    withPostgres(field, async (admin) => {
      for (const table of ["checkpoints", "leases", "deferred", "projections"]) {
        await admin.unsafe(`vacuum full annals.${table}`);
      }
    }),
};

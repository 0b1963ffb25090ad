import openDatabase from "postgres";
import { findPrograms, type Programs } from "../tests/support/programs.ts";
import { initialise, PostgresServer, RedisServer } from "../tests/support/services.ts";

/** Private Redis and PostgreSQL servers for the benchmarks, durable as in production. */
export interface Services {
  readonly redis: RedisServer;
  readonly postgres: PostgresServer;
  /** The configuration that uses them. */
  readonly toml: string;
  /** Runs maintenance of the database now, so that it does not disturb what is measured. */
  settle(): Promise<void>;
  /** Stops and removes them. */
  stop(): Promise<void>;
}

/** Starts them. */
export async function startServices(): Promise<Services> {
  const found = await findPrograms();
  if (!found.redisServer || !found.postgres) {
    throw new Error("This bench needs Redis and PostgreSQL: sudo apt-get install redis-server postgresql");
  }
  const programs: Programs = { ...found, template: await initialise(found) };
  const redis = await RedisServer.start(["--appendonly", "yes"], found.redisServer);
  const postgres = await PostgresServer.start(["fsync=on"], programs);
  return {
    redis,
    postgres,
    toml: `[event_store]\nurl = "${postgres.url}"\n[brokers.default]\nurl = "${redis.url}"\n`,
    settle: async () => {
      const sql = openDatabase(postgres.url, { max: 1, onnotice: () => {} });
      await sql`vacuum analyze`;
      await sql`checkpoint`;
      await sql.end();
    },
    stop: async () => {
      await Promise.all([redis.stop(), postgres.stop()]);
      await Deno.remove(programs.template!, { recursive: true });
    },
  };
}

import type { Client } from "@annals/annals/client";
import { seededRandom } from "../../examples/fidelis/simulate.ts";
import tally from "../fixtures/tally/domain.ts";
import { audit, drive, type Load, settled } from "./load.ts";
import { type Server, Site } from "./server.ts";
import { canStartServices, PostgresServer, RedisServer } from "./services.ts";

const MODULE = new URL("../fixtures/tally/domain.ts", import.meta.url);

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Where the servers find what they need, when that is not the service itself. */
export interface Detour extends AsyncDisposable {
  readonly redis?: string;
  readonly postgres?: string;
}

/** What a fault can be made with. */
export interface Ground {
  readonly redis: RedisServer;
  readonly postgres: PostgresServer;
  readonly site: Site;
  readonly client: Client;
  /** The running servers; one that is put in place of another is stopped in the end too. */
  readonly servers: Server[];
  /** What is sent all the time. */
  readonly load: Load;
  /** The same in every run with the same seed. */
  readonly random: () => number;
}

/** How to lay a ground. */
export interface GroundOptions {
  /** How many servers. @default {2} */
  readonly servers?: number;
  /** More of the configuration. */
  readonly toml?: string;
  /** Whether it cannot be done here. @default {false} */
  readonly ignore?: boolean;
  /** Settings of PostgreSQL. */
  readonly postgres?: string[];
  /** Puts something between the servers and the services. */
  readonly detour?: (redis: RedisServer, postgres: PostgresServer) => Promise<Detour>;
}

/**
 * Registers a test: servers on a Redis and a PostgreSQL of their own, under load, something happens to them, and in the
 * end nothing is lost, doubled, or out of order.
 */
export function survives(name: string, fault: (ground: Ground) => Promise<void>, options: GroundOptions = {}): void {
  const ignore = options.ignore === true || !canStartServices();
  Deno.test({ name, ignore, fn: run });

  async function run(): Promise<void> {
    const seed = Number(Deno.env.get("ANNALS_TEST_SEED") ?? Math.floor(Math.random() * 1e9));
    console.log(`${name}: ANNALS_TEST_SEED=${seed}`);
    await using redis = await RedisServer.start();
    await using postgres = await PostgresServer.start(options.postgres);
    await using detour = await options.detour?.(redis, postgres) ?? null;
    await using site = Site.make(
      "tally",
      MODULE,
      `[event_store]\nurl = "${detour?.postgres ?? postgres.url}"\n` +
        `[brokers.default]\nurl = "${detour?.redis ?? redis.url}"\n${options.toml ?? ""}`,
    );
    const servers = await Promise.all(Array.from({ length: options.servers ?? 2 }, () => site.start().running()));
    await using client = await site.connect(tally);
    const load = drive(client);
    const ground: Ground = { redis, postgres, site, client, servers, load, random: seededRandom(seed) };
    try {
      await pause(500);
      await fault(ground);
      await pause(500);
      await load.stop();
      await settled(client);
      await audit(client, load.sent);
      for (const server of servers) await server.stop();
    } catch (error) {
      const stopped = await load.stop().then(() => "", (failure: Error) => `\nthe load ended: ${failure.message}`);
      const said = servers.map((server) => server.stderr.split("\n").slice(-15).join("\n")).join("\n---\n");
      throw new Error(
        `${(error as Error).message}\nwith ANNALS_TEST_SEED=${seed}${stopped}; the servers said:\n${said}`,
        {
          cause: error,
        },
      );
    }
  }
}

import { fileURLToPath } from "node:url";

import type { Programs } from "./programs.ts";

const PROGRAMS = "ANNALS_TEST_PROGRAMS";
const PASSWORD = "a secret/of:tests@";

/** How to run the tests with what they need. */
export const HINT = "run the tests by `deno task test`: it starts Redis and PostgreSQL for them";

/** The programs that `tests/run.ts` has found. */
export function programs(): Programs {
  const found = Deno.env.get(PROGRAMS);
  if (found === undefined) throw new Error(HINT);
  return JSON.parse(found);
}

/** The environment that tells tests of services. */
export function environment(urls: { redis: string; database: string }, found: Programs): Record<string, string> {
  // What the shell names is not for tests: without a file, it would be taken for their store and broker.
  const none = { REDIS_URL: "", DATABASE_URL: "" };
  return { TEST_REDIS_URL: urls.redis, TEST_DATABASE_URL: urls.database, ...none, [PROGRAMS]: JSON.stringify(found) };
}

function url(name: string): string {
  const found = Deno.env.get(name);
  if (found === undefined) throw new Error(HINT);
  return found;
}

/** The Redis that all tests share: every test has a key prefix of its own. */
export const redisUrl = (): string => url("TEST_REDIS_URL");

/** The database that all tests share: every test has a schema of its own. */
export const databaseUrl = (): string => url("TEST_DATABASE_URL");

/** Whether tests can start services of their own; where not, `tests/run.ts` says so. */
export function canStartServices(): boolean {
  const { redisServer, postgres } = programs();
  return redisServer !== null && postgres !== null;
}

/**
 * A port that is free now and stays so while its service is down: one below those that the system gives to outgoing
 * connections, which would take it (a client that dials a port in that range can even connect to itself).
 */
export function freePort(): number {
  for (let tries = 0; tries < 1_000; tries++) {
    const port = 10_500 + Math.floor(Math.random() * 10_000);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error("no port between 10500 and 20500 is free");
}

/** Milliseconds that a service may take to answer; a recovery on a slow disk takes tens of seconds. */
const LONGEST_START = 60_000;

/** Runs a service; ends it and removes its folder when the process that started it ends, in whatever way. */
const KEEPER = `trap '' INT; exec 3<&0; folder=$1; shift
"$@" 3<&- 2>>"$folder/stderr" & child=$!
(read _ <&3; trap '' TERM; kill -QUIT $child; kill -TERM $child; exit 7) 2>/dev/null & watch=$!
wait $child; kill $watch 2>/dev/null; wait $watch; [ $? = 7 ] && rm -rf "$folder"`;

/** A service that runs until it is stopped. */
export interface Kept {
  /** Waits until it answers. */
  reachable(check: () => Promise<unknown>): Promise<void>;
  /** Waits until it has ended by itself; then its folder stays. */
  ended(): Promise<void>;
  stop(): Promise<void>;
}

/** Runs a service. */
export function keep(folder: string, command: string[], user: Programs["user"]): Kept {
  const child = new Deno.Command("sh", {
    args: ["-c", KEEPER, "keeper", folder, ...command],
    cwd: "/",
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    ...(user ?? {}),
  }).spawn();
  const writer = child.stdin.getWriter();
  const started = performance.now();
  let code: number | undefined;
  void child.status.then((status) => code = status.code);
  return {
    async reachable(check) {
      while (code === undefined && performance.now() - started < LONGEST_START) {
        try {
          await check();
          return;
        } catch {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
      const said = await Deno.readTextFile(`${folder}/stderr`).catch(() => "");
      const how = code === undefined ? `does not answer after ${LONGEST_START} ms` : `ended with code ${code}`;
      throw new Error(`${command[0]} ${how}: ${said.slice(-2_000)}`);
    },
    async ended() {
      await child.status;
    },
    async stop() {
      await writer.close().catch(() => {});
      await child.status;
    },
  };
}

/** A Redis of one's own. */
export class RedisServer {
  readonly port: number;
  readonly url: string;
  #kept: Kept | undefined;
  #args: string[];
  #program: string;
  #folder = "";
  pid = 0;

  private constructor(program: string, args: string[] | ((port: number) => string[])) {
    this.port = freePort();
    this.url = `redis://127.0.0.1:${this.port}/0`;
    this.#program = program;
    this.#args = typeof args === "function" ? args(this.port) : args;
  }

  /** Starts one; `args` are more arguments of `redis-server`. */
  static async start(
    args: string[] | ((port: number) => string[]) = [],
    program = programs().redisServer,
  ): Promise<RedisServer> {
    if (program === null) throw new Error(HINT);
    const server = new RedisServer(program, args);
    await server.start();
    return server;
  }

  /** Starts it again on the same port, empty. */
  async start(): Promise<void> {
    const folder = this.#folder = await Deno.makeTempDir({ prefix: "annals-redis-" });
    const command = [this.#program, "--port", String(this.port), "--bind", "127.0.0.1", "--save", "", "--dir", folder];
    this.#kept = keep(folder, [...command, "--pidfile", `${folder}/pid`, "--daemonize", "no", ...this.#args], null);
    const check = async () => (await Deno.connect({ hostname: "127.0.0.1", port: this.port })).close();
    await this.#kept.reachable(check);
    for (let i = 0; i < 100 && !(this.pid = Number(await Deno.readTextFile(`${folder}/pid`).catch(() => "0"))); i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Ends it at once. */
  async kill(): Promise<void> {
    Deno.kill(this.pid, "SIGKILL");
    await this.stop();
  }

  async stop(): Promise<void> {
    await this.#kept?.stop();
    this.#kept = undefined;
    await Deno.remove(this.#folder, { recursive: true }).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

async function run(command: string, args: string[], user: Programs["user"]): Promise<void> {
  const { success, stderr, stdout } = await new Deno.Command(command, { args, cwd: "/", ...(user ?? {}) }).output();
  if (success) return;
  const decoder = new TextDecoder();
  throw new Error(`${command} ${args.join(" ")}: ${decoder.decode(stderr)}${decoder.decode(stdout)}`);
}

/** Makes a fresh data folder. */
export async function initialise(found: Omit<Programs, "template">): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "annals-postgres-template-" });
  const secret = await Deno.makeTempFile({ prefix: "annals-" });
  await Deno.writeTextFile(secret, PASSWORD);
  if (found.user) {
    await Deno.chown(folder, found.user.uid, found.user.gid);
    await Deno.chown(secret, found.user.uid, found.user.gid);
  }
  const args = ["-D", folder, "-U", "annals", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "-N"];
  await run(`${found.postgres}/initdb`, [...args, "--locale=C.UTF-8"], found.user);
  await Deno.remove(secret);
  return folder;
}

/** A PostgreSQL of one's own. */
export class PostgresServer {
  readonly port: number;
  readonly url: string;
  readonly folder: string;
  #found: Programs;
  #settings: string[];
  #kept: Kept | undefined;

  private constructor(found: Programs, folder: string, settings: string[]) {
    this.port = freePort();
    this.url = `postgres://annals:${encodeURIComponent(PASSWORD)}@127.0.0.1:${this.port}/postgres`;
    this.folder = folder;
    this.#found = found;
    this.#settings = settings;
  }

  /** Starts one; `settings` are like `max_connections=10`. */
  static async start(settings: string[] = [], found = programs()): Promise<PostgresServer> {
    if (found.postgres === null) throw new Error(HINT);
    const folder = await Deno.makeTempDir({ prefix: "annals-postgres-" });
    await Deno.remove(folder);
    await run("cp", ["-a", found.template!, folder], found.user);
    const server = new PostgresServer(found, folder, settings);
    await server.start();
    return server;
  }

  /** Starts it again on the same port, with what it had. */
  async start(settings: string[] = this.#settings): Promise<void> {
    const all = [
      "listen_addresses=127.0.0.1",
      "unix_socket_directories=",
      "fsync=off",
      "max_connections=400",
      ...settings,
    ];
    const args = ["-D", this.folder, "-p", String(this.port), ...all.flatMap((setting) => ["-c", setting])];
    const ready = ["-h", "127.0.0.1", "-p", String(this.port)];
    for (let tries = 1;; tries++) {
      this.#kept = keep(this.folder, [`${this.#found.postgres}/postgres`, ...args], this.#found.user);
      try {
        return await this.#kept.reachable(() => run(`${this.#found.postgres}/pg_isready`, ready, null));
      } catch (error) {
        // After a crash it refuses while a session of its predecessor is still on its way out.
        if (tries === 5) throw error;
        await this.#kept.stop();
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  }

  /** Ends all sessions and itself at once, as in a crash; what it has stays. */
  async crash(): Promise<void> {
    await run(`${this.#found.postgres}/pg_ctl`, ["-D", this.folder, "stop", "-m", "immediate"], this.#found.user);
    await this.#kept?.ended();
    await this.#kept?.stop();
    this.#kept = undefined;
  }

  /** Copies what it has now, as a standby would that gets no more from here on. */
  async standby(): Promise<string> {
    const folder = `${this.folder}-standby`;
    const { hostname, port, username } = new URL(this.url);
    const from = ["-h", hostname, "-p", port, "-U", username, "-D", folder, "-X", "stream", "-c", "fast", "-N"];
    await run("env", [`PGPASSWORD=${PASSWORD}`, `${this.#found.postgres}/pg_basebackup`, ...from], this.#found.user);
    return folder;
  }

  /** Crashes for good; the standby is promoted in its place. */
  async failOver(standby: string): Promise<void> {
    await this.crash();
    await Deno.remove(this.folder, { recursive: true });
    await Deno.rename(standby, this.folder);
    await Deno.writeTextFile(`${this.folder}/recovery.signal`, "");
    const { user } = this.#found;
    if (user) await Deno.chown(`${this.folder}/recovery.signal`, user.uid, user.gid);
    const promoted = ["recovery_target=immediate", "recovery_target_action=promote", "restore_command=false"];
    await this.start([...this.#settings, ...promoted]);
  }

  async stop(): Promise<void> {
    await this.#kept?.stop();
    this.#kept = undefined;
    await Deno.remove(this.folder, { recursive: true }).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Where the tests are. */
export const TESTS: string = fileURLToPath(new URL("../", import.meta.url));

import { freePort, keep, type Kept, type PostgresServer, programs } from "./services.ts";

/** Whether there is a PgBouncer to start. */
export function canPool(): boolean {
  return programs().pgbouncer !== null && programs().postgres !== null;
}

/** A PgBouncer of one's own: every transaction may get another session. */
export class Pooler implements AsyncDisposable {
  readonly url: string;
  #kept: Kept;

  private constructor(url: string, kept: Kept) {
    this.url = url;
    this.#kept = kept;
  }

  /** Starts one before a database; few sessions for many connections. */
  static async start(postgres: Pick<PostgresServer, "url">, sessions = 3): Promise<Pooler> {
    const { pgbouncer, user } = programs();
    const { hostname, port, username, password, pathname } = new URL(postgres.url);
    const folder = await Deno.makeTempDir({ prefix: "annals-pooler-" });
    const listenPort = freePort();
    const ini = `[databases]
* = host=${hostname} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = plain
auth_file = ${folder}/users
pool_mode = transaction
default_pool_size = ${sessions}
`;
    await Deno.writeTextFile(`${folder}/ini`, ini);
    await Deno.writeTextFile(`${folder}/users`, `"${username}" "${decodeURIComponent(password)}"\n`);
    if (user) { for (const path of ["", "/ini", "/users"]) await Deno.chown(`${folder}${path}`, user.uid, user.gid); }
    const kept = keep(folder, [pgbouncer!, `${folder}/ini`], user);
    const check = async () => (await Deno.connect({ hostname: "127.0.0.1", port: listenPort })).close();
    await kept.reachable(check);
    return new Pooler(`postgres://${username}:${password}@127.0.0.1:${listenPort}${pathname}`, kept);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept.stop();
  }
}

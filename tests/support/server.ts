import { type Client, connect } from "@annals/annals/client";
import { type Config, loadConfig } from "@annals/annals/config";
import type { Domain } from "@annals/annals";
import { fileURLToPath as fromFileUrl } from "node:url";

const SERVER = new URL("../../server.ts", import.meta.url);

/** The real server, with a clock that signals set. */
export const JUMPING_SERVER = new URL("./jumping_server.ts", import.meta.url);

/** A folder of its own with a configuration, for one domain. */
export class Site {
  readonly folder: string;
  readonly file: string;
  readonly config: Config;
  readonly domain: string;
  #env: Record<string, string>;
  #entry: URL;
  #running = new Set<Server>();

  private constructor(folder: string, domain: string, toml: string, env: Record<string, string>, entry: URL) {
    this.#env = env;
    this.#entry = entry;
    this.folder = folder;
    this.domain = domain;
    this.file = `${folder}/domain.toml`;
    Deno.writeTextFileSync(this.file, toml);
    this.config = loadConfig({ file: this.file });
  }

  /**
   * Makes the folder; `module` is the domain's, `toml` the rest of the configuration, `env` what servers see, `entry` the
   * server's program.
   */
  static make(name: string, module: URL, toml = "", env: Record<string, string> = {}, entry = SERVER): Site {
    const folder = Deno.makeTempDirSync({ prefix: "annals-" });
    // Servers of tests that run at the same time would compete for the default address.
    const http = toml.includes("[server.http]") ? "" : '\n[server.http]\nlisten = "off"\n';
    return new Site(
      folder,
      name,
      `${toml}${http}\n[domains]\n${name} = ${JSON.stringify(fromFileUrl(module))}\n`,
      env,
      entry,
    );
  }

  /** Starts the real server. */
  start(...args: string[]): Server {
    const own = [`--domain=${this.domain}`, `--config=${this.file}`];
    const server = new Server([...own, ...args], this.folder, this.#env, this.#entry);
    this.#running.add(server);
    return server;
  }

  /** Connects to its store, as soon as the server has made it. */
  async connect(domain: Domain): Promise<Client> {
    return await connect(domain, { config: this.config });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#running) await server.kill();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** How long a server may take to start: it waits 30 s for an answer of PostgreSQL before it tries again. */
const STARTING = 60_000;

/** A running server, as a process. */
export class Server {
  /** Everything it printed so far. */
  stdout = "";
  /** Everything it logged so far. */
  stderr = "";
  readonly status: Promise<Deno.CommandStatus>;
  #child: Deno.ChildProcess;
  #reading: Promise<unknown>;

  constructor(args: string[], cwd: string, env: Record<string, string> = {}, entry: URL | "task" = SERVER) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: entry === "task" ? ["task", ...args] : ["run", "-A", "--no-check", fromFileUrl(entry), ...args],
      cwd,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([
      drain(this.#child.stdout, (text) => this.stdout += text),
      drain(this.#child.stderr, (text) => this.stderr += text),
    ]);
    // With all that it said.
    this.status = this.#reading.then(() => this.#child.status);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The engine's process: the one that was started. */
  enginePid(): number {
    return this.pid;
  }

  /** The processes that run the domain's code. */
  hostPids(): number[] {
    try {
      const children = Deno.readTextFileSync(`/proc/${this.pid}/task/${this.pid}/children`).trim();
      return children === "" ? [] : children.split(" ").map(Number);
    } catch {
      return [];
    }
  }

  /** Waits until it says that it runs. */
  async running(): Promise<this> {
    let isOver = false;
    void this.status.then(() => isOver = true);
    await until(
      () => isOver || this.stdout.includes("Engine running"),
      () => `the server to run; it said:\n${this.stdout}${this.stderr}`,
      STARTING,
    );
    if (isOver) throw new Error(`The server ended; it said:\n${this.stdout}${this.stderr}`);
    return this;
  }

  signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // Gone already.
    }
  }

  /** Ends it at once; its hosts end by themselves. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.status;
    await this.#reading;
  }

  /** Asks it to stop, and waits until it has. */
  async stop(): Promise<number> {
    this.signal("SIGTERM");
    const { code } = await this.status;
    await this.#reading;
    return code;
  }
}

/** Kills a process that may be gone. */
export function killPid(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // Gone already.
  }
}

/** Whether a process runs. */
export function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

async function drain(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) add(text);
}

/** Waits for something; fails with what it was when it takes too long. */
export async function until(
  check: () => boolean | Promise<boolean>,
  what: () => string,
  patience = 30_000,
): Promise<void> {
  const end = performance.now() + patience;
  while (!await check()) {
    if (performance.now() > end) throw new Error(`Waited ${patience / 1000} s for ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

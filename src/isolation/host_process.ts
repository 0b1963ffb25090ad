import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { newId } from "../messages/ids.ts";
import { textOf } from "../messages/thrown.ts";
import { within } from "../lib/within.ts";
import { decodeFrame, encodeFrame, FrameSocket } from "./frames.ts";
import { resolution } from "./own_flags.ts";
import { LineReader } from "./line_reader.ts";
import {
  type FromHost,
  fromHostSchema,
  type FromWorker,
  fromWorkerSchema,
  type HostGreeting,
  type ToHost,
  type ToWorker,
} from "./protocol.ts";
import { ProcessMonitor } from "./process_monitor.ts";

/** How long a host may take to connect, in milliseconds. */
const CONNECT_PATIENCE = 20_000;

/** How long a host may take to end by itself, in milliseconds. */
const END_PATIENCE = 500;

/** Descriptors that a host has beside those of its workers. */
const DESCRIPTORS = 256;
const DESCRIPTORS_PER_WORKER = 24;

/**
 * What counts as writable memory of a process and of each of its workers before any code runs, in MiB: address space that
 * V8 sets aside for code, most of it never used.
 */
const RESERVED = 1_280;
const RESERVED_PER_WORKER = 576;

/** Limits of a host. */
export interface HostLimits {
  /** The heap of each of its workers, in MiB. */
  readonly heapMb: number;
  /** What its workers may have beyond their heaps, together, in MiB. */
  readonly memoryMb: number;
}

/** How to start a host. */
export interface HostOptions {
  /** What it is called in messages. */
  readonly name: string;
  /** Flags for the permissions of its process; told where the engine listens. */
  readonly flags: (address: string | number) => string[];
  /** The variables that its groups were granted. */
  readonly env: Readonly<Record<string, string>>;
  /** How many workers it will have. */
  readonly workers: number;
  /** Limits. */
  readonly limits: HostLimits;
  /** For how long its workers have had something to do so far, added up, in milliseconds. */
  readonly work: () => number;
  /** Called when it has ended, before its workers hear of it. */
  readonly ended: (reason: string) => void;
  /** Where its stdout and stderr go, line by line, and what else is to be said. */
  readonly log: (level: "info" | "warn" | "error", text: string) => void;
}

/** What a worker is started with. */
export interface WorkerSpec {
  /** Its name. */
  readonly name: string;
  /** What it may do. */
  readonly permissions: Deno.PermissionOptionsObject;
  /** The variables it was granted. */
  readonly env: Readonly<Record<string, string>>;
  /** The domain's module: a URL. */
  readonly module: string;
}

/** Hears of a worker. */
export interface WorkerListener {
  /** Called with what it says: of the right shape, and nothing more is known of it. */
  readonly message: (message: FromWorker) => void;
  /** Called when it said something that it never should. */
  readonly violation: (what: string) => void;
  /** Called when it has ended, or its host has: why, whether it may be to blame, and which of the two. */
  readonly ended: (reason: string, isSuspect: boolean, isHost: boolean) => void;
}

/** A worker in a host. */
export interface HostedWorker {
  /** Tells it something. */
  send(message: ToWorker): void;
  /** Ends it; nobody hears of it any more. */
  end(): void;
  /** Ends its host at once: it cannot be stopped otherwise, or not be trusted. */
  killHost(reason: string): void;
  /** For how long its event loop has not turned, in milliseconds, as far as is known. */
  silence(): number;
}

/** The variables that Deno itself needs. */
function ownEnvironment(): Record<string, string> {
  const home = homedir();
  const cache = Deno.env.get("DENO_DIR") ??
    (Deno.build.os === "windows"
      ? join(Deno.env.get("LOCALAPPDATA") ?? home, "deno")
      : Deno.build.os === "darwin"
      ? join(home, "Library", "Caches", "deno")
      : join(Deno.env.get("XDG_CACHE_HOME") || join(home, ".cache"), "deno"));
  return { DENO_DIR: cache, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" };
}

/**
 * Limits of the process, where the system has them: descriptors; memory that can be written to (what is beyond fails to
 * be allocated, which a handler survives); SIGKILL when the engine is gone, also for a process that stands still.
 */
const LIMITED = `ulimit -S -n "$1" 2>/dev/null; ulimit -S -d "$2" 2>/dev/null; ulimit -c 0 2>/dev/null; shift 2
command -v setpriv >/dev/null 2>&1 && exec setpriv --pdeathsig KILL --no-new-privs -- "$@"
exec "$@"`;

/** A process that runs domain code, as the engine sees it. */
export class HostProcess {
  #options: HostOptions;
  #child: Deno.ChildProcess;
  #socket!: FrameSocket;
  #monitor!: ProcessMonitor;
  #workers = new Map<number, WorkerListener>();
  #silent = new Map<number, { milliseconds: number; at: number }>();
  #lastWorker = 0;
  #aliveAt = performance.now();
  /** Why it has ended. */
  #end: string | undefined;

  private constructor(options: HostOptions, child: Deno.ChildProcess) {
    this.#options = options;
    this.#child = child;
  }

  /** Whether it has ended. */
  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** The process's id. */
  get pid(): number {
    return this.#child.pid;
  }

  /**
   * Starts a host.
   *
   * @throws {Error} When it cannot be started, or does not connect; says what it said.
   */
  static async start(options: HostOptions): Promise<HostProcess> {
    const isUnix = Deno.build.os !== "windows";
    const folder = isUnix ? await Deno.makeTempDir({ prefix: "annals-host-", dir: tmpdir() }) : null;
    const listener = folder
      ? Deno.listen({ transport: "unix", path: join(folder, "engine") })
      : Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const address = folder ? join(folder, "engine") : (listener.addr as Deno.NetAddr).port;
    const said: string[] = [];
    try {
      const host = new HostProcess(options, spawn(options, address));
      host.#readOutput(said);
      const secret = `${newId()}${newId()}`;
      const writer = host.#child.stdin.getWriter();
      const greeting: HostGreeting = { address, secret, worker: new URL("./worker.ts", import.meta.url).href };
      await writer.write(new TextEncoder().encode(JSON.stringify(greeting))).catch(() => {});
      await writer.close().catch(() => {});
      const connection = await host.#accept(listener);
      await host.#greet(connection, secret);
      return host;
    } catch (error) {
      throw new Error(
        `Cannot start a host for domain code: ${textOf(error)}${said.length > 0 ? `\n${said.join("\n")}` : ""}`,
      );
    } finally {
      listener.close();
      if (folder) await Deno.remove(folder, { recursive: true }).catch(() => {});
    }
  }

  async #accept(listener: Deno.Listener): Promise<Deno.Conn> {
    const gone = this.#child.status.then(({ code, signal }) => {
      throw new Error(`it ended with ${signal ?? `code ${code}`}`);
    });
    gone.catch(() => {});
    try {
      const connected = await within(CONNECT_PATIENCE, Promise.race([listener.accept(), gone]));
      if (connected === undefined) throw new Error(`it did not connect within ${CONNECT_PATIENCE / 1000} s`);
      return connected;
    } catch (error) {
      this.#signal();
      throw error;
    }
  }

  /** The first frame has to have the secret: whoever else connects is nobody. */
  #greet(connection: Deno.Conn, secret: string): Promise<void> {
    this.#socket = new FrameSocket(connection);
    return new Promise((resolve, reject) => {
      let greeted = false;
      const take = (channel: number, payload: Uint8Array): void => {
        if (greeted) return this.#take(channel, payload);
        const hello = fromHostSchema.safeParse(decodeFrame(payload));
        if (channel !== 0 || !hello.success || hello.data.t !== "hello" || hello.data.secret !== secret) {
          throw new Error("it did not say what it was told to");
        }
        greeted = true;
        this.#watch();
        resolve();
      };
      this.#socket.read(take).then(
        () => this.#finish("it closed its connection"),
        (error) => this.kill(`it sent what is no frame (${textOf(error)})`),
      ).finally(() => reject(new Error("it closed its connection")));
      void this.#child.status.then(({ code, signal }) =>
        this.#finish(signal ? `it was ended by ${signal}` : `it ended with code ${code}`)
      );
    });
  }

  #readOutput(said: string[]): void {
    const { log, name } = this.#options;
    const line = (text: string): void => {
      if (said.length < 20) said.push(text);
      log("info", `${name} printed: ${text}`);
    };
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      void new LineReader(line, (dropped) => log("warn", `${name} printed ${dropped} more lines, which were dropped`))
        .read(stream);
    }
  }

  #watch(): void {
    this.#aliveAt = performance.now();
    this.#monitor = new ProcessMonitor({
      pid: this.pid,
      work: this.#options.work,
      heardAt: () => this.#aliveAt,
      kill: (reason) => this.kill(reason),
    });
  }

  #take(channel: number, payload: Uint8Array): void {
    if (this.#end !== undefined) return;
    if (channel === 0) return this.#takeOwn(payload);
    const listener = this.#workers.get(channel);
    if (!listener) return;
    let message: unknown;
    try {
      message = decodeFrame(payload);
    } catch {
      return listener.violation("it sent what is not JSON");
    }
    const checked = fromWorkerSchema.safeParse(message);
    if (checked.success) listener.message(checked.data);
    else {
      const [issue] = checked.error.issues;
      listener.violation(`it sent a message of the wrong shape (${issue.path.join(".")}: ${issue.message})`);
    }
  }

  #takeOwn(payload: Uint8Array): void {
    let message: FromHost;
    try {
      message = fromHostSchema.parse(decodeFrame(payload));
    } catch {
      return this.kill("it sent a message of the wrong shape");
    }
    this.#aliveAt = performance.now();
    if (message.t === "alive") {
      this.#silent.clear();
      for (const [worker, milliseconds] of message.silent) {
        this.#silent.set(worker, { milliseconds, at: this.#aliveAt });
      }
    } else if (message.t === "died") {
      const listener = this.#workers.get(message.worker);
      this.#forget(message.worker);
      listener?.ended(message.message, true, false);
    }
  }

  #forget(worker: number): void {
    this.#workers.delete(worker);
    this.#silent.delete(worker);
  }

  /**
   * Starts a worker.
   *
   * @param spec What it may do, and what it loads.
   * @param listener Hears of it.
   */
  start(spec: WorkerSpec, listener: WorkerListener): HostedWorker {
    const worker = ++this.#lastWorker;
    this.#workers.set(worker, listener);
    this.#tell({ t: "start", worker, ...spec });
    if (this.#end !== undefined) queueMicrotask(() => listener.ended(this.#end!, false, true));
    return {
      send: (message) => this.#socket.send(worker, encodeFrame(message)),
      end: () => {
        this.#forget(worker);
        this.#tell({ t: "end", worker });
      },
      killHost: (reason) => this.kill(reason, [worker]),
      silence: () => this.#silenceOf(worker),
    };
  }

  #silenceOf(worker: number): number {
    const silent = this.#silent.get(worker);
    return silent === undefined ? 0 : silent.milliseconds + performance.now() - silent.at;
  }

  #tell(message: ToHost): void {
    this.#socket.send(0, encodeFrame(message));
  }

  /**
   * Ends it at once.
   *
   * @param reason Why, in words.
   * @param culprits The workers that are to blame; none when that cannot be told.
   */
  kill(reason: string, culprits: readonly number[] = []): void {
    this.#finish(reason, culprits);
  }

  #finish(reason: string, culprits: readonly number[] = []): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    this.#monitor?.stop();
    this.#socket?.close();
    this.#signal();
    this.#options.ended(reason);
    const workers = [...this.#workers];
    this.#workers.clear();
    for (const [worker, { ended }] of workers) {
      ended(reason, culprits.length === 0 || culprits.includes(worker), true);
    }
  }

  #signal(): void {
    try {
      // Its group: what it may have started goes with it.
      if (Deno.build.os === "windows") this.#child.kill("SIGKILL");
      else process.kill(-this.pid, "SIGKILL");
    } catch {
      // Gone already.
    }
  }

  /** Makes room for more workers. */
  async resize(workers: number): Promise<void> {
    const { descriptors, bytes } = limitsFor(workers, this.#options.limits);
    const args = ["--pid", String(this.pid), `--nofile=${descriptors}:`, `--data=${bytes}:`];
    // Without the program (it is Linux's) the limits are those of the start.
    await new Deno.Command("prlimit", { args, stdout: "null", stderr: "null" }).output().catch(() => {});
  }

  /** Lets it end: there is nothing in its hands any more. */
  async close(): Promise<void> {
    if (this.#end === undefined) {
      this.#end = "it was closed";
      this.#monitor.stop();
      this.#workers.clear();
      this.#socket.close();
      await within(END_PATIENCE, this.#child.status);
      this.#signal();
    }
    await this.#child.status;
  }
}

function limitsFor(workers: number, { memoryMb }: HostLimits): { descriptors: number; bytes: number } {
  return {
    descriptors: DESCRIPTORS + workers * DESCRIPTORS_PER_WORKER,
    bytes: (RESERVED + memoryMb + workers * RESERVED_PER_WORKER) * 1024 * 1024,
  };
}

function spawn(
  { flags, env, workers, limits }: HostOptions,
  address: string | number,
): Deno.ChildProcess {
  const entry = new URL("./host.ts", import.meta.url).href;
  const { flags: own, lock } = resolution(entry);
  const args = [
    "run",
    ...own,
    // What may be loaded is decided by now: a host neither changes a lock file nor makes one.
    lock === undefined ? "--no-lock" : "--frozen",
    "--no-prompt",
    "--cached-only",
    "--no-check",
    "--unstable-worker-options",
    `--v8-flags=--max-old-space-size=${limits.heapMb}`,
    ...flags(address),
    entry,
  ];
  const options = {
    clearEnv: true,
    env: { ...ownEnvironment(), ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  } as const;
  if (Deno.build.os === "windows") return new Deno.Command(Deno.execPath(), { args, ...options }).spawn();
  const { descriptors, bytes } = limitsFor(workers, limits);
  return new Deno.Command("/bin/sh", {
    args: ["-c", LIMITED, "host", String(descriptors), String(bytes / 1024), Deno.execPath(), ...args],
    ...options,
  }).spawn();
}

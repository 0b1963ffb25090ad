import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { textOf } from "../messages/thrown.ts";
import { within } from "../lib/within.ts";
import { Door, newSecret, type Visitor } from "./door.ts";
import { decodeFrame, encodeFrame, type FrameSocket } from "./frames.ts";
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
import { withSocket } from "./permissions.ts";
import { ProcessMonitor } from "./process_monitor.ts";

/** How long a host may take to connect, in milliseconds. */
const CONNECT_PATIENCE = 20_000;

/** Most messages a worker may send per second (reads and log lines). */
const MOST_FRAMES = 50_000;

/** The longest frame of a log line, in bytes. */
const LONGEST_LOG = 256 << 10;

/** How long a host may take to exit on its own, in milliseconds. */
const END_PATIENCE = 500;

/** File descriptors of a host in addition to those of its workers. */
/** What V8 prints last. */
const OUT_OF_HEAP = /Reached heap limit|JavaScript heap out of memory|Fatal JavaScript out of memory/;
const DESCRIPTORS = 256;
const DESCRIPTORS_PER_WORKER = 24;

/**
 * Writable memory counted for a process and for each worker before any code runs, in MiB: address space that V8
 * reserves for code, mostly unused.
 */
const RESERVED = 1_280;
const RESERVED_PER_WORKER = 576;

/** Resource limits of a host. */
export interface HostLimits {
  /** The heap of each of its workers, in MiB. */
  readonly heapMb: number;
  /** Memory that its workers may use beyond their heaps, in total, in MiB. */
  readonly memoryMb: number;
}

/** Options for starting a host. */
export interface HostOptions {
  /** Returns the permission flags of its process, given where the engine listens. */
  readonly flags: (address: string | number) => string[];
  /** The environment variables granted to its groups. */
  readonly env: Readonly<Record<string, string>>;
  /** How many workers it will have. */
  readonly workers: number;
  /** Limits. */
  readonly limits: HostLimits;
  /** Returns the accumulated busy time of its workers, in milliseconds. */
  readonly work: () => number;
  /** Called when it has ended, before its workers' listeners are. */
  readonly ended: (reason: string) => void;
  /** Called with each line of its stdout and stderr. */
  readonly printed: (line: string) => void;
  /** Called with the number of lines dropped. */
  readonly silenced: (lines: number) => void;
}

/** Start parameters of a worker. */
export interface WorkerSpec {
  /** Its name. */
  readonly name: string;
  /** Its permissions. */
  readonly permissions: Deno.PermissionOptionsObject;
  /** The environment variables it was granted. */
  readonly env: Readonly<Record<string, string>>;
  /** The domain's module: a URL. */
  readonly module: string;
}

/** Receives what happens to a worker. */
export interface WorkerListener {
  /** Called with each message; only its shape has been checked. */
  readonly message: (message: FromWorker, bytes: number) => void;
  /** Called after it was ended for violating the protocol. */
  readonly violation: (what: string) => void;
  /** Called when it or its host has ended: why, whether it is a suspect, and which of the two ended. */
  readonly ended: (reason: string, isSuspect: boolean, isHost: boolean) => void;
}

/** A worker in a host. */
export interface HostedWorker {
  /** Sends it a message. */
  send(message: ToWorker): void;
  /** Ends it; its listener is no longer called. */
  end(): void;
  /** Kills its host: the worker cannot be stopped otherwise or cannot be trusted. */
  killHost(reason: string): void;
  /** Time since its event loop was last known to run, in milliseconds. */
  silence(): number;
  /** Whether it has ended; messages are no longer delivered. */
  hasEnded(): boolean;
  /** The number of bytes it has not read yet. */
  waiting(): number;
}

/** A started worker, with its connection once established. */
interface Started {
  readonly worker: number;
  readonly secret: string;
  readonly listener: WorkerListener;
  socket: FrameSocket | undefined;
  readonly unsent: Uint8Array[];
  /** When its event loop was last known to run. */
  heardAt: number;
  /** The number of frames sent since the start of the current second. */
  since: number;
  frames: number;
}

/** The environment variables that Deno itself needs. */
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
 * Process limits, where the system supports them: file descriptors; writable memory (allocations beyond it fail, which
 * a handler survives); SIGKILL when the engine dies, even if the process is stopped.
 */
const LIMITED = `ulimit -S -n "$1" 2>/dev/null; ulimit -S -d "$2" 2>/dev/null; ulimit -c 0 2>/dev/null; shift 2
command -v setpriv >/dev/null 2>&1 && exec setpriv --pdeathsig KILL --no-new-privs -- "$@"
exec "$@"`;

/** What to do about an error of the system. */
function adviceOn(error: unknown): string {
  return /Argument list too long/.test(textOf(error))
    ? "; there are too many files next to the domain's module, all of which handlers may read: move the module to a folder of its own"
    : "";
}

/** The engine's view of a process that runs domain code. */
export class HostProcess {
  #options: HostOptions;
  #child: Deno.ChildProcess;
  #door: Door;
  #socket: FrameSocket | undefined;
  #monitor: ProcessMonitor | undefined;
  #workers = new Map<number, Started>();
  #lastWorker = 0;
  #aliveAt = performance.now();
  /** Why it has ended. */
  #end: string | undefined;
  /** What it printed about its own end. */
  #fatal: string | undefined;

  private constructor(options: HostOptions, door: Door) {
    this.#options = options;
    this.#door = door;
    this.#child = spawn(options, door.address);
  }

  /** Whether it has ended. */
  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** The process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /**
   * Starts a host.
   *
   * @throws {Error} If it cannot be started or does not connect; the message includes its output.
   */
  static async start(options: HostOptions): Promise<HostProcess> {
    const door = await Door.open();
    const said: string[] = [];
    let host: HostProcess | undefined;
    try {
      host = new HostProcess(options, door);
      host.#readOutput(said);
      const secret = newSecret();
      const entered = door.expect(secret);
      const greeting: HostGreeting = {
        address: door.address,
        secret,
        worker: new URL("./worker.ts", import.meta.url).href,
      };
      const writer = host.#child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(JSON.stringify(greeting))).catch(() => {});
      await writer.close().catch(() => {});
      const gone = host.#child.status.then(({ code, signal }) => {
        throw new Error(`it ended with ${signal ?? `code ${code}`}`);
      });
      gone.catch(() => {});
      const visitor = await within(CONNECT_PATIENCE, Promise.race([entered, gone]));
      if (visitor === undefined) throw new Error(`it did not connect within ${CONNECT_PATIENCE / 1000} s`);
      host.#begin(visitor);
      return host;
    } catch (error) {
      if (host) host.#signal();
      await door.close();
      throw new Error(
        `Cannot start a host for domain code: ${textOf(error)}${adviceOn(error)}${
          said.length > 0 ? `\n${said.join("\n")}` : ""
        }`,
      );
    }
  }

  #begin({ socket, listen }: Visitor): void {
    this.#socket = socket;
    this.#aliveAt = performance.now();
    const ended = this.#child.status.then(({ code, signal }) =>
      this.#finish(this.#fatal ?? (signal ? `it was ended by ${signal}` : `it ended with code ${code}`))
    );
    listen(
      (payload) => this.#takeOwn(payload),
      async (error) => {
        if (error !== undefined) return this.#finish(`it sent malformed data (${textOf(error)})`);
        // Most often because it ends: that says more.
        await within(END_PATIENCE, ended);
        this.#finish("it closed its connection");
      },
    );
    this.#monitor = new ProcessMonitor({
      pid: this.pid,
      work: this.#options.work,
      heardAt: () => this.#aliveAt,
      kill: (reason) => this.kill(reason),
    });
  }

  #readOutput(said: string[]): void {
    const { printed, silenced } = this.#options;
    const line = (text: string): void => {
      if (said.length < 20) said.push(text);
      if (OUT_OF_HEAP.test(text)) {
        this.#fatal = `a worker needed more heap than max_heap_mb = ${this.#options.limits.heapMb}`;
      }
      printed(text);
    };
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      void new LineReader(line, silenced).read(stream);
    }
  }

  #takeOwn(payload: Uint8Array): void {
    let message: FromHost;
    try {
      message = fromHostSchema.parse(decodeFrame(payload));
    } catch {
      return this.kill("it sent an invalid message");
    }
    this.#aliveAt = performance.now();
    if (message.t === "alive") return;
    const started = this.#workers.get(message.worker);
    if (!started) return;
    this.#endWorker(started);
    started.listener.ended(message.message, true, false);
  }

  #take(started: Started, payload: Uint8Array): void {
    const { listener } = started;
    started.heardAt = performance.now();
    if (started.heardAt - started.since > 1_000) [started.since, started.frames] = [started.heardAt, 0];
    if (++started.frames > MOST_FRAMES) {
      return this.#violated(started, "it exceeded the rate limit for messages to the engine");
    }
    let message: unknown;
    try {
      message = decodeFrame(payload);
    } catch {
      return this.#violated(started, "it sent data that is not JSON");
    }
    const checked = fromWorkerSchema.safeParse(message);
    if (!checked.success) {
      const [issue] = checked.error.issues;
      const what = `${issue.path.join(".")}: ${issue.message}`;
      return this.#violated(started, `it sent an invalid message (${what})`);
    }
    if (checked.data.t === "log" && payload.length > LONGEST_LOG) {
      return this.#violated(started, "it sent a log line that is too long");
    }
    listener.message(checked.data, payload.length);
  }

  /** Ends a worker before reporting its violation; anything else it has sent is ignored. */
  #violated(started: Started, what: string): void {
    this.#endWorker(started);
    started.listener.violation(what);
  }

  #endWorker(started: Started): void {
    if (this.#workers.get(started.worker) !== started) return;
    this.#workers.delete(started.worker);
    this.#door.forget(started.secret);
    started.socket?.close();
    this.#tell({ t: "end", worker: started.worker });
  }

  /**
   * Starts a worker.
   *
   * @param spec Its permissions and module.
   * @param listener Receives what happens to it.
   */
  start(spec: WorkerSpec, listener: WorkerListener): HostedWorker {
    const worker = ++this.#lastWorker;
    const secret = newSecret();
    const started: Started = {
      worker,
      secret,
      listener,
      socket: undefined,
      unsent: [],
      heardAt: performance.now(),
      since: 0,
      frames: 0,
    };
    this.#workers.set(worker, started);
    void this.#door.expect(secret).then(({ socket, listen }) => {
      if (this.#workers.get(worker) !== started) return socket.close();
      started.socket = socket;
      for (const payload of started.unsent.splice(0)) socket.send(payload);
      listen((payload) => {
        if (this.#workers.get(worker) === started) this.#take(started, payload);
      }, (error) => {
        // The host's main thread reports the end of a worker; only an invalid frame is a violation.
        if (error !== undefined && this.#workers.get(worker) === started) {
          this.#violated(started, "it sent malformed data");
        }
      });
    });
    this.#tell({ t: "start", worker, ...spec, permissions: withSocket(spec.permissions, this.#door.address), secret });
    if (this.#end !== undefined) queueMicrotask(() => listener.ended(this.#end!, false, true));
    return {
      send: (message) => {
        const payload = encodeFrame(message);
        if (started.socket) started.socket.send(payload);
        else started.unsent.push(payload);
      },
      end: () => this.#endWorker(started),
      hasEnded: () => this.#workers.get(worker) !== started,
      waiting: () => started.socket?.waiting ?? 0,
      killHost: (reason) => this.kill(reason, [worker]),
      silence: () => performance.now() - started.heardAt,
    };
  }

  #tell(message: ToHost): void {
    this.#socket?.send(encodeFrame(message));
  }

  /** Kills it.
   *
   * @param reason The reason, for the log.
   * @param culprits The workers that caused it; none if unknown.
   */
  kill(reason: string, culprits: readonly number[] = []): void {
    this.#finish(reason, culprits);
  }

  #finish(reason: string, culprits: readonly number[] = []): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    const workers = this.#letGo();
    this.#signal();
    this.#options.ended(reason);
    for (const [worker, { listener }] of workers) {
      listener.ended(reason, culprits.length === 0 || culprits.includes(worker), true);
    }
  }

  /** Closes all connections and returns the workers. */
  #letGo(): [number, Started][] {
    const workers = [...this.#workers];
    this.#workers.clear();
    this.#monitor?.stop();
    this.#socket?.close();
    for (const [, { socket }] of workers) socket?.close();
    void this.#door.close();
    return workers;
  }

  #signal(): void {
    try {
      // Kill the process group, including any children.
      if (Deno.build.os === "windows") this.#child.kill("SIGKILL");
      else process.kill(-this.pid, "SIGKILL");
    } catch {
      // Already exited.
    }
  }

  /** Raises the limits to fit more workers. */
  async resize(workers: number): Promise<void> {
    const { descriptors, bytes } = limitsFor(workers, this.#options.limits);
    const args = ["--pid", String(this.pid), `--nofile=${descriptors}:`, `--data=${bytes}:`];
    // Without prlimit (Linux only), the initial limits stay.
    await new Deno.Command("prlimit", { args, stdout: "null", stderr: "null" }).output().catch(() => {});
  }

  /** Closes it when it is idle. */
  async close(): Promise<void> {
    if (this.#end === undefined) {
      this.#end = "it was closed";
      for (const [, { listener }] of this.#letGo()) listener.ended(this.#end, false, true);
      await within(END_PATIENCE, this.#child.status);
      this.#signal();
    }
    await this.#child.status;
  }
}

function limitsFor(workers: number, { heapMb, memoryMb }: HostLimits): { descriptors: number; bytes: number } {
  return {
    descriptors: DESCRIPTORS + workers * DESCRIPTORS_PER_WORKER,
    bytes: (RESERVED + memoryMb + heapMb + workers * RESERVED_PER_WORKER) * 1024 * 1024,
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
    // A host must neither change nor create a lock file.
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

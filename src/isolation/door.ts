import { join } from "node:path";
import { tmpdir } from "node:os";
import { decodeFrame, FrameSocket } from "./frames.ts";
import { pidNamespace, startOf } from "../lib/process.ts";
import { helloSchema } from "./protocol.ts";

/** How long a new connection may take to authenticate, in milliseconds. */
const PATIENCE = 5_000;

/** What the names of folders with sockets begin with. */
const PREFIX = "annals-host-";

/** Removes the folders of engines that were killed: nobody else does. */
export async function removeStaleFolders(): Promise<void> {
  const namespace = pidNamespace();
  for await (const { name, isDirectory } of Deno.readDir(tmpdir())) {
    const [, its, pid, start] = /^annals-host-(\d*)\.(\d+)\.(\d*)-/.exec(name) ?? [];
    if (!isDirectory || its !== namespace || startOf(Number(pid)) === start) continue;
    // Somebody else's, or being removed by another engine right now.
    await Deno.remove(join(tmpdir(), name), { recursive: true }).catch(() => {});
  }
}

/** Whoever has said what it was told to. */
export interface Visitor {
  /** Its connection. */
  readonly socket: FrameSocket;
  /** Receives further frames, and the end of the connection, with an error if an invalid frame was received. */
  readonly listen: (take: (payload: Uint8Array<ArrayBuffer>) => void, gone: (error?: unknown) => void) => void;
}

/** Generates an unguessable secret. */
export function newSecret(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The endpoint where a host and its workers connect to the engine. Each authenticates with a one-time secret. */
export class Door {
  /** The path of a Unix socket in a folder private to this user, or a local port on systems without Unix sockets. */
  readonly address: string | number;
  #folder: string | null;
  #listener: Deno.Listener;
  #expected = new Map<string, (visitor: Visitor) => void>();
  #closed: Promise<void> | undefined;

  private constructor(folder: string | null, listener: Deno.Listener) {
    this.#folder = folder;
    this.#listener = listener;
    this.address = folder === null ? (listener.addr as Deno.NetAddr).port : join(folder, "engine");
    void this.#accept();
  }

  /** Opens an endpoint. */
  static async open(): Promise<Door> {
    if (Deno.build.os === "windows") return new Door(null, Deno.listen({ hostname: "127.0.0.1", port: 0 }));
    const prefix = `${PREFIX}${pidNamespace()}.${Deno.pid}.${startOf(Deno.pid) ?? ""}-`;
    const folder = await Deno.makeTempDir({ prefix, dir: tmpdir() });
    await Deno.chmod(folder, 0o700);
    try {
      return new Door(folder, Deno.listen({ transport: "unix", path: join(folder, "engine") }));
    } catch (error) {
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  /** Resolves when a peer authenticates with the secret. */
  expect(secret: string): Promise<Visitor> {
    return new Promise((resolve) => this.#expected.set(secret, resolve));
  }

  /** Revokes a secret. */
  forget(secret: string): void {
    this.#expected.delete(secret);
  }

  async #accept(): Promise<void> {
    try {
      for await (const connection of this.#listener) this.#greet(new FrameSocket(connection));
    } catch {
      // Closed.
    }
  }

  #greet(socket: FrameSocket): void {
    let take: ((payload: Uint8Array<ArrayBuffer>) => void) | undefined;
    let gone = (_error?: unknown): void => {};
    const patience = setTimeout(() => socket.close(), PATIENCE);
    const first = (payload: Uint8Array<ArrayBuffer>): void => {
      clearTimeout(patience);
      const hello = helloSchema.safeParse(decodeFrame(payload));
      const resolve = hello.success ? this.#expected.get(hello.data.secret) : undefined;
      if (!hello.success || !resolve) return socket.close();
      this.#expected.delete(hello.data.secret);
      const early: Uint8Array<ArrayBuffer>[] = [];
      take = (payload) => void early.push(payload);
      resolve({
        socket,
        listen: (next, left) => {
          for (const payload of early.splice(0)) next(payload);
          [take, gone] = [next, left];
        },
      });
    };
    socket.read((payload) => take ? take(payload) : first(payload)).then(() => gone(), (error) => gone(error ?? null))
      .finally(() => {
        clearTimeout(patience);
        socket.close();
      }).catch(() => {});
  }

  /** Stops accepting connections; existing ones stay open. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#listener.close();
    this.#expected.clear();
    if (this.#folder !== null) await Deno.remove(this.#folder, { recursive: true }).catch(() => {});
  }
}

/**
 * What Deno and Node have no common API for, or only one that Deno is much slower at. A client runs on Deno, Node and Bun.
 *
 * @module
 */
import { statSync, watch } from "node:fs";
import type { Socket } from "node:net";
import process from "node:process";

/** Deno's own API; `undefined` on Node and Bun. */
const deno = (globalThis as { readonly Deno?: typeof Deno }).Deno;

/** Whether an error says that there is no such file. */
export function isMissing(error: unknown): boolean {
  return (error as { readonly code?: unknown } | null)?.code === "ENOENT";
}

/**
 * The inode of a file.
 *
 * @param path The file.
 * @throws An error that {@linkcode isMissing} recognises, if there is none.
 */
export function inodeOf(path: string): number | null {
  // Each commit asks for it, and node:fs takes five times as long on Deno.
  return (deno ? deno.statSync(path) : statSync(path)).ino;
}

/** Node's permissions; `undefined` unless it was started with --permission, and on Bun. */
interface NodePermission {
  has(scope: "fs.read" | "fs.write", path: string): boolean;
}

/**
 * Whether this process was permitted to use a file; asks nobody on a terminal.
 *
 * @param access What for.
 * @param path The file.
 */
export function isPermitted(access: "read" | "write", path: string): boolean {
  if (deno) return deno.permissions.querySync({ name: access, path }).state === "granted";
  const { permission } = process as { readonly permission?: NodePermission };
  return permission?.has(`fs.${access}`, path) ?? true;
}

/**
 * Calls back whenever a file is touched.
 *
 * @param path The file.
 * @param touched Called for each notification.
 * @returns A function that ends it.
 * @throws If there is no such file, or the system has no more watches.
 */
export function watchFile(path: string, touched: () => void): () => void {
  if (!deno) {
    const watcher = watch(path, { persistent: false }, touched);
    // From then on it is silent, which its user finds out.
    watcher.on("error", () => watcher.close());
    return () => watcher.close();
  }
  const watcher = deno.watchFs(path);
  let isWatching = true;
  void (async () => {
    for await (const _event of watcher) {
      if (!isWatching) return;
      touched();
    }
  })();
  return () => {
    isWatching = false;
    watcher.close();
  };
}

/** A connection to a program of the same machine. */
export interface LocalSocket {
  /** What the other end sends. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Sends bytes; resolves to how many of them. */
  write(bytes: Uint8Array): Promise<number>;
  /** Closes it. */
  close(): void;
}

/**
 * Connects to a Unix socket.
 *
 * @param path The socket.
 * @throws If nothing listens there.
 */
export async function connectSocket(path: string): Promise<LocalSocket> {
  if (deno) return await deno.connect({ transport: "unix", path });
  const [{ connect }, { Duplex }] = await Promise.all([import("node:net"), import("node:stream")]);
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opened = connect(path);
    opened.once("error", reject);
    opened.once("connect", () => {
      opened.off("error", reject);
      resolve(opened);
    });
  });
  const { readable, writable } = Duplex.toWeb(socket) as unknown as TransformStream<Uint8Array, Uint8Array>;
  const writer = writable.getWriter();
  return {
    readable,
    write: async (bytes) => {
      await writer.write(bytes);
      return bytes.length;
    },
    close: () => void socket.destroy(),
  };
}

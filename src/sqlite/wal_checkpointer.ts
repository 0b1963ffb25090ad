import { dirname } from "node:path";
import { sleep } from "../lib/sleep.ts";

/** For connections beside a checkpointer: after how many pages they do it themselves, should it fall behind. */
export const CHECKPOINTED = 32_000;

/** How often the checkpointer looks, in milliseconds. */
const INTERVAL = 500;

/** The same while little is written. */
const CALM = 2_000;

/** With so many pages in the write-ahead log, writers are stopped for a moment so that it can begin anew. */
const RESTART = 4_000;

/**
 * Starts a thread that copies the write-ahead logs of SQLite files into the files. It takes tens of milliseconds of
 * waiting for the disk, which would otherwise fall on whoever commits next: p99 latency halves.
 *
 * @param files The files.
 * @returns Ends the thread, with its files closed.
 */
export function startWalCheckpointer(files: readonly string[]): () => Promise<void> {
  if (files.length === 0) return () => Promise.resolve();
  const folders = [...new Set(files.map((file) => dirname(file)))];
  const worker = new Worker(new URL("./wal_checkpointer_worker.ts", import.meta.url), {
    type: "module",
    name: "wal checkpointer",
    deno: {
      permissions: { read: folders, write: folders, net: false, env: false, run: false, ffi: false, sys: false },
    },
  });
  // Without this thread connections do it later and by themselves: nothing is lost.
  worker.onerror = (event) => event.preventDefault();
  worker.postMessage({ files, interval: INTERVAL, calm: CALM, restart: RESTART });
  return async () => {
    const stopped = new Promise<void>((resolve) => worker.onmessage = () => resolve());
    worker.postMessage("stop");
    await Promise.race([stopped, sleep(1_000)]);
    worker.terminate();
  };
}

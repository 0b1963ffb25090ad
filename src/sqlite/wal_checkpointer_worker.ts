/**
 * The thread of `wal_checkpointer.ts`.
 *
 * @module
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";

interface File {
  readonly db: DatabaseSync;
  readonly version: StatementSync;
  seen: unknown;
  pages: number;
}

let files: File[] = [];

/** Fewer new pages than this since the last round count as idle. */
const FEW = 100;

/** Runs a WAL checkpoint and resets a WAL that has grown long. Returns whether there was much to copy. */
function checkpoint(file: File, restart: number): boolean {
  const version = file.version.get()?.data_version;
  if (version === file.seen) return false;
  file.seen = version;
  try {
    const { log } = file.db.prepare("pragma wal_checkpoint(passive)").get() as unknown as { log: number };
    const busy = Math.abs(log - file.pages) > FEW;
    file.pages = log;
    if (log > restart) file.db.prepare("pragma wal_checkpoint(restart)").get();
    return busy;
  } catch {
    // Locked or out of space: the next round tries again, and writers get the error.
    return false;
  }
}

(globalThis as unknown as Worker).onmessage = (
  { data }: MessageEvent<{ files: string[]; interval: number; calm: number; restart: number } | "stop">,
) => {
  if (data === "stop") {
    for (const { db } of files.splice(0)) db.close();
    return (globalThis as unknown as Worker).postMessage("stopped");
  }
  files = data.files.map((path) => {
    const db = new DatabaseSync(path);
    db.exec("pragma busy_timeout = 50; pragma wal_autocheckpoint = 0");
    return { db, version: db.prepare("pragma data_version"), seen: undefined, pages: 0 };
  });
  const round = (): void => {
    const busy = files.map((file) => checkpoint(file, data.restart)).includes(true);
    setTimeout(round, busy ? data.interval : data.calm);
  };
  round();
};

/**
 * The janitor's thread: see `janitor.ts`.
 *
 * @module
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";

interface File {
  readonly db: DatabaseSync;
  readonly version: StatementSync;
  seen: unknown;
}

let files: File[] = [];

/** Copies what is new; makes the log begin anew when it has grown long. */
function tidy(file: File, restart: number): void {
  const version = file.version.get()?.data_version;
  if (version === file.seen) return;
  file.seen = version;
  try {
    const result = file.db.prepare("pragma wal_checkpoint(passive)").get() as { log: number } | undefined;
    if ((result?.log ?? 0) > restart) file.db.prepare("pragma wal_checkpoint(restart)").get();
  } catch {
    // Locked, or out of space: the next round tries again, and whoever writes is told.
  }
}

(globalThis as unknown as Worker).onmessage = (
  { data }: MessageEvent<{ files: string[]; interval: number; restart: number }>,
) => {
  files = data.files.map((path) => {
    const db = new DatabaseSync(path);
    db.exec("pragma busy_timeout = 50; pragma wal_autocheckpoint = 0");
    return { db, version: db.prepare("pragma data_version"), seen: undefined };
  });
  setInterval(() => {
    for (const file of files) tidy(file, data.restart);
  }, data.interval);
};

import type { Schema } from "./schema.ts";

const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

/** Errors of `exec()` and of opening have SQLite's text but not its code. */
const CODES: Readonly<Record<string, number>> = {
  "database is locked": SQLITE_BUSY,
  "database table is locked": SQLITE_LOCKED,
  "attempt to write a readonly database": SQLITE_READONLY,
  "disk I/O error": SQLITE_IOERR,
  "database disk image is malformed": SQLITE_CORRUPT,
  "database or disk is full": SQLITE_FULL,
  "unable to open database file": SQLITE_CANTOPEN,
  "file is not a database": SQLITE_NOTADB,
};

/** Returns the primary result code of an error of `node:sqlite`; `undefined` for other errors. */
function resultCode(error: unknown): number | undefined {
  const { errcode, code, message = "" } = (error ?? {}) as { errcode?: unknown; code?: unknown; message?: string };
  if (typeof errcode === "number") return errcode & 0xff;
  return code === "ERR_SQLITE_ERROR" ? CODES[message.split(":")[0]] : undefined;
}

/** Whether the error comes from the file system rather than SQLite: the folder is created before the file. */
function isAboutFolder(error: unknown): boolean {
  return /^(EEXIST|ENOENT|ENOTDIR|EACCES|EPERM|EROFS|ENAMETOOLONG)$/.test((error as { code?: string })?.code ?? "");
}

/** Whether another connection holds the lock. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code === SQLITE_BUSY || code === SQLITE_LOCKED;
}

/**
 * Explains an error of SQLite and what to do about it.
 *
 * @param error The error.
 * @param doing What was being done, like `write to`.
 * @param path The file.
 * @param schema Creates the error.
 * @returns The explained error, or the error itself if it does not come from SQLite.
 */
export function explain(error: unknown, doing: string, path: string, { unavailable }: Schema): unknown {
  const text = error instanceof Error ? error.message : String(error);
  const start = `Cannot ${doing} SQLite file "${path}": `;
  switch (resultCode(error)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return unavailable(
        `${start}it stayed locked by another process; find the process with an open transaction (fuser "${path}")`,
        "locked",
        true,
      );
    case SQLITE_FULL:
      return unavailable(`${start}the disk is full; free space, nothing was written`, "full", true);
    case SQLITE_READONLY:
      return unavailable(
        `${start}it is read-only for this user; check its owner and mode`,
        "read-only",
        false,
      );
    case SQLITE_IOERR:
      return unavailable(
        `${start}the disk failed (${text}); check space, quota and hardware`,
        "failed",
        true,
      );
    case SQLITE_CORRUPT:
      return unavailable(
        `${start}it is damaged (${text}); keep a copy, then restore a backup or try "sqlite3 '${path}' .recover"`,
        "damaged",
        false,
      );
    case SQLITE_CANTOPEN:
      return unavailable(
        `${start}it cannot be opened; check that the folder exists and is writable`,
        "missing",
        false,
      );
    case SQLITE_NOTADB:
      return unavailable(
        `${start}it is not an SQLite database; name another file, or move this one away`,
        "foreign",
        false,
      );
    default:
      if (doing === "open" && (error as { code?: unknown } | null)?.code === "ERR_SQLITE_ERROR") {
        return unavailable(`${start}it cannot be used (${text}); name another file`, "foreign", false);
      }
      return isAboutFolder(error)
        ? unavailable(`${start}its folder cannot be created (${text}); name another file`, "missing", false)
        : error;
  }
}

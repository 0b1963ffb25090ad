import {
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  realpathSync,
  type Stats,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { Notifier } from "../lib/notifier.ts";
import { inodeOf, isMissing, isPermitted } from "../lib/platform.ts";
import { explain, isBusy } from "./errors.ts";
import type { Schema } from "./schema.ts";
import { FileWatcher } from "./watcher.ts";

/** Settings of {@linkcode SqliteDatabase}. */
export interface SqliteOptions {
  /** The file, or `:memory:`. Its folder is created if missing. */
  readonly path: string;
  /**
   * `full`: a commit is on disk when it returns. `normal`: faster, but the last commits may be lost in a power failure
   * (never in a process crash). @default {"full"}
   */
  readonly synchronous?: "full" | "normal";
  /** How long to wait for a lock, in milliseconds. @default {10_000} */
  readonly lockTimeout?: number;
  /**
   * The polling interval for writes of other processes while there are waiters and very frequent writes, in milliseconds;
   * otherwise the file is watched. 0: never, the caller uses {@linkcode SqliteDatabase.wake}. @default {2}
   */
  readonly pollInterval?: number;
  /** Whether to create the file if it does not exist. @default {true} */
  readonly create?: boolean;
  /**
   * The number of WAL pages after which a commit runs a WAL checkpoint, which takes tens of milliseconds; set high if a
   * checkpointer runs. @default {1000}
   */
  readonly autoCheckpoint?: number;
  /** The maximum size of the file, in pages of 4 KiB; writes beyond it fail as on a full disk. @default {no bound} */
  readonly maxPages?: number;
}

/** Creates a file that only its owner can read, if there is none; SQLite gives the files beside it the same mode. */
function createFor(path: string): void {
  create(path, 0o600);
}

/** Creates a file beside the database, which whoever may use that can use as well. */
function createBeside(path: string, { mode, uid, gid }: Stats): void {
  if (!create(path, mode & 0o666) || process.platform === "win32") return;
  try {
    // An operator's command may be run as another user than the server.
    if (uid !== process.getuid!() || gid !== process.getgid!()) chownSync(path, uid, gid);
  } catch {
    // Only root may.
  }
}

/** Creates a file; returns whether there was none. */
function create(path: string, mode: number): boolean {
  try {
    closeSync(openSync(path, "wx", mode));
    return true;
  } catch {
    // It exists, or SQLite will say what is wrong.
    return false;
  }
}

/** The file that is touched after commits: beside the database itself, like SQLite's own, wherever a link to that is. */
function notifyFileOf(path: string): string {
  try {
    return `${realpathSync(path)}-notify`;
  } catch {
    return `${path}-notify`;
  }
}

/**
 * Returns how many migrations a file lacks, without changing it; `null` if it is no file of this kind, or cannot be opened by this
 * user without changing it.
 */
export function pendingMigrations(path: string, { applicationId, migrations }: Schema): number | null {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true });
    const one = (sql: string): unknown => Object.values(db!.prepare(sql).get() ?? {})[0];
    if (one("pragma application_id") !== applicationId) return null;
    return migrations.length - Number(one("select max(version) from annals_migrations"));
  } catch {
    return null;
  } finally {
    db?.close();
  }
}

/** A connection to an Annals file, checked and migrated, with short transactions and change notification. */
export class SqliteDatabase {
  /** The file. */
  readonly path: string;
  #db: DatabaseSync;
  #schema: Schema;
  #lockTimeout: number;
  #signal = new Notifier();
  #watcher: FileWatcher | undefined;
  #dataVersion: StatementSync;
  #begin: StatementSync;
  #commit: StatementSync;
  #rollback: StatementSync;
  #seenVersion: unknown;
  /** The inode of the opened file; `null` in memory. */
  #inode: number | null = null;
  #closed = false;
  /** The file that is touched after each commit, if this process may. */
  #touched = "";
  #mayTouch = false;

  /**
   * Opens the file.
   *
   * @param options The file and its settings.
   * @param schema Its tables.
   * @throws {AnnalsError} Of the class that the schema creates, if the file is foreign, newer, damaged, locked or
   * cannot be opened.
   */
  constructor(options: SqliteOptions, schema: Schema) {
    const { path, synchronous = "full", lockTimeout = 10_000, pollInterval = 2, create = true, maxPages } = options;
    const { autoCheckpoint = 1_000 } = options;
    this.path = path;
    this.#schema = schema;
    this.#lockTimeout = lockTimeout;
    const settings =
      `pragma journal_mode = wal; pragma synchronous = ${synchronous}; pragma cache_size = -32000; pragma wal_autocheckpoint = ${autoCheckpoint}`;
    try {
      if (path !== ":memory:" && create) mkdirSync(dirname(path), { recursive: true });
      if (path !== ":memory:" && create) createFor(path);
      this.#db = new DatabaseSync(path, { open: false });
      this.#open(create, settings);
      // Without it, a write that fails would leave its transaction open.
      if (typeof this.#db.isTransaction !== "boolean") {
        this.#db.close();
        throw schema.unavailable(
          `Cannot use SQLite file "${path}": node:sqlite of this runtime is too old; use Node 22.16 or newer`,
          "failed",
          false,
        );
      }
      if (path !== ":memory:") {
        const file = statSync(path);
        this.#inode = inodeOf(path);
        this.#touched = notifyFileOf(path);
        this.#mayTouch = isPermitted("write", this.#touched);
        if (this.#mayTouch) createBeside(this.#touched, file);
        if (pollInterval > 0) this.#watcher = new FileWatcher(this.#touched, () => this.#look(), pollInterval);
      }
      if (maxPages !== undefined) this.#db.exec(`pragma max_page_count = ${maxPages}`);
      // From here on, wait for locks in JavaScript, because SQLite would block the event loop. For the first 2 ms,
      // which is as long as most locks last, SQLite's sleep is more precise than a timer.
      this.#db.exec("pragma busy_timeout = 2");
      this.#begin = this.#db.prepare("begin immediate");
      this.#commit = this.#db.prepare("commit");
      this.#rollback = this.#db.prepare("rollback");
      this.#dataVersion = this.#db.prepare("pragma data_version");
      this.#seenVersion = this.#dataVersion.get()?.data_version;
    } catch (error) {
      throw explain(error, "open", path, schema);
    }
  }

  /**
   * Opens the file and migrates it. When two processes make a new file at once, one of them may be told that it is locked,
   * without SQLite waiting as long as it was asked to.
   */
  #open(create: boolean, settings: string): void {
    const deadline = performance.now() + this.#lockTimeout;
    while (true) {
      if (!create) this.#checkExists();
      try {
        this.#db.open();
        this.#db.exec(`pragma busy_timeout = ${this.#lockTimeout}`);
        this.#db.exec(settings);
        this.#migrate();
        return this.#refuseTriggers();
      } catch (error) {
        // A connection that is left open keeps its locks.
        if (this.#db.isOpen) this.#db.close();
        if (!isBusy(error) || performance.now() > deadline) throw error;
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 + 10 * Math.random());
    }
  }

  #checkExists(): void {
    try {
      statSync(this.path);
    } catch (error) {
      if (!isMissing(error)) throw error;
      throw this.#schema.unavailable(
        `Cannot open SQLite file "${this.path}": there is none; start the server first, or name another file`,
        "missing",
        false,
      );
    }
  }

  #scalar(sql: string): number {
    return Number(Object.values(this.#db.prepare(sql).get() ?? {})[0]);
  }

  #migrate(): void {
    const { applicationId, migrations } = this.#schema;
    const current = migrations.length;
    const isOurs = () => this.#scalar("pragma application_id") === applicationId;
    if (isOurs() && this.#version() === current) return;
    this.#db.exec("begin immediate");
    try {
      if (!isOurs()) {
        if (this.#scalar("select count(*) from sqlite_schema") > 0) {
          throw this.#schema.unavailable(
            `Cannot use SQLite file "${this.path}": it belongs to another program or is another kind of file (unexpected tables); name another file`,
            "foreign",
            false,
          );
        }
        this.#db.exec(`pragma application_id = ${applicationId};
          create table annals_migrations (version integer primary key, name text not null, applied_at integer not null) strict`);
      }
      const version = this.#version();
      if (version > current) {
        throw this.#schema.unavailable(
          `Cannot use SQLite file "${this.path}": it is of a newer Annals (schema version ${version}, this code knows ${current}); update Annals`,
          "newer",
          false,
        );
      }
      const applied = this.#db.prepare("insert into annals_migrations values (?, ?, ?)");
      for (let v = version; v < current; v++) {
        this.#db.exec(migrations[v].sql);
        applied.run(v + 1, migrations[v].name, Date.now());
      }
      this.#db.exec("commit");
    } catch (error) {
      this.#db.exec("rollback");
      throw error;
    }
  }

  /** Checks for triggers, which would run inside every commit. */
  #refuseTriggers(): void {
    const found = this.#db.prepare(
      "select name, tbl_name as on_table from sqlite_schema where type = 'trigger' limit 1",
    ).get();
    if (!found) return;
    throw this.#schema.unavailable(
      `Cannot use SQLite file "${this.path}": it has a trigger that is not Annals' own, "${found.name}" on "${found.on_table}"; find out who created it, and drop it`,
      "foreign",
      false,
    );
  }

  #version(): number {
    return this.#scalar("select coalesce(max(version), 0) from annals_migrations");
  }

  /** Prepares and caches a statement. */
  prepare(sql: string): StatementSync {
    return this.#db.prepare(sql);
  }

  #check(): void {
    if (this.#closed) {
      throw this.#schema.unavailable(`Cannot use SQLite file "${this.path}": it was closed`, "closed", false);
    }
  }

  /** Checks that the file still exists: SQLite would keep writing to a deleted file. */
  #checkFile(): void {
    if (this.#inode === null) return;
    let inode: number | null = null;
    try {
      inode = inodeOf(this.path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    if (inode === this.#inode) return;
    throw this.#schema.unavailable(
      `Cannot write to SQLite file "${this.path}": it was ${
        inode === null ? "deleted" : "replaced"
      } while it was open; stop every process that uses it, put the right file there, and start them again`,
      "missing",
      false,
    );
  }

  /**
   * Reads.
   *
   * @param work Runs statements and returns their result.
   * @returns What `work` returned.
   * @throws {AnnalsError} Of the class that the schema creates, if the file cannot be read.
   */
  async read<T>(work: () => T): Promise<T> {
    return await this.#patiently("read from", work);
  }

  /**
   * Writes in one immediate transaction. If `work` throws, nothing is written.
   *
   * @param work Runs statements; must be synchronous.
   * @returns What `work` returned.
   * @throws {AnnalsError} Of the class that the schema creates, if the file is locked for too long, full, read-only or
   * damaged.
   */
  async write<T>(work: () => T): Promise<T> {
    const result = await this.#patiently("write to", () => {
      this.#checkFile();
      this.#begin.run();
      try {
        const result = work();
        this.#commit.run();
        return result;
      } catch (error) {
        if (this.#db.isTransaction) this.#rollback.run();
        throw error;
      }
    });
    this.#signal.notify();
    this.#touch();
    return result;
  }

  /** To set its times, one has to own the file; to write to it, one need not. */
  #write(): void {
    try {
      const file = openSync(this.#touched, constants.O_WRONLY);
      writeSync(file, new Uint8Array(1));
      closeSync(file);
    } catch {
      // The others look by themselves now and then.
    }
  }

  /** Tells those who watch that there is a commit to be seen. */
  #touch(): void {
    if (!this.#mayTouch) return;
    const now = Date.now() / 1000;
    try {
      utimesSync(this.#touched, now, now);
    } catch {
      this.#write();
    }
  }

  async #patiently<T>(doing: string, work: () => T): Promise<T> {
    const deadline = performance.now() + this.#lockTimeout;
    for (let tries = 0;; tries++) {
      this.#check();
      try {
        return work();
      } catch (error) {
        if (!isBusy(error) || performance.now() > deadline) throw explain(error, doing, this.path, this.#schema);
      }
      // Writers hold the lock for a millisecond or less: retry soon, with jitter.
      await new Promise((resolve) => setTimeout(resolve, Math.min(tries, 5) * Math.random()));
    }
  }

  /** Resolves when something was written, by this process or another, or after `timeout` milliseconds. */
  async changed(timeout: number, signal?: AbortSignal): Promise<void> {
    if (this.#closed) return;
    const woken = this.#signal.wait(timeout, signal);
    this.#watcher?.start();
    await woken;
    if (this.#signal.waiting === 0) this.#stopWatching();
  }

  /** Checks whether another connection has written since the last check; wakes waiters if so. */
  #look(): boolean {
    let version: unknown;
    try {
      version = this.#dataVersion.get()?.data_version;
    } catch (error) {
      // A reader is never locked out for long: the next check will succeed.
      if (!isBusy(error)) this.#signal.notify();
      return false;
    }
    if (version === this.#seenVersion) return false;
    this.#seenVersion = version;
    this.#signal.notify();
    return true;
  }

  #stopWatching(): void {
    // Keep watching for a turn: woken waiters usually wait again.
    setTimeout(() => {
      if (this.#signal.waiting === 0 || this.#closed) this.#watcher?.stop();
    }, 0);
  }

  /** Wakes waiters in {@linkcode SqliteDatabase.changed}: another connection has written. */
  wake(): void {
    this.#signal.notify();
  }

  /** Closes the connection. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watcher?.stop();
    this.#signal.notify();
    this.#db.close();
  }
}

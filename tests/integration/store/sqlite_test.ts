import { SqliteEventStore } from "@annals/annals/store/sqlite";
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { sampleAppend } from "../../../src/testing/store_suite.ts";
import { within } from "../../../src/lib/within.ts";

async function folder(): Promise<{ path: string; [Symbol.asyncDispose](): Promise<void> }> {
  const path = await Deno.makeTempDir({ prefix: "annals-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

const refusal = (reason: string, told: RegExp) => (error: any) => {
  assert.equal(error.name, "StoreUnavailableError", String(error));
  assert.equal(error.reason, reason);
  assert.match(error.message, told);
  return true;
};

Deno.test("a file that is no database is refused and left alone", async () => {
  await using dir = await folder();
  const path = `${dir.path}/notes.db`;
  const text = "these are my notes, not a database\n".repeat(100);
  await Deno.writeTextFile(path, text);
  assert.throws(() => new SqliteEventStore({ path }), refusal("foreign", /not an SQLite database; name another file/));
  assert.equal(await Deno.readTextFile(path), text);
});

Deno.test("another program's database is refused and left alone", async () => {
  await using dir = await folder();
  const path = `${dir.path}/other.db`;
  const other = new DatabaseSync(path);
  other.exec("create table mine (x)");
  other.close();
  assert.throws(() => new SqliteEventStore({ path }), refusal("foreign", /belongs to another program/));
  const again = new DatabaseSync(path);
  assert.deepEqual(again.prepare("select name from sqlite_schema").all().map((row) => row.name), ["mine"]);
  again.close();
});

Deno.test("a file of a newer Annals is refused", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  await new SqliteEventStore({ path }).close();
  const db = new DatabaseSync(path);
  db.exec("insert into annals_migrations values (99, 'of the future', 0)");
  db.close();
  assert.throws(
    () => new SqliteEventStore({ path }),
    refusal("newer", /schema version 99, this code knows \d+\); update/),
  );
});

Deno.test("a damaged file is refused, with what to do", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  const store = new SqliteEventStore({ path });
  for (let i = 0; i < 200; i++) await store.commit({ appends: [sampleAppend(`${i}`, 5)] });
  await store.close();
  const file = await Deno.open(path, { write: true });
  const { size } = await file.stat();
  await file.seek(4096, Deno.SeekMode.Start);
  await file.write(new Uint8Array(size - 4096).fill(0xa5));
  file.close();
  const read = async () => {
    const damaged = new SqliteEventStore({ path });
    try {
      await damaged.readLog();
    } finally {
      await damaged.close();
    }
  };
  await assert.rejects(read, refusal("damaged", /damaged .*restore a backup/));
});

Deno.test("a file that another process keeps locked is an error that says so, and nothing is written", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  const store = new SqliteEventStore({ path, lockTimeout: 50 });
  const other = new DatabaseSync(path);
  other.exec("begin immediate");
  await assert.rejects(store.commit({ appends: [sampleAppend("a")] }), refusal("locked", /locked by another process/));
  other.exec("rollback");
  assert.equal((await store.commit({ appends: [sampleAppend("a")] })).lastPosition, 1);
  other.close();
  await store.close();
});

Deno.test("a lock that is given back in time is waited for", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  const store = new SqliteEventStore({ path });
  const other = new DatabaseSync(path);
  other.exec("begin immediate");
  setTimeout(() => other.exec("rollback"), 30);
  assert.equal((await store.commit({ appends: [sampleAppend("a")] })).lastPosition, 1);
  other.close();
  await store.close();
});

Deno.test("a full disk is an error that says so; what was written before stays, and space makes it go on", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  const store = new SqliteEventStore({ path });
  await store.commit({ appends: [sampleAppend("a")] });
  await store.close();
  // The limit of a file's size gives the same result code as a full disk, without having to fill one.
  const limited = new SqliteEventStore({ path, maxPages: 40 });
  const big = sampleAppend("big", 1, "any", {
    messages: [{ ...sampleAppend("x").messages[0], data: JSON.stringify("x".repeat(500_000)) }],
  });
  await assert.rejects(
    limited.commit({ appends: [big] }),
    refusal("full", /the disk is full; free space, nothing was written/),
  );
  assert.equal(await limited.lastPosition(), 1);
  await limited.close();
  const roomy = new SqliteEventStore({ path });
  assert.equal((await roomy.commit({ appends: [big] })).lastPosition, 2);
  await roomy.close();
});

Deno.test("a folder that may not be written is an error that says so", async () => {
  assert.throws(
    () => new SqliteEventStore({ path: "/proc/nowhere/log.db" }),
    (error: any) => /Cannot open SQLite file|No such file|permission/i.test(error.message),
  );
  await Promise.resolve();
});

Deno.test("a file that is to be there and is not says to start the server first", async () => {
  await using dir = await folder();
  assert.throws(
    () => new SqliteEventStore({ path: `${dir.path}/log.db`, create: false }),
    refusal("missing", /there is none; start the server first/),
  );
});

Deno.test("a file is readable by its owner only, and so are those beside it", async () => {
  await using dir = await folder();
  const store = new SqliteEventStore({ path: `${dir.path}/log.db` });
  await store.commit({ appends: [sampleAppend("a")] });
  const modes = [...Deno.readDirSync(dir.path)].map(({ name }) => [
    name,
    Deno.statSync(`${dir.path}/${name}`).mode! & 0o777,
  ]);
  assert.deepEqual(modes.sort(), ["log.db", "log.db-notify", "log.db-shm", "log.db-wal"].map((name) => [name, 0o600]));
  await store.close();
});

Deno.test("several processes make the same new files at the same time", async () => {
  await using dir = await folder();
  const script = fileURLToPath(new URL("../../fixtures/open.ts", import.meta.url));
  const start = String(Date.now() + 1_500);
  const running = Array.from({ length: 4 }, () =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, dir.path, "20", start],
      stdout: "null",
      stderr: "piped",
    }).output());
  for (const { stderr } of await Promise.all(running)) assert.equal(new TextDecoder().decode(stderr), "");
});

Deno.test("several processes append to one file: no position is lost, doubled, or seen out of order", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  const store = new SqliteEventStore({ path });
  const script = fileURLToPath(new URL("../../fixtures/append.ts", import.meta.url));
  const [writers, each] = [4, 150];
  const running = Array.from({ length: writers }, (_, w) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, path, String(w), String(each)],
      stdout: "null",
      stderr: "inherit",
    }).output());
  let done = false;
  const all = Promise.all(running).then((results) => {
    done = true;
    return results;
  });
  // A reader that goes by position alone, while they write: it must miss nothing.
  const read: number[] = [];
  for (let after = 0, last = false; !last;) {
    last = done;
    await store.changed(20);
    for (const { position } of await store.readLog({ after, limit: 1_000_000 })) read.push(after = position);
  }
  assert.ok((await all).every(({ success }) => success));
  assert.deepEqual(read, Array.from({ length: writers * each * 2 }, (_, i) => i + 1));
  for (let w = 0; w < writers; w++) {
    const versions = (await store.readStream(`test-${w}`)).map((message) => message.version);
    assert.deepEqual(versions, Array.from({ length: each }, (_, i) => i));
  }
  assert.equal((await store.readStream("test-shared")).length, writers * each);
  await store.close();
});

Deno.test("a write of another process wakes those who wait within a few milliseconds", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  const [reader, writer] = [new SqliteEventStore({ path }), new SqliteEventStore({ path })];
  let woken = false;
  const waiting = reader.changed(60_000).then(() => woken = true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(woken, false);
  await writer.commit({ appends: [sampleAppend("a")] });
  await waiting;
  assert.equal(await reader.lastPosition(), 1);
  await reader.close();
  await writer.close();
});

Deno.test("a commit of another process wakes those who wait also when nothing was written for a while", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  const store = new SqliteEventStore({ path });
  const script = fileURLToPath(new URL("../../fixtures/commit_when_told.ts", import.meta.url));
  const other = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, path],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const [said, tell] = [other.stdout.getReader(), other.stdin.getWriter()];
  await said.read();
  for (let i = 1; i <= 3; i++) {
    const woken = store.changed(60_000).then(() => "woken");
    await new Promise((resolve) => setTimeout(resolve, 600));
    await tell.write(new Uint8Array(1));
    assert.equal(await within(20_000, woken), "woken");
    assert.equal(await store.lastPosition(), i);
  }
  await tell.close();
  await other.status;
  said.releaseLock();
  await other.stdout.cancel();
  await store.close();
});

Deno.test("a folder that cannot be made is an error that says so", async () => {
  await using dir = await folder();
  await Deno.writeTextFile(`${dir.path}/data`, "");
  const path = `${dir.path}/data/log.db`;
  assert.throws(
    () => new SqliteEventStore({ path }),
    refusal("missing", /folder cannot be created .*name another file/),
  );
});

Deno.test("a file that was deleted or replaced while it was open is written to no more", async () => {
  await using dir = await folder();
  const path = `${dir.path}/log.db`;
  const store = new SqliteEventStore({ path });
  await store.commit({ appends: [sampleAppend("a")] });
  await Deno.rename(path, `${dir.path}/moved.db`);
  const write = () => store.commit({ appends: [sampleAppend("a")] });
  await assert.rejects(write(), refusal("missing", /was deleted while it was open; stop every process/));
  await Deno.writeTextFile(path, "");
  await assert.rejects(write(), refusal("missing", /was replaced while it was open/));
  await Deno.rename(`${dir.path}/moved.db`, path);
  await write();
  assert.equal(await store.lastPosition(), 2);
  await store.close();
});

Deno.test("a commit touches the file that others watch once it can be seen, also through a link", async () => {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/log.db`;
  const reader = new SqliteEventStore({ path });
  await reader.commit({ appends: [sampleAppend("a", 1)] });
  Deno.symlinkSync(path, `${folder}/link.db`);
  const { utimeSync } = Deno;
  const seen: [file: string, position: Promise<number>][] = [];
  const writers = [new SqliteEventStore({ path }), new SqliteEventStore({ path: `${folder}/link.db` })];
  try {
    Deno.utimeSync = (...given) => {
      seen.push([String(given[0]), reader.lastPosition()]);
      utimeSync(...given);
    };
    for (const writer of writers) await writer.commit({ appends: [sampleAppend("a", 1)] });
    const found = await Promise.all(seen.map(async ([file, position]) => [file, await position]));
    const touched = `${Deno.realPathSync(path)}-notify`;
    assert.deepEqual(found, [[touched, 2], [touched, 3]]);
    // Where one may write to the file and does not own it.
    Deno.utimeSync = () => {
      throw new Deno.errors.PermissionDenied();
    };
    utimeSync(touched, 0, 0);
    await writers[0].commit({ appends: [sampleAppend("a", 1)] });
    assert.notEqual(Deno.statSync(touched).mtime!.getTime(), 0);
  } finally {
    Deno.utimeSync = utimeSync;
    for (const store of [reader, ...writers]) await store.close();
    Deno.removeSync(folder, { recursive: true });
  }
});

import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { DatabaseSync } from "node:sqlite";
import { sampleAppend, sampleMessage } from "../src/testing/store_suite.ts";
import { inFolder, ratioAtLeast, type Result } from "./result.ts";

const CALLERS = 50;
const SECONDS = 3;

/** The bare driver: rows per second, with a number of rows per transaction. */
function bare(path: string, rows: number): number {
  const db = new DatabaseSync(path);
  db.exec("pragma journal_mode = wal; pragma synchronous = full");
  // The rows that an append writes: the message with its indexes, and its outbox row.
  db.exec(`create table m (position integer primary key, id text, type text, sv integer, category text, stream text,
    version integer, time integer, co text, ca text, data text, metadata text);
    create unique index s on m (stream, version); create index c on m (category, position);
    create table o (position integer primary key)`);
  const insert = db.prepare("insert into m values (?, ?, 'T', 1, 'test', ?, ?, 1, ?, null, ?, null)");
  const outbox = db.prepare("insert into o values (?)");
  const began = performance.now();
  let position = 0;
  while (performance.now() - began < SECONDS * 1000) {
    db.exec("begin immediate");
    for (let i = 0; i < rows; i++) {
      const { id, data } = sampleMessage({ n: position });
      insert.run(++position, id, `test-${position % CALLERS}`, position, id, data);
      outbox.run(position);
    }
    db.exec("commit");
  }
  const rate = position / ((performance.now() - began) / 1000);
  db.close();
  return rate;
}

/** Concurrent appends of one event each. */
export async function append(): Promise<Result[]> {
  return await inFolder(async (folder) => {
    const tens = bare(`${folder}/tens.db`, 10);
    const ones = bare(`${folder}/ones.db`, 1);
    const store = new SqliteEventStore({ path: `${folder}/log.db` });
    const began = performance.now();
    let count = 0;
    await Promise.all(
      Array.from({ length: CALLERS }, async (_, caller) => {
        for (let version = -1; performance.now() - began < SECONDS * 1000; version++) {
          await store.commit({ appends: [sampleAppend(String(caller), 1, version)] });
          count++;
        }
      }),
    );
    const rate = count / ((performance.now() - began) / 1000);
    await store.close();
    const name = `append, SQLite FULL, ${CALLERS} callers, one event each`;
    return [
      ratioAtLeast(`${name}; floor: tens in a transaction`, rate, "events/s", 0.7, tens),
      ratioAtLeast(`${name}; floor: one transaction an event`, rate, "events/s", 5, ones),
    ];
  });
}

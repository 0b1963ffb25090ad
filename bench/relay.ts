import { SqliteBroker } from "@annals/annals/broker/sqlite";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { DatabaseSync } from "node:sqlite";
import { Relay } from "../src/outbox/relay.ts";
import { sampleAppend } from "../src/testing/store_suite.ts";
import { atLeast, inFolder, type Result } from "./result.ts";

const ROWS = 100_000;

/** Measures moving outbox rows from SQLite to the SQLite broker; floor: the bare driver copies the same rows. */
export async function relay(): Promise<Result[]> {
  return await inFolder(async (folder) => {
    const path = `${folder}/log.db`;
    const [store, broker] = [new SqliteEventStore({ path }), new SqliteBroker({ path })];
    for (let n = 0; n < ROWS; n += 10_000) {
      await store.commit({ appends: Array.from({ length: 1_000 }, (_, i) => sampleAppend(String(i), 10)) });
    }
    const from = new DatabaseSync(path);
    const to = new DatabaseSync(`${folder}/floor.db`);
    to.exec(
      "pragma journal_mode = wal; pragma synchronous = normal; create table e (s text, p integer, m text, primary key (s, p)) without rowid",
    );
    const read = from.prepare(
      "select m.* from outbox o join messages m on m.position = o.position where o.position > ? order by o.position limit 1000",
    );
    const insert = to.prepare("insert into e values (?, ?, ?)");
    let began = performance.now();
    for (let after = 0;;) {
      const rows = read.all(after);
      if (rows.length === 0) break;
      to.exec("begin immediate");
      for (const row of rows) insert.run(row.category as string, row.position as number, JSON.stringify(row));
      to.exec("commit");
      after = rows[rows.length - 1].position as number;
    }
    const floor = ROWS / ((performance.now() - began) / 1000);
    from.close();
    to.close();
    const moving = new Relay({ store, broker, readers: new Map([["test", []]]) });
    began = performance.now();
    await moving.drain();
    const rate = ROWS / ((performance.now() - began) / 1000);
    await store.close();
    await broker.close();
    return [atLeast("relay, SQLite to SQLite broker", rate, "rows/s", 30_000, floor)];
  });
}

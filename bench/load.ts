import { streamName } from "@annals/annals";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { DatabaseSync } from "node:sqlite";
import fidelis from "../examples/fidelis/domain.ts";
import { Account } from "../examples/fidelis/account.ts";
import { UnitOfWork } from "../src/handling/unit_of_work.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { atMost, inFolder, median, type Result } from "./result.ts";

const EVENTS = 1_000;
const ROUNDS = 50;

/** Measures loading an aggregate; floor: the bare driver reads the same rows and parses their payloads. */
export async function load(): Promise<Result[]> {
  return await inFolder(async (folder) => {
    const path = `${folder}/log.db`;
    const store = new SqliteEventStore({ path });
    const category = fidelis.categoryOf(Account);
    const stream = streamName(category, "1");
    const accountId = "1";
    const opened = { accountId, accountNumber: "1", holderName: "A", openingDeposit: 0 };
    const messages = Array.from(
      { length: EVENTS },
      (_, n) =>
        n === 0
          ? sampleMessage(opened, { type: "AccountOpened" })
          : sampleMessage({ accountId, amount: n, sourceType: "x" }, { type: "DepositMade", schemaVersion: 2 }),
    );
    await store.commit({ appends: [{ category, stream, expected: "none", messages, publish: false }] });
    const db = new DatabaseSync(path);
    const read = db.prepare("select * from messages where stream = ? order by version");
    const floors: number[] = [];
    const values: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      let began = performance.now();
      for (const row of read.all(stream)) JSON.parse(row.data as string);
      floors.push(performance.now() - began);
      const unit = new UnitOfWork(fidelis, {
        readStream: (name, from) => store.readStream(name, { from }),
        readRows: () => Promise.resolve([]),
      });
      began = performance.now();
      await unit.load(Account, "1");
      values.push(performance.now() - began);
    }
    db.close();
    await store.close();
    return [
      atMost(`loading an aggregate of ${EVENTS.toLocaleString("en")} events`, median(values), "ms", 5, median(floors)),
    ];
  });
}

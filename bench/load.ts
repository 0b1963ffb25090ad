import { aggregate, domain, event, streamName, type } from "@annals/annals";
import { SqliteEventStore } from "@annals/annals/store/sqlite";
import { DatabaseSync } from "node:sqlite";
import fidelis from "../examples/fidelis/domain.ts";
import { Account } from "../examples/fidelis/account.ts";
import { UnitOfWork } from "../src/handling/unit_of_work.ts";
import { sampleMessage } from "../src/testing/store_suite.ts";
import { atMost, inFolder, median, type Result } from "./result.ts";

const EVENTS = 1_000;
const ROUNDS = 50;
/** Of a long stream. */
const MANY = 100_000;

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
    const kept = await fromSnapshot(store);
    await store.close();
    return [
      atMost(`loading an aggregate of ${EVENTS.toLocaleString("en")} events`, median(values), "ms", 5, median(floors)),
      atMost(`the same of ${MANY.toLocaleString("en")} events, with snapshots every 500`, kept, "ms", 10),
    ];
  });
}

const Counted = event("Counted", { schema: type<{ by: number }>() });
const Counter = aggregate("Counter", {
  events: [Counted],
  initial: () => ({ total: 0, last: [] as readonly number[] }),
  evolve: {
    Counted: ({ total, last }, { payload: { by } }) => ({ total: total + by, last: [...last.slice(-99), by] }),
  },
  snapshot: { every: 500, version: 1, verify: "1 in 1000" },
});
const counting = domain("counting", { aggregates: [Counter], handlers: [] });

/** Measures loading a long stream by who knows nothing of it; its snapshot is as old as it may be. */
async function fromSnapshot(store: SqliteEventStore): Promise<number> {
  const [category, stream] = [counting.categoryOf(Counter), counting.streamOf(Counter, "1")];
  const reading = {
    readStream: (name: string, from: number) => store.readStream(name, { from }),
    readRows: () => Promise.resolve([]),
    readSnapshot: (name: string, fingerprint: string) => store.readSnapshot(name, fingerprint),
    random: () => 1,
  };
  const append = async (from: number, to: number) => {
    const messages = Array.from({ length: to - from }, (_, i) => sampleMessage({ by: from + i }, { type: "Counted" }));
    await store.commit({ appends: [{ category, stream, expected: "any", messages, publish: false }] });
  };
  for (let from = 0; from < MANY - 500; from += 500) await append(from, from + 500);
  const unit = new UnitOfWork(counting, reading);
  await unit.load(Counter, "1");
  unit.keep();
  await store.writeSnapshots(unit.snapshots());
  await append(MANY - 500, MANY - 1);
  const values: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    await new UnitOfWork(counting, reading).load(Counter, "1");
    values.push(performance.now() - began);
  }
  return median(values);
}

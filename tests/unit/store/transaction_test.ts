import assert from "node:assert/strict";
import { answered, transaction } from "../../../src/store/postgres/transaction.ts";

const CLOSED = { code: "CONNECTION_LOST_BEFORE" };

/** Rows as the driver returns them: `command` is null until the database has said what it has done. */
const rows = (command: string | null, ...found: unknown[]) => Object.assign(found, { command });

/** A driver whose answers are given; what was asked is noted. */
function driver(answers: (sql: string) => unknown) {
  const asked: string[] = [];
  const unsafe = (sql: string) => {
    asked.push(sql.split(/[ ;]/)[0]);
    const query = (async () => await answers(sql))();
    return Object.assign(query, { values: () => query });
  };
  return { asked, begin: async (_how: string, work: (sql: unknown) => unknown) => await work({ unsafe }) };
}

Deno.test("an answer that the database did not give is none", async () => {
  assert.throws(() => answered(rows(null)), CLOSED);
  assert.deepEqual([...answered(rows("SELECT"))], []);
  // Several statements at once have several answers.
  assert.equal(answered([rows("SET"), rows("SAVEPOINT")]).length, 2);
  const silent = driver((sql) => sql === "select 1" ? rows(null) : rows("SET"));
  await assert.rejects(transaction(silent as never, "", async (session) => await session.unsafe("select 1")), CLOSED);
  await assert.rejects(
    transaction(silent as never, "", async (session) => await session.unsafe("select 1").values()),
    CLOSED,
  );
});

Deno.test("nothing is run in a transaction whose begin was not sent", async () => {
  const outside = driver((sql) => {
    if (!/savepoint/.test(sql)) return rows("SELECT");
    throw Object.assign(new Error("SAVEPOINT can only be used in transaction blocks"), { code: "25P01" });
  });
  const work = async (session: { unsafe(sql: string): PromiseLike<unknown> }) => await session.unsafe("insert");
  await assert.rejects(transaction(outside as never, "", work), CLOSED);
  assert.deepEqual(outside.asked, ["set"]);
});

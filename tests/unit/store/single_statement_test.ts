import assert from "node:assert/strict";
import fc from "fast-check";
import { statementFault } from "../../../src/store/single_statement.ts";

const FINE = [
  "insert into audit values (?, ?)",
  "insert into audit values ('a; b', $1);",
  "update t set a = 'it''s; commit' where b = \"c;d\" -- ; commit",
  "/* ; commit /* nested */ ; */ delete from t",
  "insert into t values ($tag$; commit; $tag$)",
  "with x as (select 1) insert into t select * from x;  ",
  "select 'begin'",
];

const WRONG: [sql: string, told: RegExp][] = [
  ["insert into t values (1); delete from messages", /more than one statement/],
  ["select 1; commit", /more than one/],
  ["commit", /"commit" is not allowed/],
  ["  /* x */ COMMIT;", /"commit" is not allowed/],
  ["-- x\nrollback", /"rollback"/],
  ["begin immediate", /"begin"/],
  ["savepoint a", /"savepoint"/],
  ["attach 'x' as y", /"attach"/],
  ["pragma journal_mode = delete", /"pragma"/],
  ["copy t to program 'x'", /"copy"/],
  ["set role postgres", /"set"/],
  ["do $$ begin end $$", /"do"/],
  [" ; ", /empty/],
  ["-- only a comment", /empty/],
];

Deno.test("a text is one statement, and none that ends somebody else's transaction", () => {
  for (const sql of FINE) assert.equal(statementFault(sql), null, sql);
  for (const [sql, told] of WRONG) assert.match(statementFault(sql) ?? "", told, sql);
});

Deno.test("what stands in quotes is never taken for a statement, and what follows always is", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    const quoted = `insert into t values ('${text.replaceAll("'", "''")}')`;
    assert.equal(statementFault(quoted), null);
    assert.match(statementFault(`${quoted}; delete from messages`) ?? "", /more than one/);
  }));
});

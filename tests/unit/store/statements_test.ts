import { StatementError } from "@annals/annals/store";
import assert from "node:assert/strict";
import { Statements } from "../../../src/store/postgres/statements.ts";
import type { Session } from "../../../src/store/postgres/transaction.ts";

const UPDATE = [{ parts: ["update audit set n = n + ", ""], values: [1] }];
const failing = (code: string) => Object.assign(new Error(`failed with ${code}`), { code });

/** Runs the statement in a session in which it fails, or the commit does. */
function run(
  statements: Statements,
  failure: { statement?: string; deferred?: string; commit?: string },
  { scope = "G", given = UPDATE } = {},
): Promise<string> {
  const session = {
    unsafe: (sql: string) => {
      const code = sql.startsWith("set constraints") ? failure.deferred : failure.statement;
      return code ? Promise.reject(failing(code)) : Promise.resolve([]);
    },
  } as unknown as Session;
  return statements.run(scope, given, (work) => work(session), {
    before: () => Promise.resolve(),
    after: () => failure.commit ? Promise.reject(failing(failure.commit)) : Promise.resolve("committed"),
  });
}

const answers = () => Promise.resolve();

Deno.test("what only this statement can fail with is its own failure, whatever class the error is of", async () => {
  const statements = new Statements(answers);
  for (const code of ["22012", "53400", "58P01", "XX000", "57014", "55P03"]) {
    await assert.rejects(run(statements, { statement: code }), StatementError, code);
  }
});

Deno.test("what any statement may fail with is its own failure if it comes each time, while the database answers", async () => {
  for (const code of ["57P01", "CONNECTION_CLOSED", "CONNECTION_DESTROYED", "08P01", "53100", "ECONNRESET"]) {
    const statements = new Statements(answers);
    for (let i = 0; i < 2; i++) await assert.rejects(run(statements, { statement: code }), { code });
    // From then on each time, until it succeeds.
    for (let i = 0; i < 2; i++) await assert.rejects(run(statements, { statement: code }), StatementError, code);
  }
});

Deno.test("a statement is to blame although its values are others each time, and not for what befell another group's", async () => {
  const statements = new Statements(answers);
  const attempt = (n: number, scope: string) =>
    run(statements, { statement: "57P01" }, { scope, given: [{ ...UPDATE[0], values: [n] }] });
  for (const n of [1, 2]) {
    for (const scope of ["G", "H"]) await assert.rejects(attempt(n, scope), { code: "57P01" });
  }
  await assert.rejects(attempt(3, "G"), StatementError);
  assert.equal(await run(statements, {}, { scope: "H" }), "committed");
  await assert.rejects(attempt(3, "H"), { code: "57P01" });
});

Deno.test("a statement is to blame although one of the same text succeeds before it each time", async () => {
  const statements = new Statements(answers);
  const session = {
    unsafe: (_sql: string, [n]: number[] = []) => n === 2 ? Promise.reject(failing("57P01")) : Promise.resolve([]),
  } as unknown as Session;
  const given = [1, 2].map((n) => ({ ...UPDATE[0], values: [n] }));
  const attempt = () =>
    statements.run("G", given, (work) => work(session), {
      before: () => Promise.resolve(),
      after: () => Promise.resolve(),
    });
  for (let i = 0; i < 2; i++) await assert.rejects(attempt(), { code: "57P01" });
  await assert.rejects(attempt(), StatementError);
});

Deno.test("a constraint that is checked at the end fails the statement before, with what the database says", async () => {
  const statements = new Statements(answers);
  await assert.rejects(run(statements, { deferred: "23503" }), (error: Error) => {
    return error instanceof StatementError && /update audit[^]*failed with 23503/.test(error.message);
  });
  await assert.rejects(run(statements, { deferred: "57P01" }), { code: "57P01" });
});

Deno.test("a statement is not to blame for a database that is away, nor once it has succeeded", async () => {
  const away = new Statements(() => Promise.reject(failing("ECONNREFUSED")));
  for (let i = 0; i < 10; i++) await assert.rejects(run(away, { statement: "ECONNREFUSED" }), { code: "ECONNREFUSED" });
  const flaky = new Statements(answers);
  for (let i = 0; i < 10; i++) {
    await assert.rejects(run(flaky, { statement: "57P01" }), { code: "57P01" });
    assert.equal(await run(flaky, {}), "committed");
  }
});

Deno.test("a statement is not to blame for a commit that fails", async () => {
  const statements = new Statements(answers);
  for (let i = 0; i < 10; i++) await assert.rejects(run(statements, { commit: "57P01" }), { code: "57P01" });
});

Deno.test("a statement is not to blame for failures that are minutes apart, but for those of one attempt after the other, however long they take", async () => {
  let now = 0;
  const session = (takes: number) => ({
    unsafe: () => {
      now += takes;
      return Promise.reject(failing("57P01"));
    },
  } as unknown as Session);
  const attempt = (statements: Statements, takes: number) =>
    statements.run("G", UPDATE, (work) => work(session(takes)), {
      before: () => Promise.resolve(),
      after: () => Promise.resolve(),
    });
  const apart = new Statements(answers, () => now);
  for (let i = 0; i < 10; i++, now += 70_000) await assert.rejects(attempt(apart, 1_000), { code: "57P01" });
  const long = new Statements(answers, () => now);
  for (let i = 0; i < 2; i++, now += 2_000) await assert.rejects(attempt(long, 300_000), { code: "57P01" });
  await assert.rejects(attempt(long, 300_000), StatementError);
});

Deno.test("a statement is not to blame for transactions that are taken back for the sake of others", async () => {
  const statements = new Statements(answers);
  for (let i = 0; i < 10; i++) await assert.rejects(run(statements, { statement: "40P01" }), { code: "40P01" });
});

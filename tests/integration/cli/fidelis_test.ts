import assert from "node:assert/strict";
import { command } from "../../support/command.ts";
import { Site } from "../../support/server.ts";

const MODULE = new URL("../../../examples/fidelis/domain.ts", import.meta.url);

Deno.test("the ledger's command line does what it says, with a server beside it", async () => {
  await using site = Site.make("fidelis", MODULE);
  const server = await site.start().running();
  const fidelis = (...args: string[]) => command("fidelis", ["--config", site.file, ...args], site.folder);
  const opened = await fidelis("open", "--number", "A-1", "--holder", "Alice", "--deposit", "1000.00", "--wait");
  assert.equal(opened.code, 0, opened.stderr);
  const account = opened.stdout.trim();
  assert.match(account, /^[0-9a-f-]{36}$/);
  const results = await Promise.all([
    fidelis("deposit", account, "500.00", "--reference", "paycheck", "--wait", "--json"),
    fidelis("withdraw", account, "99999", "--wait"),
    fidelis("open", "--number", "A-1", "--holder", "Bob", "--wait"),
    fidelis("close", account, "--wait"),
    fidelis("withdraw", "nobody", "1.00", "--wait"),
  ]);
  assert.deepEqual(results.map(({ code }) => code), [0, 1, 1, 1, 1]);
  assert.deepEqual(JSON.parse(results[0].stdout).outcome, { status: "accepted", events: ["DepositMade"] });
  const refusals = [
    "refused: Account: balance may not fall below zero\n",
    'refused: accountNumber: "A-1" is taken\n',
    "refused: balance: must be 0 to close the account\n",
    "refused: accountId: there is no such account\n",
  ];
  assert.deepEqual(results.slice(1).map(({ stderr }) => stderr), refusals);
  const keyed = await Promise.all(
    [1, 2].map(() => fidelis("withdraw", account, "150", "--idempotency-key", "k", "--wait")),
  );
  assert.equal(keyed[0].stdout, keyed[1].stdout, "the same command, sent once");
  assert.equal((await fidelis("balance", account)).stdout, "1350.00\n");
  assert.equal((await fidelis("balance", account, "--at-version", "0")).stdout, "1000.00\n");
  assert.equal((await fidelis("balance", account, "--as-of", "2020-01-01")).code, 1);
  // Money that cannot be paid or received stays where it was.
  const other = (await fidelis("open", "--number", "B-1", "--holder", "Bob", "--wait")).stdout.trim();
  const closed = (await fidelis("open", "--number", "C-1", "--holder", "Cy", "--wait")).stdout.trim();
  assert.equal((await fidelis("close", closed, "--wait")).code, 0);
  const [moved, unpayable, returned, same] = await Promise.all([
    fidelis("transfer", account, other, "300.00", "--wait"),
    fidelis("transfer", account, other, "99999", "--wait"),
    fidelis("transfer", account, closed, "10.00", "--wait", "--json"),
    fidelis("transfer", account, account, "1", "--wait"),
  ]);
  assert.match(moved.stdout, /^[0-9a-f-]{36}\n$/);
  assert.deepEqual([moved, unpayable, returned, same].map(({ code }) => code), [0, 1, 1, 1]);
  assert.equal(unpayable.stderr, "failed: Account: balance may not fall below zero\n");
  assert.equal(returned.stderr, "failed: accountId: the account is closed\n");
  assert.deepEqual(JSON.parse(returned.stdout).transfer, {
    status: "failed",
    amount: 1_000,
    reason: "accountId: the account is closed",
  });
  assert.equal(same.stderr, "refused: destinationAccountId: must be another account than the source\n");
  assert.equal((await fidelis("balance", account)).stdout, "1050.00\n");
  assert.equal((await fidelis("balance", other)).stdout, "300.00\n");
  assert.equal((await fidelis("balance", closed)).stdout, "0.00\n");
  const simulated = await fidelis("simulate", "--accounts", "10", "--operations", "300", "--json");
  assert.equal(simulated.code, 0, simulated.stderr);
  const result = JSON.parse(simulated.stdout);
  assert.deepEqual(
    { balanced: result.balanced, operations: result.operations, dead: result.deadLetters, problems: result.problems },
    { balanced: true, operations: 300, dead: 0, problems: [] },
  );
  assert.equal(JSON.parse((await fidelis("check", "--json")).stdout).balanced, true);
  assert.equal(JSON.parse((await fidelis("summary", account, "--json")).stdout).balance, 105_000);
  assert.equal(JSON.parse((await fidelis("summary", "--all", "--json")).stdout).length, 14);
  assert.equal(await server.stop(), 0);
});

const WRONG: [args: string[], code: number, told: RegExp][] = [
  [["depositt"], 2, /unknown command 'depositt'.*did you mean deposit/is],
  [["deposit"], 2, /missing required argument 'account'/],
  [["deposit", "a", "lots"], 2, /"lots" is not an amount; write it like 500\.00/],
  [["deposit", "a", "1.005"], 2, /is not an amount/],
  [["deposit", "a", "-5"], 2, /unknown option '-5'|is not an amount/],
  [["open", "--holder", "x"], 2, /required option '--number/],
  [["open", "--number", "", "--holder", "x"], 2, /Payload of "OpenAccount" is refused: accountNumber/],
  [["balance", "a", "--at-version", "x"], 2, /Expected a whole number/],
  [["balance", "a", "--as-of", "yesterday"], 2, /Expected a time like/],
  [["simulate", "--operations", "0"], 2, /Expected a whole number from 1/],
  [["summary"], 2, /Name one account, or --all/],
  [["--config", "nowhere.toml", "check"], 2, /nowhere\.toml: there is no such file/],
  [["deposit", "a", "5"], 1, /there is none; start the server first/],
];

Deno.test("what is wrong on the ledger's command line is said in words, with exit code 1 or 2", async () => {
  await using site = Site.make("fidelis", MODULE);
  await Promise.all(WRONG.map(async ([args, code, told]) => {
    const result = await command("fidelis", args, site.folder);
    assert.match(result.stderr, told);
    assert.equal(result.code, code, args.join(" "));
    assert.doesNotMatch(result.stderr, /^\s+at /m);
  }));
});

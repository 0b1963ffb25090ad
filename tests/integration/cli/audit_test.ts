import assert from "node:assert/strict";
import { userInfo } from "node:os";
import fidelis from "../../../examples/fidelis/domain.ts";
import { OpenAccount } from "../../../examples/fidelis/account.ts";
import { AccountSummary } from "../../../examples/fidelis/reactions.ts";
import { auditRecords } from "../../../src/operating/audit.ts";
import { command } from "../../support/command.ts";
import { Site, until } from "../../support/server.ts";

const MODULE = new URL("../../../examples/fidelis/domain.ts", import.meta.url);

Deno.test("whatever an operator changes at the command line is recorded, with who did it and why it failed", async () => {
  await using site = Site.make("fidelis", MODULE, '[server]\nprojection_swap = "manual"\n');
  const server = await site.start().running();
  await using client = await site.connect(fidelis);
  const account = OpenAccount({ accountNumber: "A-1", holderName: "Ann", openingDeposit: 100 });
  await client.process(account, { until: [AccountSummary] });
  await client.process(OpenAccount({ accountNumber: "B-1", holderName: "Ben", openingDeposit: 100 }), {
    after: "9h",
    key: "later",
  });
  const annals = (...args: string[]) => command("annals", ["--config", site.file, ...args], site.folder);
  const records = () => auditRecords({ store: client.store, domain: fidelis });
  assert.equal((await annals("audit")).stdout, "No operator has done anything.\n");
  const changes: [args: string[], code: number, action: string, details: Record<string, unknown>][] = [
    [["projections", "rebuild", "AccountSummary", "--no-wait"], 0, "projections rebuild", {
      projection: "AccountSummary",
    }],
    [["projections", "swap", "AccountSummary"], 0, "projections swap", {
      projection: "AccountSummary",
      from: "1",
      to: "1.1",
      isStale: false,
    }],
    [["projections", "rollback", "AccountSummary"], 0, "projections rollback", {
      projection: "AccountSummary",
      from: "1.1",
      to: "1",
      isStale: false,
    }],
    [["projections", "drop", "AccountSummary", "--generation", "1.1"], 0, "projections drop", {
      projection: "AccountSummary",
      generation: "1.1",
    }],
    [["schedule", "run", "later"], 0, "schedule run", { key: "later", after: 0 }],
    [["processes", "retry", "FundsTransfer", "x"], 2, "processes retry", { manager: "FundsTransfer", id: "x" }],
    [["processes", "abandon", "FundsTransfer", "x"], 2, "processes abandon", { manager: "FundsTransfer", id: "x" }],
    [["schedule", "cancel", "nothing"], 2, "schedule cancel", { key: "nothing" }],
    [["dlq", "replay-all", "--group", "FundsTransfer"], 0, "dlq replay", { group: "FundsTransfer", isAnyway: false }],
    [["dlq", "purge", "--group", "FundsTransfer"], 0, "dlq purge", { group: "FundsTransfer" }],
  ];
  const generations = async () =>
    (await client.store.generations()).filter((one) => one.projection === "AccountSummary");
  for (const [args, code, action, details] of changes) {
    if (action === "projections swap") {
      const isBuilt = async () => (await generations()).every(({ state }) => state === "fed");
      await until(isBuilt, () => "the projection to be built");
    }
    const result = await annals(...args);
    assert.equal(result.code, code, `${args.join(" ")}: ${result.stdout}${result.stderr}`);
    const [record] = await records();
    assert.deepEqual([record.action, record.details], [action, details]);
  }
  const all = await records();
  assert.equal(all.length, changes.length);
  assert.deepEqual(new Set(all.map(({ who }) => who)), new Set([`cli:${userInfo().username}@${Deno.hostname()}`]));
  // Whatever only looks is not recorded.
  const looks = [["dlq", "list"], ["projections", "status"], ["subscriptions", "status"], ["doctor"], [
    "top",
    "--once",
  ]];
  await Promise.all(looks.map(async (args) => assert.equal((await annals(...args)).code, 0, args.join(" "))));
  assert.equal((await records()).length, changes.length);
  assert.deepEqual(JSON.parse((await annals("audit", "--json")).stdout), all);
  const text = (await annals("audit", "--limit", "1")).stdout;
  assert.match(
    text,
    /^position +at +who +what +to +failed with\n +\d+ +\S+ +cli:\S+ +dlq purge +group FundsTransfer\n$/,
  );
  assert.equal(await server.stop(), 0);
});

import assert from "node:assert/strict";
import { AccountSummary } from "../../../examples/fidelis/reactions.ts";
import { OpenAccount } from "../../../examples/fidelis/account.ts";
import fidelis from "../../../examples/fidelis/domain.ts";
import { InitiateTransfer, Transfer } from "../../../examples/fidelis/transfer.ts";
import unruly, { Ask } from "../../fixtures/unruly/domain.ts";
import { OperatorSession } from "../../support/operator.ts";
import { Site, until } from "../../support/server.ts";
import { freePort } from "../../support/services.ts";

const moduleOf = (path: string) => new URL(`../../../${path}`, import.meta.url);

Deno.test("an operator finds, inspects, replays and purges dead letters, and the audit says so", async () => {
  const port = freePort();
  await using site = Site.make(
    "unruly",
    moduleOf("tests/fixtures/unruly/domain.ts"),
    `[server.http]\nlisten = "127.0.0.1:${port}"\n[server.stream_subscription]\nmax_retries = 0\n`,
  );
  const server = await site.start().running();
  await using client = await site.connect(unruly);
  const operator = await OperatorSession.begin(port);
  for (const id of ["a", "b", "c"]) await client.process(Ask({ id, kind: "Thrower" }), { wait: true });
  await until(async () => (await client.store.countDeadLetters()).Thrower === 3, () => "all to be given up");

  const listed = await operator.get("dead-letters?group=Thrower&limit=2");
  assert.deepEqual(
    [listed.letters.length, listed.counts, listed.next],
    [2, { Thrower: 3 }, listed.letters[1].id],
  );
  const more = await operator.get(`dead-letters?group=Thrower&before=${listed.next}`);
  assert.deepEqual([more.letters.length, more.next], [1, null]);
  const [{ id }] = more.letters;
  const shown = await operator.get(`dead-letters/${id}`);
  assert.deepEqual(
    [shown.message.payload, JSON.parse(shown.message.raw), shown.error, shown.attempts.length],
    [{ kind: "Thrower" }, { kind: "Thrower" }, "thrown", 1],
  );
  assert.match(shown.stack, /domain\.ts/);
  assert.equal((await operator.get("dead-letters?text=request-A")).letters.length, 1, "in capitals or not");
  assert.equal((await operator.get("dead-letters?text=nowhere")).letters.length, 0);
  const unknown = await operator.ask("dead-letters?group=Throwr");
  assert.deepEqual([unknown.status, /did you mean "Thrower"/.test(unknown.body.title)], [404, true]);

  const replay = (change: unknown) => operator.get("dead-letters/replay", change);
  assert.deepEqual(await replay({ ids: [id] }), { replayed: 1, left: 0 });
  // It fails again, as a new dead letter.
  await until(async () => (await client.store.deadLetter(id)) === null, () => "it to be taken");
  await until(async () => (await client.store.countDeadLetters()).Thrower === 3, () => "it to fail again");
  assert.equal((await operator.ask(`dead-letters/${id}`)).status, 404);
  assert.deepEqual(await replay({ group: "Thrower" }), { replayed: 3, left: 0 });
  await until(async () => (await client.store.countDeadLetters()).Thrower === 3, () => "all to fail again");
  const { letters } = await operator.get("dead-letters");
  assert.deepEqual(await operator.get("dead-letters/purge", { ids: [letters[0].id] }), { purged: 1, aside: 0 });
  assert.deepEqual(await operator.get("dead-letters/purge", { group: "Thrower" }), { purged: 2, aside: 0 });
  for (
    const wrong of [{}, { ids: [] }, { ids: "x" }, { ids: ["x"], group: "Thrower" }, [], null, { group: "Nobody" }]
  ) {
    assert.ok((await operator.ask("dead-letters/purge", wrong)).status >= 400, JSON.stringify(wrong));
  }
  const { records } = await operator.get("audit");
  assert.deepEqual(
    records.map(({ who, action, details }: any) => [who, action, details.ids?.length ?? details.group]),
    [
      ["local", "dlq purge", "Thrower"],
      ["local", "dlq purge", 1],
      ["local", "dlq replay", "Thrower"],
      ["local", "dlq replay", 1],
    ],
  );
  const page = await operator.get(`audit?before=${records[0].position}&limit=2`);
  assert.deepEqual([page.records.length, page.next], [2, page.records[1].position]);

  // A worker says after a while how much memory it takes.
  const look = await operator.seen(({ rate, groups, workers }) =>
    groups?.length > 5 && rate === 0 &&
    workers.some(({ groups, heapBytes }: any) => groups.includes("Witness") && heapBytes > 100_000)
  );
  assert.deepEqual(
    [look.away, look.processes.length, look.services.map(({ kind }: any) => kind)],
    [null, 1, ["sqlite", "sqlite"]],
  );
  assert.ok(look.warnings.some(({ group, text }: any) => group === "Thrower" && /Gave up on Asked/.test(text)));
  const sending = (async () => {
    for (let i = 0; i < 20; i++) await client.process(Ask({ id: `n${i}`, kind: "none" }), { wait: true });
  })();
  await operator.seen(({ rate, rates, timing }) => rate > 0 && rates.Witness.out > 0 && timing.Witness?.commitMs > 0);
  await sending;
  assert.equal(await server.stop(), 0);
});

Deno.test("an operator sees the log with states, what a command led to, why a row is so, and rebuilds a projection", async () => {
  const port = freePort();
  await using site = Site.make(
    "fidelis",
    moduleOf("examples/fidelis/domain.ts"),
    `[server]\nprojection_swap = "manual"\n[server.http]\nlisten = "127.0.0.1:${port}"\n`,
  );
  const server = await site.start().running();
  await using client = await site.connect(fidelis);
  const operator = await OperatorSession.begin(port);
  const open = (accountNumber: string) =>
    client.process(OpenAccount({ accountNumber, holderName: "Ann", openingDeposit: 10_000 }), {
      until: [AccountSummary],
    });
  const [from, to] = [await open("A-1"), await open("B-1")];
  const [sourceAccountId, destinationAccountId] = [from.aggregateId, to.aggregateId];
  const sent = await client.process(InitiateTransfer({ sourceAccountId, destinationAccountId, amount: 1_000 }));
  await until(
    async () => (await client.load(Transfer, sent.aggregateId)).state.status === "completed",
    () => "the transfer",
  );
  await client.caughtUp();

  const stream = `fidelis::account-${sourceAccountId}`;
  const history = await operator.get(`streams/${encodeURIComponent(stream)}`);
  assert.deepEqual(
    history.messages.map(({ type, state }: any) => [type, state.balance]),
    [["AccountOpened", 10_000], ["WithdrawalMade", 9_000]],
  );
  const older = await operator.get(`streams/${encodeURIComponent(stream)}?before=1`);
  assert.deepEqual(older.messages.map(({ version, state }: any) => [version, state.balance]), [[0, 10_000]]);
  const misspelt = await operator.ask(`streams/${encodeURIComponent(stream.replace("account", "acount"))}`);
  assert.match(misspelt.body.title, /did you mean "fidelis::account-/);
  const newest = await operator.get(`log?stream=${encodeURIComponent(stream)}&limit=1`);
  const oldest = await operator.get(`log?stream=${encodeURIComponent(stream)}&limit=1&before=${newest.next}`);
  assert.deepEqual([newest, oldest].map(({ messages, next }) => [messages[0].version, next]), [[1, 1], [0, null]]);
  const found = await operator.get(`log?type=WithdrawalMade`);
  assert.deepEqual(found.messages.map(({ stream }: any) => stream), [stream]);
  const pages = [await operator.get("log?limit=3")];
  while (pages.at(-1).next !== null) pages.push(await operator.get(`log?limit=3&before=${pages.at(-1).next}`));
  const positions = pages.flatMap(({ messages }) => messages.map(({ position }: any) => position));
  assert.deepEqual(positions, positions.map((_, i) => positions.length - i), "all of the log, newest first");
  assert.deepEqual(
    (await operator.get(`log?correlation=${sent.commandId}&limit=1`)).messages[0].correlationId,
    sent.commandId,
  );

  const trace = await operator.get(`trace/${sent.commandId}`);
  assert.deepEqual([trace.roots[0].type, trace.roots[0].state], ["InitiateTransfer", "accepted"]);
  assert.equal((await operator.ask("trace/nothing")).status, 404);
  const why = await operator.get(`projections/AccountSummary/rows/${sourceAccountId}`);
  assert.deepEqual(
    [why.row.balance, why.events.map(({ type }: any) => type)],
    [9_000, ["WithdrawalMade", "AccountOpened"]],
  );
  assert.equal((await operator.ask("projections/AccountSummary/rows/none")).status, 404);
  assert.equal((await operator.get("projections/AccountSummary/rows")).rows.length, 2);

  const { instances, total } = await operator.get("processes?status=ended");
  assert.deepEqual([instances.length, total], [1, 1]);
  const instance = await operator.get(`processes/${instances[0].manager}/${instances[0].id}`);
  assert.deepEqual(instance.inputs[0].sent.map(({ outcome }: any) => outcome), ["accepted"]);
  assert.equal((await operator.ask(`processes/FundsTransfer/${instances[0].id}/retry`, {})).status, 409);

  const { generation } = await operator.get("projections/AccountSummary/rebuild", {});
  const statusOf = async (): Promise<any> =>
    (await operator.get("projections")).generations.find((one: any) =>
      one.projection === "AccountSummary" && one.generation === generation
    );
  await until(async () => (await statusOf()).state === "fed", () => "it to be built");
  assert.equal((await statusOf()).waitsForSwap, true);
  const diff = await operator.get("projections/AccountSummary/diff");
  assert.deepEqual([diff.rows, diff.differing, diff.after], [2, 0, generation]);
  assert.equal((await operator.get("projections/AccountSummary/swap", {})).to, generation);
  assert.equal((await operator.ask("projections/AccountSummary/swap", {})).status, 409);
  const back = await operator.get("projections/AccountSummary/rollback", {});
  assert.equal(back.from, generation);
  assert.equal((await operator.ask("projections/AccountSummary/drop", { generation: back.to })).status, 409);
  assert.equal((await operator.get("projections/AccountSummary/drop", { generation })).generation, generation);
  const { records } = await operator.get("audit");
  assert.deepEqual(records.map(({ action }: any) => action), [
    "projections drop",
    "projections rollback",
    "projections swap",
    "projections rebuild",
    "processes retry",
  ]);
  assert.equal(await server.stop(), 0);
});

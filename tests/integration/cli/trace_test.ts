import assert from "node:assert/strict";
import fidelis from "../../../examples/fidelis/domain.ts";
import { OpenAccount } from "../../../examples/fidelis/account.ts";
import { AccountSummary } from "../../../examples/fidelis/reactions.ts";
import { InitiateTransfer, Transfer } from "../../../examples/fidelis/transfer.ts";
import type { Trace, TracedMessage } from "../../../src/operating/trace.ts";
import { walk } from "../../../src/operating/trace.ts";
import { command } from "../../support/command.ts";
import { Site, until } from "../../support/server.ts";

const MODULE = new URL("../../../examples/fidelis/domain.ts", import.meta.url);

Deno.test("annals trace shows every hop of a transfer, through processes and refusals, from any of its messages", async () => {
  await using site = Site.make("fidelis", MODULE);
  const server = await site.start().running();
  await using client = await site.connect(fidelis);
  const open = (accountNumber: string) =>
    client.process(OpenAccount({ accountNumber, holderName: "Ann", openingDeposit: 10_000 }), {
      until: [AccountSummary],
      idempotencyKey: accountNumber,
    });
  const [from, to] = await Promise.all([open("A-1"), open("B-1")]);
  const annals = (...args: string[]) => command("annals", ["--config", site.file, ...args], site.folder);
  const trace = async (...args: string[]): Promise<Trace> => {
    const result = await annals("trace", ...args, "--json");
    assert.equal(result.code, 0, result.stderr);
    return JSON.parse(result.stdout);
  };
  const move = async (destinationAccountId: string) => {
    const amount = 1_000;
    const sent = await client.process(
      InitiateTransfer({ sourceAccountId: from.aggregateId, destinationAccountId, amount }),
      { wait: true },
    );
    const ended = async () => (await client.load(Transfer, sent.aggregateId)).state.status !== "pending";
    await until(ended, () => "the transfer to end");
    // And all that follows from its end.
    const isOver = async () => [...walk((await trace(sent.commandId)).roots)].every(({ message }) => isDone(message));
    await until(isOver, () => "all groups to have handled it");
    return sent.commandId;
  };
  const isDone = ({ handled }: TracedMessage) => handled.every(({ state }) => state === "passed");

  const id = await move(to.aggregateId);
  const whole = await trace(id, "--internal");
  const log = await client.store.readLog({ correlationId: id });
  const all = [...walk(whole.roots)];
  assert.deepEqual(
    all.map(({ message }) => message.position!).sort((a, b) => a - b),
    log.map(({ position }) => position),
  );
  assert.deepEqual([whole.messages, whole.leftOut, whole.correlationId], [log.length, [], id]);
  const hops = [...walk((await trace(id)).roots)];
  const hopsOf = (kind: string) => hops.filter(({ message }) => message.kind === kind);
  assert.deepEqual(hopsOf("command").map(({ message, by }) => [by?.group, message.type, message.state]), [
    [undefined, "InitiateTransfer", "accepted"],
    ["FundsTransfer", "MakeWithdrawal", "accepted"],
    ["FundsTransfer", "MakeDeposit", "accepted"],
    ["FundsTransfer", "CompleteTransfer", "accepted"],
  ]);
  assert.ok(hops.every(({ message }, i) => i === 0 ? message.after === null : message.after! >= 0));

  const failed = await move("nobody");
  const text = (await annals("trace", failed)).stdout;
  assert.match(text, /FundsTransfer ▸ MakeDeposit .*#\d+ +refused +\+\d+ ms +accountId: there is no such account/);
  assert.match(text, /FundsTransfer ▸ ReturnWithdrawal .*accepted/);
  assert.match(text, /AccountSummaryProjector +passed/);

  // From the middle: what led to it, and only what it led to.
  const [deposit] = await client.store.readLog({ type: "MakeDeposit", correlationId: id });
  for (const name of [deposit.id, String(deposit.position)]) {
    const part = await trace(name);
    assert.deepEqual(part.roots.map(({ id }) => id), [deposit.id]);
    assert.equal(part.causes[0].id, id);
    assert.ok(part.causes.some(({ type }) => type === "WithdrawalMade"));
    assert.ok(part.messages < hops.length && part.messages > 2);
  }
  assert.match(
    (await annals("trace", deposit.id, "--payload")).stdout,
    /because of InitiateTransfer[^]*"sourceType":"transfer"/,
  );

  for (
    const [name, told] of [
      ["01a21d01-1f5e-7480-b2f7-d22c64880b3b", /knows no message, correlation, .*annals events search/],
      ["999999", /the log of domain "fidelis" goes up to \d+/],
      [deposit.stream, /it is a stream: annals events read fidelis::account:command-/],
    ] as const
  ) {
    const unknown = await annals("trace", name);
    assert.deepEqual([unknown.code, told.test(unknown.stderr)], [2, true], unknown.stderr);
  }
  assert.equal(await server.stop(), 0);
});

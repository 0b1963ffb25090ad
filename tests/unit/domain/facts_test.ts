import { aggregate, command, commandHandler, domain, event, projection, projector, type } from "@annals/annals";
import { given, inMemory } from "@annals/annals/testing";
import assert from "node:assert/strict";
import fidelis from "../../../examples/fidelis/domain.ts";
import {
  Account,
  AccountFact,
  AccountOpened,
  CloseAccount,
  DepositMade,
  MakeDeposit,
  MakeWithdrawal,
  OpenAccount,
} from "../../../examples/fidelis/account.ts";
import { AccountReport } from "../../../examples/fidelis/reactions.ts";
import { LocalRunner } from "../../../src/handling/runner.ts";
import { DomainDefinitionError } from "../../../src/messages/errors.ts";
import { MemoryEventStore } from "../../../src/store/memory.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";

const Put = event("Put", { schema: type<{ by: number }>() });
const PurseFact = event("PurseFact", { schema: type<{ id: string; n: number }>() });
const purse = (over: object = {}) =>
  aggregate("Purse", {
    events: [Put],
    initial: () => 0,
    evolve: { Put: (n, { payload }) => n + payload.by },
    facts: { event: PurseFact, from: (n: number, id) => n === 0 ? null : { id, n } },
    ...over,
  });
const Fill = command("Fill", { schema: type<{ id: string; by: readonly number[] }>(), target: ({ id }) => id });
const Held = projection("Held", { key: "id", schema: type<{ id: string; n: number }>() });

function purses(Purse = purse()) {
  return domain("purses", {
    aggregates: [Purse],
    handlers: [
      commandHandler("Filler", Purse, {
        commands: [Fill],
        handle: { Fill: (_n, { payload }) => payload.by.map((by) => Put({ by })) },
      }),
      projector("Holder", Held, { events: [PurseFact], on: { PurseFact: (_row, { payload }) => payload } }),
    ],
  });
}

Deno.test("an aggregate tells one fact per command, in a stream of its own, and handlers read it", async () => {
  await using client = await inMemory(purses());
  await client.process(Fill({ id: "a", by: [1, 2, 3] }));
  await client.process(Fill({ id: "a", by: [] }));
  await client.process(Fill({ id: "a", by: [-6] }));
  await client.process(Fill({ id: "a", by: [5] }));
  const facts = await client.store.readStream("purses::purse-fact-a");
  assert.deepEqual(facts.map(({ type, category, data }) => [type, category, JSON.parse(data)]), [
    ["PurseFact", "purses::purse-fact", { id: "a", n: 6 }],
    ["PurseFact", "purses::purse-fact", { id: "a", n: 5 }],
  ]);
  const [first] = await client.store.readStream("purses::purse-a");
  assert.equal(facts[0].causationId, first.causationId);
  assert.deepEqual(await client.rows(Held), [{ id: "a", n: 5 }]);
  // They are what comes of the events, not what a command led to.
  const { outcome } = await client.process(Fill({ id: "b", by: [1] }));
  assert.deepEqual(outcome, { status: "accepted", events: ["Put"] });
});

Deno.test("commands that share a commit each tell their fact, and one that tells nothing takes none back", async () => {
  const store = new MemoryEventStore();
  const category = "purses::purse:command";
  const fill = (by: number) => ({
    category,
    stream: `${category}-a`,
    expected: "any" as const,
    messages: [sampleMessage({ id: "a", by: [by] }, { type: "Fill" })],
    publish: true,
  });
  await store.commit({ appends: [fill(1), fill(2), fill(-3)] });
  const domain = purses();
  const runner = new LocalRunner(domain, domain.handlers.get("Filler")!, {
    reading: { readStream: (stream, from) => store.readStream(stream, { from }), readRows: () => Promise.resolve([]) },
    timeout: 1_000,
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
  const items = (await store.readLog()).map((record) => ({ record, attempt: 1 }));
  const result = await runner.run(items, new AbortController().signal);
  assert(result !== "apart");
  const told = result.effects.appends.filter(({ category }) => category === "purses::purse-fact");
  assert.deepEqual(told.flatMap(({ messages }) => messages.map(({ data }) => JSON.parse(data))), [
    { id: "a", n: 1 },
    { id: "a", n: 3 },
  ]);
});

Deno.test("fidelis reports accounts by their facts", async () => {
  await given(fidelis).when(OpenAccount({ accountNumber: "1", holderName: "Ann", openingDeposit: 500 }));
  await given(fidelis, AccountOpened({ accountId: "a", accountNumber: "1", holderName: "Ann", openingDeposit: 500 }))
    .when(MakeDeposit({ accountId: "a", amount: 250 }))
    .then(DepositMade({ accountId: "a", amount: 250, sourceType: "unknown" }))
    .row(AccountReport, {
      accountId: "a",
      accountNumber: "1",
      status: "active",
      balance: 750,
      signatories: 0,
      changedAt: "2026-01-01T00:00:00.000Z",
    });
  await using client = await inMemory(fidelis);
  const { aggregateId: accountId } = await client.process(
    OpenAccount({ accountNumber: "1", holderName: "Ann", openingDeposit: 500 }),
  );
  await client.process(MakeWithdrawal({ accountId, amount: 500 }));
  await client.process(MakeWithdrawal({ accountId, amount: 500 }));
  await client.process(CloseAccount({ accountId }));
  const [{ changedAt: _, ...row }] = await client.rows(AccountReport);
  assert.deepEqual(row, { accountId, accountNumber: "1", status: "closed", balance: 0, signatories: 0 });
  assert.equal((await client.store.readLog({ type: AccountFact.type })).length, 3);
});

Deno.test("a fact that cannot be told refuses the command, not the batch, and says why", async () => {
  const wrong: [RegExp, () => unknown][] = [
    [/facts\.from of "Purse" returned undefined \(missing return\?\)/, () => undefined],
    [/facts\.from of "Purse" returned a promise/, () => Promise.resolve(null)],
    [/no purse/, () => {
      throw new Error("no purse");
    }],
  ];
  for (const [fault, from] of wrong) {
    const Purse = purse({ facts: { event: PurseFact, from } });
    await assert.rejects(async () => await given(purses(Purse)).when(Fill({ id: "a", by: [1] })), fault);
  }
});

Deno.test("facts never share a stream with an aggregate", async () => {
  await assert.rejects(
    async () => await given(purses()).when(Fill({ id: "fact-a", by: [1] })),
    /its stream would be that of the facts of Purse "a"; use ids that do not start with "fact-"/,
  );
  const other = aggregate("PurseFact", { events: [], initial: () => 0, evolve: {} });
  const define = (...aggregates: Parameters<typeof domain>[1]["aggregates"]) => () =>
    domain("purses", { aggregates, handlers: [] });
  assert.throws(define(purse(), other), /the facts of "Purse" would share the category "purses::purse-fact"/);
  assert.throws(() => purse({ facts: { event: Put, from: () => null } }), /"Put" is one of its events/);
  assert.throws(() => purse({ facts: { event: PurseFact } }), /"facts.from" is no function/);
  const second = aggregate("Second", {
    events: [PurseFact],
    initial: () => 0,
    evolve: { PurseFact: (n) => n },
  });
  assert.throws(define(purse(), second), DomainDefinitionError);
  assert.equal(fidelis.categoryOf(Account), "fidelis::account");
  assert.equal(fidelis.categoryOfEvent("AccountFact"), "fidelis::account-fact");
});

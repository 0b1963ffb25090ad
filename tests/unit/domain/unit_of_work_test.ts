import {
  aggregate,
  command,
  commandHandler,
  domain,
  DomainRuleError,
  event,
  eventHandler,
  projection,
  projector,
  type,
} from "@annals/annals";
import { Client } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import type { EventStore } from "@annals/annals/store";
import { MemoryEventStore } from "@annals/annals/store/memory";
import assert from "node:assert/strict";
import fidelis from "../../../examples/fidelis/domain.ts";
import { Account, MakeDeposit, MakeWithdrawal, OpenAccount } from "../../../examples/fidelis/account.ts";
import { AccountSummary, ComplianceAlert } from "../../../examples/fidelis/reactions.ts";
import { sampleMessage } from "../../../src/testing/store_suite.ts";

const sync = (() => {
  const file = Deno.makeTempFileSync({ suffix: ".toml" });
  Deno.writeTextFileSync(
    file,
    `event_processing = "sync"\ncommand_processing = "sync"\n[event_store]\nurl = "memory:"\n`,
  );
  const config = loadConfig({ file });
  Deno.removeSync(file);
  return config;
})();

const Filled = event("Filled", { schema: type<{ by: number }>() });
const Drained = event("Drained", { schema: type<{ by: number }>() });
const Tank = aggregate("Tank", {
  events: [Filled, Drained],
  initial: () => 0,
  evolve: { Filled: (level, { payload }) => level + payload.by, Drained: (level, { payload }) => level - payload.by },
  invariants: { "may not be empty below zero": (level) => level >= 0 },
});
const Fill = command("Fill", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
const Pour = command("Pour", { schema: type<{ from: string; to: string; by: number }>(), target: ({ from }) => from });
const Name = command("Name", { schema: type<{ id: string; name: string; before?: string }>(), target: ({ id }) => id });
const Level = projection("Level", { key: "id", schema: type<{ id: string; level: number }>() });

/** A domain whose command handler touches two aggregates, and whose event handler sends a command. */
const tanks = domain("tanks", {
  aggregates: [Tank],
  handlers: [
    commandHandler("TankHandler", Tank, {
      commands: [Fill, Pour, Name],
      handle: {
        Fill: (_level, { payload }) => Filled({ by: payload.by }),
        Pour: async (_level, { payload }, context) => {
          await context.append(Tank, payload.to, Filled({ by: payload.by }));
          return Drained({ by: payload.by });
        },
        Name: (_level, { payload }, context) => {
          if (payload.before !== undefined) context.release("name", payload.before);
          context.reserve("name", payload.name);
          return [];
        },
      },
    }),
    projector("LevelProjector", Level, {
      events: [Filled, Drained],
      on: {
        Filled: (row, { aggregateId: id, payload }) => ({ id, level: (row?.level ?? 0) + payload.by }),
        Drained: (row, { aggregateId: id, payload }) => ({ id, level: (row?.level ?? 0) - payload.by }),
      },
    }),
    eventHandler("Overflow", {
      events: [Filled],
      on: {
        Filled: ({ payload, aggregateId }, context) => {
          if (payload.by > 100) context.send(Fill({ id: `${aggregateId}-overflow`, by: 1 }));
        },
      },
    }),
  ],
});

const open = (): { client: Client; store: EventStore } => {
  const store = new MemoryEventStore();
  return { client: new Client(tanks, store, sync), store };
};

Deno.test("a command that touches two aggregates is one append: both have their events, or neither", async () => {
  const { client, store } = open();
  await client.process(Fill({ id: "a", by: 5 }));
  const poured = await client.process(Pour({ from: "a", to: "b", by: 3 }));
  assert.deepEqual(poured.outcome, { status: "accepted", events: ["Filled", "Drained"] });
  assert.deepEqual([await client.load(Tank, "a"), await client.load(Tank, "b")], [
    { state: 2, version: 1 },
    { state: 3, version: 0 },
  ]);
  const before = await store.lastPosition();
  const refused = await client.process(Pour({ from: "a", to: "b", by: 3 }));
  assert.equal(refused.outcome?.status, "refused");
  assert.equal(await store.lastPosition(), before, "nothing was written");
  assert.deepEqual(await client.rows(Level), [{ id: "a", level: 2 }, { id: "b", level: 3 }]);
});

Deno.test("a reserved value is unique until it is given back", async () => {
  const { client } = open();
  const name = (id: string, name: string, before?: string) =>
    client.process(Name({ id, name, ...(before && { before }) })).then(({ outcome }) => outcome?.status);
  assert.equal(await name("a", "x"), "accepted");
  assert.equal(await name("b", "x"), "refused");
  assert.equal(await name("a", "y", "x"), "accepted");
  assert.equal(await name("b", "x"), "accepted");
  const racing = await Promise.all(["c", "d", "e"].map((id) => name(id, "z")));
  assert.deepEqual(racing.sort(), ["accepted", "refused", "refused"]);
});

Deno.test("concurrent commands on one aggregate are rerun on fresh state: none is lost, no rule is broken", async () => {
  const { client } = open();
  await client.process(Fill({ id: "a", by: 10 }));
  const poured = await Promise.all(
    Array.from({ length: 8 }, (_, i) => client.process(Pour({ from: "a", to: `t${i}`, by: 2 }))),
  );
  const statuses = poured.map(({ outcome }) => outcome!.status).sort();
  assert.deepEqual(statuses, [...Array(5).fill("accepted"), ...Array(3).fill("refused")]);
  assert.equal((await client.load(Tank, "a")).state, 0);
});

Deno.test("what follows from a command carries its correlation, its cause and its metadata", async () => {
  const { client, store } = open();
  const { commandId } = await client.process(Fill({ id: "a", by: 500 }), { metadata: { user: "u" } });
  const [filled, sent] = await store.readLog();
  assert.equal(filled.correlationId, commandId);
  assert.equal(filled.causationId, commandId);
  assert.equal(filled.metadata, '{"user":"u"}');
  assert.equal(sent.stream, "tanks::tank:command-a-overflow");
  assert.equal(sent.correlationId, commandId);
  assert.equal(sent.causationId, filled.id);
  assert.equal(sent.metadata, '{"user":"u"}');
});

Deno.test("every read path brings old events up to the newest version", async () => {
  const store = new MemoryEventStore();
  const client = new Client(fidelis, store, sync);
  const { aggregateId } = await client.process(OpenAccount({ accountNumber: "1", holderName: "A", openingDeposit: 0 }));
  const category = fidelis.categoryOf(Account);
  // As version 1 of the code stored it.
  const old = sampleMessage({ accountId: aggregateId, amount: 2_000_000 }, { type: "DepositMade", schemaVersion: 1 });
  await store.commit({
    appends: [{ category, stream: `${category}-${aggregateId}`, expected: 0, messages: [old], publish: true }],
  });
  await client.process(MakeDeposit({ accountId: aggregateId, amount: 1 }));
  assert.equal((await client.load(Account, aggregateId)).state.balance, 2_000_001);
  assert.equal((await client.row(AccountSummary, aggregateId))?.balance, 2_000_001);
  assert.equal((await client.rows(ComplianceAlert)).length, 1);
});

Deno.test("the ledger refuses what its rules forbid, and says which", async () => {
  const client = new Client(fidelis, new MemoryEventStore(), sync);
  const { aggregateId: accountId } = await client.process(
    OpenAccount({ accountNumber: "1", holderName: "A", openingDeposit: 100 }),
  );
  const refusal = async (...[command]: Parameters<Client["process"]>) => {
    const { outcome } = await client.process(command);
    return outcome?.status === "refused" ? outcome.message : outcome?.status;
  };
  assert.equal(await refusal(MakeWithdrawal({ accountId, amount: 101 })), "Account: balance may not fall below zero");
  assert.equal(await refusal(MakeDeposit({ accountId, amount: 0 })), "amount: must be positive");
  assert.equal(await refusal(MakeDeposit({ accountId: "x", amount: 1 })), "accountId: there is no such account");
  assert.equal(
    await refusal(OpenAccount({ accountNumber: "1", holderName: "B", openingDeposit: 0 })),
    'accountNumber: "1" is taken',
  );
  assert.ok(new DomainRuleError("a", "b") instanceof Error);
});

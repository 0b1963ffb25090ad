import {
  aggregate,
  command,
  commandHandler,
  domain,
  DomainDefinitionError,
  event,
  PayloadError,
  projection,
  projector,
  type,
} from "@annals/annals";
import { Client } from "@annals/annals/client";
import { loadConfig } from "@annals/annals/config";
import { EventStoreSubscription } from "@annals/annals/subscriptions";
import { MemoryEventStore } from "@annals/annals/store/memory";
import { inMemory } from "@annals/annals/testing";
import assert from "node:assert/strict";

// What ordinary code does to states, names and texts.

const In = event("In", { schema: type<{ by: number }>() });
const Out = event("Out", { schema: type<{ by: number }>() });

/** Runs the handlers of a domain as a server would: a worker's cache of states between commands. */
function served(domain_: ReturnType<typeof domain>) {
  const store = new MemoryEventStore();
  const client = new Client(domain_, store, loadConfig({ text: "", env: () => undefined }));
  const stop = new AbortController();
  const settings = { maxRetries: 0 };
  const runs = [...domain_.handlers.values()].map((handler) =>
    new EventStoreSubscription({ domain: domain_, handler, store, settings }).run(stop.signal)
  );
  const outcome = async (draft: Parameters<Client["process"]>[0]) =>
    (await client.process(draft, { wait: true, timeout: 5_000 })).outcome!;
  return {
    store,
    client,
    outcome,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(runs);
      await store.close();
    },
  };
}

Deno.test("a refusal is never decided on a cached state that is no longer the newest", async () => {
  const Account = aggregate("Account", {
    events: [In, Out],
    initial: () => 0,
    evolve: { In: (b, { payload }) => b + payload.by, Out: (b, { payload }) => b - payload.by },
    invariants: { "not below zero": (b) => b >= 0 },
  });
  const Sent = event("Sent", { schema: type<{ amount: number }>() });
  const Transfer = aggregate("Transfer", { events: [Sent], initial: () => 0, evolve: { Sent: (n) => n + 1 } });
  const Fill = command("Fill", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
  const Send = command("Send", {
    schema: type<{ id: string; from: string; amount: number; fee: number }>(),
    target: ({ id }) => id,
  });
  await using bank = served(domain("bank", {
    aggregates: [Account, Transfer],
    handlers: [
      commandHandler("Teller", Account, {
        commands: [Fill],
        handle: { Fill: (_b, { payload }) => In({ by: payload.by }) },
      }),
      commandHandler("Wire", Transfer, {
        commands: [Send],
        handle: {
          Send: async (_s, { payload }, context) => {
            await context.append(Account, payload.from, Out({ by: payload.amount }));
            await context.append(Account, payload.from, Out({ by: payload.fee }));
            return Sent({ amount: payload.amount });
          },
        },
      }),
    ],
  }));
  assert.equal((await bank.outcome(Fill({ id: "a", by: 101 }))).status, "accepted");
  assert.equal((await bank.outcome(Send({ id: "t1", from: "a", amount: 100, fee: 1 }))).status, "accepted");
  assert.equal((await bank.outcome(Fill({ id: "a", by: 110 }))).status, "accepted");
  // Wire still has the balance of 0: the first append fits it, the second breaks the rule.
  assert.equal((await bank.outcome(Send({ id: "t2", from: "a", amount: 0, fee: 1 }))).status, "accepted");
  assert.equal((await bank.outcome(Send({ id: "t3", from: "a", amount: 0, fee: 500 }))).status, "refused");
  assert.equal((await bank.client.load(Account, "a")).state, 109);
});

for (
  const [how, account] of Object.entries({
    "an object": aggregate("Account", {
      events: [In, Out],
      initial: () => ({ balance: 0, log: [] as number[] }),
      evolve: {
        In: (s, { payload }) => {
          s.balance += payload.by;
          return s;
        },
        Out: (s, { payload }) => ({ ...s, balance: s.balance - payload.by }),
      },
    }),
    "an array inside": aggregate("Account", {
      events: [In, Out],
      initial: () => ({ balance: 0, log: [] as number[] }),
      evolve: {
        In: (s, { payload }) => {
          s.log.push(payload.by);
          return { ...s };
        },
        Out: (s) => s,
      },
    }),
    "a Map": aggregate("Account", {
      events: [In, Out],
      initial: () => new Map<string, number>(),
      evolve: {
        In: (s, { payload }) => s.set("balance", payload.by),
        Out: (s) => new Map([...s, ["out", 1]]),
      },
    }),
  })
) {
  Deno.test(`a state that is changed in place is an error that shows the line: ${how}`, async () => {
    const Fill = command("Fill", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
    const teller = commandHandler("Teller", account as never, {
      commands: [Fill],
      handle: { Fill: (_s: unknown, { payload }: { payload: { by: number } }) => In({ by: payload.by }) } as never,
    });
    await using bank = served(domain("bank", { aggregates: [account as never], handlers: [teller] }));
    const outcome = await bank.outcome(Fill({ id: "a", by: 100 }));
    assert.equal(outcome.status, "failed");
    assert.match(
      (outcome as { message: string }).message,
      /evolve of "Account" for "In" changes the state in place at file:.*state_test\.ts:\d+:\d+ .*return a new state/,
    );
    assert.equal((await bank.store.readLog({ category: "bank::account" })).length, 0);
  });
}

Deno.test("a state is frozen for handlers too, and shared parts are frozen once", async () => {
  const shared = Object.freeze([1, 2, 3]);
  const Account = aggregate("Account", {
    events: [In, Out],
    initial: () => ({ balance: 0, shared }),
    evolve: { In: (s, { payload }) => ({ ...s, balance: s.balance + payload.by }), Out: (s) => s },
  });
  const Fill = command("Fill", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
  const teller = commandHandler("Teller", Account, {
    commands: [Fill],
    handle: {
      Fill: (state, { payload }) => {
        (state as { balance: number }).balance = 1_000_000;
        return In({ by: payload.by });
      },
    },
  });
  await using bank = served(domain("bank", { aggregates: [Account], handlers: [teller] }));
  const outcome = await bank.outcome(Fill({ id: "a", by: 1 }));
  assert.match((outcome as { message: string }).message, /The handler of "Fill" changes the state in place at file:/);
});

Deno.test("an aggregate may be called Reservation, and unique values stay unique", async () => {
  const Made = event("Made", { schema: type<{ code: string }>() });
  const Reservation = aggregate("Reservation", { events: [Made], initial: () => 0, evolve: { Made: (n) => n + 1 } });
  const Make = command("Make", { schema: type<{ code: string }>() });
  const Seen = projection("Seen", { key: "id", schema: type<{ id: string; code: string }>() });
  await using client = await inMemory(domain("hotel", {
    aggregates: [Reservation],
    handlers: [
      commandHandler("Desk", Reservation, {
        commands: [Make],
        handle: {
          Make: (_n, { payload }, context) => {
            context.reserve("code", payload.code);
            return Made(payload);
          },
        },
      }),
      projector("SeenProjector", Seen, {
        events: [Made],
        on: { Made: (_row, { aggregateId, payload }) => ({ id: aggregateId, code: payload.code }) },
      }),
    ],
  }));
  assert.equal((await client.process(Make({ code: "c1" }))).outcome!.status, "accepted");
  assert.equal((await client.process(Make({ code: "c2" }))).outcome!.status, "accepted");
  assert.equal((await client.process(Make({ code: "c1" }))).outcome!.status, "refused");
  assert.deepEqual((await client.rows(Seen)).map(({ code }) => code).sort(), ["c1", "c2"]);
  const categories = new Set((await client.store.readLog()).map(({ category }) => category));
  assert.deepEqual(categories, new Set(["hotel::reservation", "hotel::$reservation"]));
});

Deno.test("two aggregates never share a stream: an id that would name one of another is refused", async () => {
  const Lent = event("Lent", { schema: type<{ id: string }>() });
  const Applied = event("Applied", { schema: type<{ id: string }>() });
  const Loan = aggregate("Loan", { events: [Lent], initial: () => 0, evolve: { Lent: (n) => n + 1 } });
  const LoanApplication = aggregate("LoanApplication", {
    events: [Applied],
    initial: () => 0,
    evolve: { Applied: (n) => n + 1 },
  });
  const Lend = command("Lend", { schema: type<{ id: string }>(), target: ({ id }) => id });
  const Apply = command("Apply", { schema: type<{ id: string }>(), target: ({ id }) => id });
  await using client = await inMemory(domain("bank", {
    aggregates: [Loan, LoanApplication],
    handlers: [
      commandHandler("LoanHandler", Loan, { commands: [Lend], handle: { Lend: (_n, { payload }) => Lent(payload) } }),
      commandHandler("Applications", LoanApplication, {
        commands: [Apply],
        handle: { Apply: (_n, { payload }) => Applied(payload) },
      }),
    ],
  }));
  await client.process(Apply({ id: "7" }));
  await client.process(Lend({ id: "7" }));
  await assert.rejects(
    () => client.process(Lend({ id: "application-7" })),
    new DomainDefinitionError(
      `Cannot use id "application-7" for aggregate "Loan": its stream would be that of LoanApplication "7"; use ids that do not start with "application-"`,
    ),
  );
  assert.equal((await client.load(LoanApplication, "7")).version, 0);
});

Deno.test("an aggregate's name has only letters, digits and _", () => {
  assert.throws(
    () => aggregate("Loan:command", { events: [In], initial: () => 0, evolve: { In: (n) => n } }),
    /a name starts with a letter and has only letters, digits and "_"/,
  );
});

Deno.test("what no store can keep is refused where it is made", async () => {
  for (const text of ["bad \u0000", "half \ud83d"]) {
    assert.throws(() => type<unknown>() && In({ by: text as never }), PayloadError);
    const Take = command("Take", { schema: type<{ id: string }>(), target: ({ id }) => id });
    assert.throws(() => Take({ id: text }), PayloadError);
  }
  const Fill = command("Fill", { schema: type<{ n: number }>(), target: ({ n }) => "x".repeat(n) });
  assert.throws(() => Fill({ n: 501 }), /is 501 characters long; at most 500 are allowed/);
  assert.equal(Fill({ n: 500 }).aggregateId.length, 500);
  const Account = aggregate("Account", { events: [In], initial: () => 0, evolve: { In: (n) => n } });
  await using client = await inMemory(domain("bank", {
    aggregates: [Account],
    handlers: [commandHandler("Teller", Account, { commands: [Fill], handle: { Fill: () => In({ by: 1 }) } })],
  }));
  await assert.rejects(() => client.process(Fill({ n: 1 }), { metadata: { a: "\u0000" } }), PayloadError);
  await assert.rejects(() => client.process(Fill({ n: 1 }), { idempotencyKey: "\u0000" }), /idempotencyKey/);
});

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
import { given } from "@annals/annals/testing";
import assert from "node:assert/strict";
import { AccountOpened, OpenAccount } from "../../../examples/fidelis/account.ts";
import bank, { Balance, Deposit, Deposited, Withdraw, Withdrawn } from "../../../examples/bank/bank.ts";

async function failure(scenario: PromiseLike<void>): Promise<string> {
  try {
    await scenario;
  } catch (error) {
    return (error as Error).message;
  }
  throw new assert.AssertionError({ message: "the scenario holds" });
}

Deno.test("a scenario decides commands on what happened before, and projects everything", async () => {
  await given(bank, Deposited({ accountId: "a", amount: 50 }))
    .row(Balance, { accountId: "a", balance: 50 })
    .when(Withdraw({ accountId: "a", amount: 20 }))
    .then(Withdrawn({ accountId: "a", amount: 20 }))
    .row(Balance, { accountId: "a", balance: 30 })
    .row(Balance, "b", null)
    .when(Withdraw({ accountId: "a", amount: 31 }))
    .refused("balance may not fall below zero")
    .when(Deposit({ accountId: "a", amount: 1 }), Withdraw({ accountId: "a", amount: 31 }))
    .then(Deposited({ accountId: "a", amount: 1 }), Withdrawn({ accountId: "a", amount: 31 }))
    .row(Balance, { accountId: "a", balance: 0 });
  await given(bank, ["x", Deposited({ accountId: "x", amount: 5 })], ["y", Deposited({ accountId: "y", amount: 7 })])
    .when(Withdraw({ accountId: "y", amount: 7 })).then(Withdrawn({ accountId: "y", amount: 7 }))
    .when(Withdraw({ accountId: "x", amount: 7 })).refused(/below zero/);
});

Deno.test("a step that does not hold says how, and where in the test", async () => {
  const scenario = () => given(bank, Deposited({ accountId: "a", amount: 50 }));
  const wrong = await failure(
    scenario().when(Withdraw({ accountId: "a", amount: 20 })).then(Withdrawn({ accountId: "a", amount: 21 })),
  );
  assert.match(wrong, /^"Withdraw" led to other events:\n/);
  assert.match(wrong, /\+ +amount: 20\n- +amount: 21\n/);
  assert.match(await failure(scenario().when(Withdraw({ accountId: "a", amount: 20 })).then()), /led to other events/);
  assert.match(
    await failure(
      scenario().when(Withdraw({ accountId: "a", amount: 60 })).then(Withdrawn({ accountId: "a", amount: 60 })),
    ),
    /"Withdraw" was refused \(.*balance may not fall below zero\), which the test does not expect/,
  );
  // A refusal that nothing asks for is none that the test knows of.
  assert.match(await failure(scenario().when(Withdraw({ accountId: "a", amount: 60 }))), /does not expect/);
  assert.match(
    await failure(
      scenario().when(Withdraw({ accountId: "a", amount: 60 }), Deposit({ accountId: "a", amount: 60 })).refused(),
    ),
    /does not expect/,
  );
  assert.match(
    await failure(scenario().when(Withdraw({ accountId: "a", amount: 1 })).refused()),
    /"Withdraw" was accepted \(Withdrawn\), and should have been refused/,
  );
  assert.match(
    await failure(scenario().when(Withdraw({ accountId: "a", amount: 60 })).refused("closed")),
    /refused for another rule: .*balance may not fall below zero, not closed/,
  );
  assert.match(
    await failure(scenario().row(Balance, { accountId: "a", balance: 51 })),
    /Row "a" of projection "Balance" is another:\n[^]*balance: 50/,
  );
  await assert.rejects(
    Promise.resolve(scenario().when(Withdraw({ accountId: "a", amount: 20 })).then()),
    ({ stack }: Error) => /^ +at .*given_test\.ts/m.test(stack!) && !/given\.ts/.test(stack!),
  );
});

Deno.test("a forgotten await does not hide a failure", async () => {
  const found = Promise.withResolvers<Error>();
  const listener = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    found.resolve(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", listener);
  try {
    given(bank).when(Deposit({ accountId: "a", amount: 1 })).then();
    assert.match((await found.promise).message, /led to other events/);
  } finally {
    globalThis.removeEventListener("unhandledrejection", listener);
  }
});

Deno.test("mistakes in a test are said as such", async () => {
  const deposit = Deposit({ accountId: "a", amount: 1 });
  const mistakes: [() => PromiseLike<void>, RegExp][] = [
    [() => given(bank, Deposited as never), /"Deposited" itself is no message: call it with a payload/],
    [() => given(bank).when(Deposit as never), /"Deposit" itself is no message/],
    [() => given(bank).when(deposit).then(Deposited as never), /"Deposited" itself is no message/],
    [() => given(bank).when({ type: "Deposit" } as never), /\{"type":"Deposit"\} is no message/],
    [() => given(bank).then(), /then says what follows from a command; say which by when/],
    [() => given(bank).refused(), /refused says what follows from a command/],
    [
      () => given(bank).row(Balance, null as never),
      /without its "accountId"; for none, write row\(Balance, "key", null\)/,
    ],
    [() => given(bank).elapse("25 hours" as never), /"25 hours" is no length of time/],
    [
      () => given(bank).when(OpenAccount({ accountNumber: "1", holderName: "A", openingDeposit: 0 })),
      /No handler of domain "bank" takes "OpenAccount"/,
    ],
    [() => given(bank, AccountOpened({} as never)), /holderName|accountNumber/],
    [
      () => given(bank).when(deposit).reacting(bank.handlers.get("BalanceProjector")!),
      /"BalanceProjector" react: it is no event handler/,
    ],
    [() => given(bank).when(deposit).reacting(undefined as never), /no event handler of domain "bank"/],
  ];
  for (const [scenario, expected] of mistakes) {
    assert.match(await failure(Promise.resolve().then(() => scenario())), expected);
  }
  // deno-lint-ignore no-constant-condition
  if (false) {
    // @ts-expect-error A balance is a number.
    given(bank).row(Balance, { accountId: "a", balance: "1" });
    // @ts-expect-error A length of time has a unit.
    given(bank).elapse("25");
  }
});

const Placed = event("Placed", { schema: type<{ orderId: string; cents: number }>() });
const Paid = event("Paid", { schema: type<{ orderId: string }>() });
const Order = aggregate("Order", {
  events: [Placed],
  initial: () => ({ at: 0 }),
  evolve: { Placed: (_state, { time }) => ({ at: time.getTime() }) },
});
const Invoice = aggregate("Invoice", { events: [Paid], initial: () => 0, evolve: { Paid: (n) => n + 1 } });
const Place = command("Place", { schema: type<{ orderId: string; cents: number }>(), target: (p) => p.orderId });
const Pay = command("Pay", { schema: type<{ orderId: string }>(), target: (p) => `invoice:${p.orderId}` });
const Orders = commandHandler("Orders", Order, {
  commands: [Place],
  handle: {
    Place: async (state, { payload }, context) => {
      if (state.at > 0 && context.now.getTime() - state.at < 60_000) {
        throw new DomainRuleError("orderId", "was just placed");
      }
      await context.append(Invoice, `invoice:${payload.orderId}`, []);
      context.reserve("order", payload.orderId);
      return Placed(payload);
    },
  },
});
const Invoices = commandHandler("Invoices", Invoice, {
  commands: [Pay],
  handle: { Pay: (_n, { payload }) => Paid(payload) },
});
const Sent = projection("Sent", { key: "orderId", schema: type<{ orderId: string; mail: string }>() });
const Mailer = eventHandler("Mailer", {
  events: [Placed],
  on: {
    Placed: async ({ payload: { orderId } }, context) => {
      const answer = await fetch("https://mail.example/send", { method: "POST" });
      context.put(Sent, { orderId, mail: await answer.text() });
      context.send(Pay({ orderId }));
    },
  },
});
const Everything = projector(
  "Everything",
  projection("Count", { key: "id", schema: type<{ id: string; n: number }>() }),
  {
    events: [Placed, Paid],
    keyOf: () => "all",
    on: {
      Placed: (row) => ({ id: "all", n: (row?.n ?? 0) + 1 }),
      Paid: () => {
        throw new Error("no row for it");
      },
    },
  },
);
const shop = domain("shop", { aggregates: [Order, Invoice], handlers: [Orders, Invoices, Mailer, Everything] });

Deno.test("event handlers react only when asked to, and reach nothing but stubs", async () => {
  const order = { orderId: "o", cents: 5 };
  await given(shop).when(Place(order)).then(Placed(order)).sent().row(Sent, "o", null)
    .reacting(Mailer, { fetch: () => Promise.resolve(new Response("delivered")) })
    .sent(Pay({ orderId: "o" }))
    .row(Sent, { orderId: "o", mail: "delivered" })
    .when(Pay({ orderId: "o" })).then(Paid({ orderId: "o" })).sent();
  // Events may as well have happened.
  await given(shop).when(["o", Placed(order)]).reacting(Mailer, { fetch: () => new Response("x") })
    .sent(Pay({ orderId: "o" }));
  const before = globalThis.fetch;
  assert.match(
    await failure(given(shop).when(Place(order)).reacting(Mailer)),
    /"Mailer" failed on "Placed": .*"Mailer" uses fetch in a test; pass a stub of it: \{ fetch: … \}/,
  );
  assert.equal(globalThis.fetch, before);
  assert.match(await failure(given(shop).when(Place(order)).sent(Pay({ orderId: "o" }))), /Other commands were sent:/);
});

Deno.test("time passes in a scenario only as it says, and events are of whom it says", async () => {
  const order = { orderId: "o", cents: 5 };
  await given(shop, Placed(order)).when(Place(order)).refused("was just placed")
    .elapse("59s").when(Place(order)).refused("was just placed");
  await given(shop, Placed(order)).elapse("1.5m").when(Place(order)).then(Placed(order));
  await given(shop).at(new Date("2030-01-01")).when(Place(order)).then(Placed(order)).at(new Date("2030-01-02"))
    // Another order claims nothing of this one.
    .when(Place({ orderId: "p", cents: 1 })).then(Placed({ orderId: "p", cents: 1 }));
  assert.match(
    await failure(given(shop, Paid({ orderId: "o" })).when(Place(order)).then(Placed(order))),
    /"Paid" is of "Invoice", and "Place" is for "Order": say whose event it is, like \["id", Paid\(\{ … \}\)\]/,
  );
  await given(shop, ["invoice:o", Paid({ orderId: "o" })]).when(Place(order)).then(Placed(order));
});

Deno.test("what a handler or a projector throws fails the scenario with its place", async () => {
  const message = await failure(given(shop, Paid({ orderId: "o" })).row(Everything.projection as never, "all", null));
  assert.match(message, /"Everything" failed on "Paid": no row for it/);
  await assert.rejects(
    Promise.resolve(given(shop, Paid({ orderId: "o" })).row(Everything.projection, "all", null)),
    ({ stack }: Error) => /given_test\.ts:\d+/.test(stack!),
  );
});

import {
  aggregate,
  command,
  commandHandler,
  domain,
  event,
  eventHandler,
  type Message,
  projection,
  projector,
  type,
} from "@annals/annals";
import { explore, type ExploreOptions, type Seen } from "@annals/annals/testing";
import assert from "node:assert/strict";
import { Account, CloseAccount, MakeDeposit, MakeWithdrawal, OpenAccount } from "../../../examples/fidelis/account.ts";
import fidelis from "../../../examples/fidelis/domain.ts";
import { AccountReport, AccountSummary } from "../../../examples/fidelis/reactions.ts";
import { InitiateTransfer, REFERENCE, Transfer } from "../../../examples/fidelis/transfer.ts";

async function found(exploring: Promise<void>): Promise<string> {
  try {
    await exploring;
  } catch (error) {
    return (error as Error).message;
  }
  throw new assert.AssertionError({ message: "nothing was found" });
}

const Put = event("Put", { schema: type<{ by: number }>() });
const Purse = aggregate("Purse", {
  events: [Put],
  initial: () => 0,
  evolve: { Put: (n, { payload }) => n + payload.by },
});
const Fill = command("Fill", { schema: type<{ id: string; by: number }>(), target: ({ id }) => id });
const Move = command("Move", { schema: type<{ from: string; to: string }>(), target: ({ from }) => from });
const filler = commandHandler("Filler", Purse, {
  commands: [Fill],
  handle: { Fill: (_n, { payload: { by } }) => Put({ by }) },
});
const Total = projection("Total", { key: "id", schema: type<{ id: string; n: number }>() });
const totaller = projector("Totaller", Total, {
  events: [Put],
  on: { Put: (row, { aggregateId: id, payload }) => ({ id, n: (row?.n ?? 0) + payload.by }) },
});
const fill: ExploreOptions["commands"][number] = (choose) =>
  Fill({ id: choose.of(["a", "b", "c"])!, by: choose.int(1, 9) });

Deno.test("exploring finds the shortest history that breaks a rule, and its seed repeats it", async () => {
  const purses = domain("purses", { aggregates: [Purse], handlers: [filler, totaller] });
  const options: ExploreOptions = {
    commands: [fill],
    always: { "no purse has ten": (seen) => seen.ids(Purse).every((id) => seen.state(Purse, id) < 10) },
    seed: 7,
  };
  const message = await found(explore(purses, options));
  const [first, second, ...history] = message.split("\n");
  assert.equal(first, `Domain "purses": "no purse has ten" does not hold`);
  assert.match(second, /^\(run \d+ of 100; \{ seed: 7 \} repeats it\)\. The shortest history found:$/);
  // Two commands for one purse, both decided.
  assert.equal(history.filter((line) => / is sent$/.test(line)).length, 2, message);
  assert.equal(history.filter((line) => /Filler handles Fill: Put \{"by":\d\}$/.test(line)).length, 2, message);
  assert.equal(history.length, 4, message);
  assert.equal(await found(explore(purses, options)), message);
});

Deno.test("exploring finds what only shows when groups lag, crash, or decide on an old state", async () => {
  const aBroken = domain("purses", { aggregates: [Purse], handlers: [filler, totaller] });
  // A projection lags: true at last, not always.
  const same: ExploreOptions["always"] = {
    "rows are what purses have": (seen) =>
      seen.ids(Purse).every((id) => seen.rows(Total).get(id)?.n === seen.state(Purse, id)),
  };
  await explore(aBroken, { commands: [fill], eventually: same });
  assert.match(
    await found(explore(aBroken, { commands: [fill], always: same })),
    /"rows are what purses have" does not/,
  );
  // A handler that counts in a variable counts twice what it has handled before a crash.
  let counted = 0;
  const Count = projection("Count", { key: "id", schema: type<{ id: string; n: number }>() });
  const counter = eventHandler("Counter", {
    events: [Put],
    on: { Put: (_event, context) => context.put(Count, { id: "all", n: ++counted }) },
  });
  const counting = domain("purses", { aggregates: [Purse], handlers: [filler, counter] });
  const message = await found(explore(counting, {
    commands: [(choose, seen) => {
      if (seen.events.length === 0) counted = 0;
      return fill(choose, seen);
    }],
    eventually: {
      "each is counted once": (seen) => (seen.rows(Count).get("all")?.n ?? 0) <= seen.events.length,
    },
  }));
  assert.match(message, /Counter (crashes after it has handled Put|goes on on another server)/);
  // Two handlers of an aggregate: neither decides on a state that the other has changed.
  const limited = commandHandler("Limited", Purse, {
    commands: [Move],
    handle: { Move: (n) => n >= 5 ? [] : Put({ by: 1 }) },
  });
  const raced = domain("purses", { aggregates: [Purse], handlers: [filler, limited] });
  await explore(raced, {
    runs: 300,
    commands: [fill, (choose) => Move({ from: choose.of(["a", "b"])!, to: "" })],
    always: {
      "versions have no gap": (seen) =>
        seen.ids(Purse).every((id) => {
          const versions = seen.events.filter(({ aggregateId }) => aggregateId === id).map(({ version }) => version);
          return versions.every((version, i) => version === i);
        }),
    },
  });
});

Deno.test("a handler that fails, a rule without an answer and an endless exchange are found", async () => {
  const failing = commandHandler("Failing", Purse, {
    commands: [Fill],
    handle: {
      Fill: (n, { payload }) => {
        if (n > 0) throw new TypeError("odd");
        return Put(payload);
      },
    },
  });
  assert.match(
    await found(explore(domain("purses", { aggregates: [Purse], handlers: [failing] }), { commands: [fill] })),
    /"Failing" failed on "Fill": TypeError: odd|"Failing" failed on "Fill": odd/,
  );
  const purses = domain("purses", { aggregates: [Purse], handlers: [filler] });
  assert.match(
    await found(explore(purses, { commands: [fill], always: { forgetful: (() => {}) as never } })),
    /the rule "forgetful" returned undefined; return whether it holds/,
  );
  const echo = eventHandler("Echo", {
    events: [Put],
    on: { Put: ({ aggregateId: id, payload: { by } }, context) => context.send(Fill({ id, by })) },
  });
  assert.match(
    await found(
      explore(domain("purses", { aggregates: [Purse], handlers: [filler, echo] }), {
        commands: [fill],
        runs: 1,
        seed: 3,
      }),
    ),
    /it does not come to an end: 10000 messages/,
  );
  assert.match(
    await found(
      explore(purses, { commands: [() => OpenAccount({ accountNumber: "1", holderName: "A", openingDeposit: 0 })] }),
    ),
    /No handler of domain "purses" takes "OpenAccount"/,
  );
});

/** What accounts are to have together: what was paid in and not paid out, transfers aside. */
function paidIn(seen: Seen): number {
  const own = seen.events.filter(({ payload }) =>
    !(payload as { reference?: string }).reference?.startsWith(REFERENCE)
  ) as Message<string, { openingDeposit?: number; amount: number }>[];
  return own.reduce(
    (sum, { type, payload: { openingDeposit = 0, amount } }) =>
      type === "AccountOpened"
        ? sum + openingDeposit
        : type === "DepositMade"
        ? sum + amount
        : type === "WithdrawalMade"
        ? sum - amount
        : sum,
    0,
  );
}

const balances = (seen: Seen) => seen.ids(Account).reduce((sum, id) => sum + seen.state(Account, id).balance, 0);

Deno.test("fidelis: money is never made or lost, every transfer ends, and summaries follow", async () => {
  await explore(fidelis, {
    runs: 1_000,
    steps: 40,
    commands: [
      (choose) =>
        OpenAccount({
          accountNumber: `ACC-${choose.int(1, 4)}`,
          holderName: "Ann",
          openingDeposit: choose.int(0, 500),
        }),
      (choose, seen) => {
        const accountId = choose.of(seen.ids(Account));
        return accountId === undefined ? null : MakeDeposit({ accountId, amount: choose.int(-1, 500) });
      },
      (choose, seen) => {
        const accountId = choose.of(seen.ids(Account));
        return accountId === undefined ? null : MakeWithdrawal({ accountId, amount: choose.int(1, 500) });
      },
      (choose, seen) => {
        const [sourceAccountId, destinationAccountId] = [choose.of(seen.ids(Account)), choose.of(seen.ids(Account))];
        if (sourceAccountId === undefined || destinationAccountId === undefined) return null;
        return InitiateTransfer({ sourceAccountId, destinationAccountId, amount: choose.int(1, 300) });
      },
      (choose, seen) => {
        const sourceAccountId = choose.of(seen.ids(Account));
        if (sourceAccountId === undefined) return null;
        return InitiateTransfer({ sourceAccountId, destinationAccountId: "nobody", amount: choose.int(1, 300) });
      },
      (choose, seen) => {
        const accountId = choose.of(seen.ids(Account));
        return accountId === undefined ? null : CloseAccount({ accountId });
      },
    ],
    always: {
      "no balance is below zero": (seen) => seen.ids(Account).every((id) => seen.state(Account, id).balance >= 0),
      "no more money than was paid in": (seen) => balances(seen) <= paidIn(seen),
      "account numbers are unique": (seen) => {
        const numbers = seen.events.filter(({ type }) => type === "AccountOpened")
          .map(({ payload }) => (payload as { accountNumber: string }).accountNumber);
        return new Set(numbers).size === numbers.length;
      },
    },
    eventually: {
      "no less money than was paid in": (seen) => balances(seen) === paidIn(seen),
      "every transfer ends": (seen) =>
        seen.ids(Transfer).every((id) => ["completed", "failed"].includes(seen.state(Transfer, id).status)),
      "summaries have the balances": (seen) =>
        seen.ids(Account).every((id) => seen.rows(AccountSummary).get(id)?.balance === seen.state(Account, id).balance),
      "so have the reports": (seen) =>
        seen.ids(Account).every((id) => seen.rows(AccountReport).get(id)?.balance === seen.state(Account, id).balance),
    },
  });
});

/** `domain_test.ts` of a new project: its rules as given, when, then. */
export const DOMAIN_TEST_TEXT = `import { given } from "@annals/annals/testing";
import bank, {
  AccountOpened,
  Balance,
  Deposit,
  MoneyDeposited,
  MoneyWithdrawn,
  OpenAccount,
  Withdraw,
} from "./domain.ts";

const opened = AccountOpened({ accountId: "alice", owner: "Alice" });
const paid = MoneyDeposited({ accountId: "alice", amount: 500 });

Deno.test("an account is opened once", async () => {
  await given(bank)
    .when(OpenAccount({ accountId: "alice", owner: "Alice" }))
    .then(opened)
    .when(OpenAccount({ accountId: "alice", owner: "Mallory" }))
    .refused("is open already");
});

Deno.test("what is deposited and withdrawn is the balance", async () => {
  await given(bank, opened, paid)
    .when(Withdraw({ accountId: "alice", amount: 200 }))
    .then(MoneyWithdrawn({ accountId: "alice", amount: 200 }))
    .row(Balance, { accountId: "alice", owner: "Alice", balance: 300 });
});

Deno.test("nobody withdraws more than there is", async () => {
  await given(bank, opened, paid)
    .when(Withdraw({ accountId: "alice", amount: 501 }))
    .refused("the balance may not fall below zero");
});

Deno.test("nothing happens to an account that is not open", async () => {
  await given(bank)
    .when(Deposit({ accountId: "alice", amount: 1 }))
    .refused("is not open");
});
`;

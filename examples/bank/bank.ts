import { aggregate, command, commandHandler, domain, event, projection, projector } from "@annals/annals";
import { z } from "zod";

const move = z.object({ accountId: z.string(), amount: z.int().positive() });
const target = (payload: { accountId: string }) => payload.accountId;

export const Deposited = event("Deposited", { schema: move });
export const Withdrawn = event("Withdrawn", { schema: move });
export const Account = aggregate("Account", {
  events: [Deposited, Withdrawn],
  initial: () => 0,
  evolve: {
    Deposited: (balance, { payload }) => balance + payload.amount,
    Withdrawn: (balance, { payload }) => balance - payload.amount,
  },
  invariants: { "balance may not fall below zero": (balance) => balance >= 0 },
});

export const Deposit = command("Deposit", { schema: move, target });
export const Withdraw = command("Withdraw", { schema: move, target });
const Teller = commandHandler("Teller", Account, {
  commands: [Deposit, Withdraw],
  handle: {
    Deposit: (_balance, { payload }) => Deposited(payload),
    Withdraw: (_balance, { payload }) => Withdrawn(payload),
  },
});

export const Balance = projection("Balance", {
  key: "accountId",
  schema: z.object({ accountId: z.string(), balance: z.int() }),
});
const BalanceProjector = projector("BalanceProjector", Balance, {
  events: [Deposited, Withdrawn],
  on: {
    Deposited: (row, { payload: { accountId, amount } }) => ({ accountId, balance: (row?.balance ?? 0) + amount }),
    Withdrawn: (row, { payload: { accountId, amount } }) => ({ accountId, balance: (row?.balance ?? 0) - amount }),
  },
});

export default domain("bank", { aggregates: [Account], handlers: [Teller, BalanceProjector] });

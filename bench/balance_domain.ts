import { aggregate, domain, event, projection, projector } from "@annals/annals";
import { z } from "zod";

export const Deposited = event("Deposited", {
  schema: z.object({ accountId: z.string(), amount: z.int(), reference: z.string() }),
});

export const Account = aggregate("Account", { events: [Deposited], initial: () => 0, evolve: { Deposited: (n) => n } });

export const Balance = projection("Balance", {
  key: "accountId",
  schema: z.object({ accountId: z.string(), balance: z.int(), count: z.int(), status: z.string() }),
  indexes: ["balance", ["status", "balance"]],
});

export const BalanceProjector = projector("BalanceProjector", Balance, {
  events: [Deposited],
  on: {
    Deposited: (row, { payload: { accountId, amount } }) => ({
      accountId,
      balance: (row?.balance ?? 0) + amount,
      count: (row?.count ?? 0) + 1,
      status: "open",
    }),
  },
});

/** Balances of accounts. */
export default domain("balances", { aggregates: [Account], handlers: [BalanceProjector] });
